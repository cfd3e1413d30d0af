"""A guest that fails is seen to fail, however it does so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kernels import outcome
from tests.kernels.archive import Archive
from tests.kernels.cache import MakingFailed
from tests.kernels.guest import GuestFailed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.kernels.guest import Answer

_SECONDS = 600.0
_PYTEST = """
export PYTHONPATH=/opt/python
cat >/tmp/test_it.py <<'END'
import os, signal
def test_good(): assert 1 == 1
def test_bad(): assert 1 == 2, "told apart"
def test_last(): {last}
END
cd /tmp
exec python3 -m pytest -q --junit-xml=/job/answer/junit.xml test_it.py
"""


def test_a_release_that_is_not_to_be_had(tmp_path: Path) -> None:
    """A mirror without it ends the run, and says which release it has not."""
    with pytest.raises(MakingFailed, match="cannot get packages of Debian's nonesuch"):
        Archive("nonesuch", tmp_path / "archive")


def test_a_guest_that_does_its_job(run_script: Callable[[str, float], Answer]) -> None:
    """Its status and what it left are those of the job."""
    answer = run_script("echo made >/job/answer/thing; exit 7", _SECONDS)

    assert 7 == answer.status
    assert "made\n" == (answer.folder / "thing").read_text()


def test_a_guest_whose_kernel_panics(run_script: Callable[[str, float], Answer]) -> None:
    """QEMU then ends with 0, as after any restart: what counts is that there is no answer."""
    with pytest.raises(GuestFailed, match=r"without an answer[\s\S]*Kernel panic"):
        run_script("echo c >/proc/sysrq-trigger; sleep 600", _SECONDS)


def test_a_guest_that_says_nothing(run_script: Callable[[str, float], Answer]) -> None:
    """A guest that is turned off before its job is done has failed."""
    with pytest.raises(GuestFailed, match="without an answer"):
        run_script("echo b >/proc/sysrq-trigger; sleep 600", _SECONDS)


def test_a_guest_whose_first_program_dies(run_script: Callable[[str, float], Answer]) -> None:
    """The kernel cannot go on without it."""
    with pytest.raises(GuestFailed, match=r"without an answer[\s\S]*Kernel panic"):
        run_script("kill -9 $PPID; tar --help >/job; kill -ABRT 1; rm -r /job/answer", _SECONDS)


def test_a_guest_that_hangs(run_script: Callable[[str, float], Answer]) -> None:
    """It is ended, and what it said last is told."""
    with pytest.raises(GuestFailed, match=r"not done in 90 seconds[\s\S]*now it hangs"):
        run_script("echo now it hangs; sleep 6000", 90)


def test_tests_that_fail_in_a_guest(run_script: Callable[[str, float], Answer]) -> None:
    """Each is told by its name and with its text, and the others have passed."""
    said = outcome.read(run_script(_PYTEST.format(last="pass"), _SECONDS))

    assert 1 == said.answer.status
    assert {"test_it::test_good", "test_it::test_last"} == said.passed()
    assert "test_it::test_bad: failure" in said.others()
    assert "told apart" in said.others()


def test_tests_that_are_killed_in_a_guest(run_script: Callable[[str, float], Answer]) -> None:
    """Half a run is no run."""
    answer = run_script(_PYTEST.format(last="os.kill(os.getpid(), signal.SIGKILL)"), _SECONDS)

    with pytest.raises(GuestFailed, match="no report"):
        outcome.read(answer)
