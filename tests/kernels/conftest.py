"""Fixtures that run guests, and a line for each guest in pytest's summary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from tests.kernels import guest, job, outcome
from tests.kernels.cache import MakingFailed
from tests.kernels.guest import GuestFailed
from tests.kernels.kernels import kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.kernels.guest import Answer
    from tests.kernels.outcome import Outcome

_SUMMARY = pytest.StashKey[list[str]]()
# Settings of the tests in a guest: it is slow, and shares the machine with others.
_SETTINGS = {
    "EXECAUDIT_TEST_PATIENCE": "900",
    "EXECAUDIT_TEST_STORM_SHARE": "10",
    "TRUTH_PERCENT": "10",
    # An emulated recorder does not empty the usual ring beside starts with 5 MB of arguments.
    "EXECAUDIT_TEST_RING_SIZE": str(128 << 20),
}
_PROBE = "EXECAUDIT_TEST_PROBE"


class RunTests(Protocol):
    """Runs pytest in a guest."""

    def __call__(
        self, series: str, arguments: Sequence[str], *, probe: str, cpus: int, seconds: float
    ) -> Outcome:
        """Returns the result of pytest."""


@pytest.fixture(scope="session")
def run_tests(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> RunTests:
    """Returns a function that runs pytest in a guest, with one of the probes."""

    def run(series: str, arguments: Sequence[str], *, probe: str, cpus: int, seconds: float) -> Outcome:
        folder = tmp_path_factory.mktemp(f"linux-{series}-{probe}-")
        settings = {**_SETTINGS, _PROBE: probe}
        job.write_tests(arguments, settings, folder / "job.tar")
        try:
            answer = guest.run(kernel(series), folder / "job.tar", folder, cpus=cpus, seconds=seconds)
            said = outcome.read(answer)
        except (MakingFailed, GuestFailed) as failed:
            pytest.fail(f"Linux {series}: {failed}", pytrace=False)
        request.config.stash[_SUMMARY].append(
            f"{answer.release}, {answer.cpus} CPUs, {probe}: "
            f"{len(said.passed())} of {len(said.cases)} passed in {answer.seconds:.0f} s, "
            f"of processors' time {answer.cpu_seconds:.0f} s"
        )
        return said

    return run


@pytest.fixture
def run_script(tmp_path: Path) -> Callable[[str, float], Answer]:
    """Returns a function that runs a shell script in a guest."""

    def run(script: str, seconds: float) -> Answer:
        job.write(script, tmp_path / "job.tar")
        return guest.run(kernel("6.1"), tmp_path / "job.tar", tmp_path, cpus=1, seconds=seconds)

    return run


def pytest_configure(config: pytest.Config) -> None:
    """Makes a list for the lines of the summary."""
    config.stash[_SUMMARY] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints what ran on which kernel, and how long it took."""
    for line in config.stash[_SUMMARY]:
        terminalreporter.write_line(line)
