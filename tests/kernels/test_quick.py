"""One kernel in a minute: the recorder loads on Debian 12's own, and what it records there is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.kernels.conftest import RunTests

_SERIES = "6.1"
_SECONDS = 900
# One recorder serves all of these: most of the time goes into its start, and each program of the probe
# has to do with them. They are execs and refusals, of a line of a megabyte as well.
_ARGUMENTS = (
    "tests/live/test_limits.py::test_argv_up_to_the_limit_is_whole",
    "tests/live/test_limits.py::test_argv_over_the_limit_keeps_its_head_and_its_tail",
)
_CASES = 12


@pytest.mark.parametrize("probe", ["tracepoint", "kprobe"])
def test_the_recorder_works_there(run_tests: RunTests, probe: str) -> None:
    """Command lines at a limit, and far above it, of execs and of refusals."""
    outcome = run_tests(_SERIES, _ARGUMENTS, probe=probe, cpus=1, seconds=_SECONDS)

    assert not outcome.others(), outcome.others()
    assert outcome.answer.release.startswith(f"{_SERIES}.")
    assert _CASES == len(outcome.passed())
