"""A child does something and leaves descriptors: those, its words, and its ends."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from execaudit.system.child import ChildDiedError, from_child
from tests.commands import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Where the child writes."""
    path = tmp_path / "output"
    path.touch()
    return path


def test_facts_and_descriptors_come_over(output: Path) -> None:
    """In their order; the child is gone, and what it left works."""

    def work() -> tuple[dict[str, Any], Sequence[int]]:
        (first, to_first), (second, to_second) = os.pipe(), os.pipe()
        os.write(to_first, b"first")
        os.write(to_second, b"second")
        return {"pid": os.getpid(), "list": [1, "ä"]}, [first, second]

    left = from_child(work, output)

    assert [1, "ä"] == left.facts["list"]
    assert [b"first", b"second"] == [os.read(each, 10) for each in left.descriptors]
    assert [False, False] == [os.get_inheritable(each) for each in left.descriptors]
    with pytest.raises(ProcessLookupError):
        os.kill(left.facts["pid"], 0)
    for each in left.descriptors:
        os.close(each)


def test_nothing_but_the_descriptors_is_left(output: Path) -> None:
    """Neither of the channel, nor of a child that failed."""
    before = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208  # of numbers
    from_child(lambda: ({}, ()), output)
    with pytest.raises(ChildDiedError):
        from_child(lambda: os._exit(7), output)

    assert before == sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208


def test_what_the_child_prints_is_in_the_file(output: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever it prints with, and not in ours."""

    def work() -> tuple[dict[str, Any], Sequence[int]]:
        os.write(1, b"one\n")
        os.system("echo two >&2")  # what a library does
        return {}, ()

    from_child(work, output)

    assert "one\ntwo\n" == output.read_text()
    assert ("", "") == capfd.readouterr()


def test_a_bug_of_the_child(output: Path) -> None:
    """It says so, and its output has the traceback."""

    def work() -> tuple[dict[str, Any], Sequence[int]]:
        raise LookupError("deep in a library")

    with pytest.raises(ChildDiedError, match="ended with status 1"):
        from_child(work, output)
    assert "LookupError: deep in a library\n" == output.read_text().splitlines(keepends=True)[-1]


def test_a_child_that_is_killed(output: Path) -> None:
    """The text names the signal: the kernel kills so when memory is short."""

    def work() -> tuple[dict[str, Any], Sequence[int]]:
        os.kill(os.getpid(), signal.SIGKILL)
        return {}, ()

    with pytest.raises(ChildDiedError, match="was killed by SIGKILL"):
        from_child(work, output)


# A process that has no other thread: the kernel might give the signal to that one.
_INTERRUPTED = """
import ctypes, functools, os, signal, sys, time
from pathlib import Path
from execaudit.system.child import from_child
signal.signal(signal.SIGINT, signal.default_int_handler)
WORK
try:
    from_child(work, Path(sys.argv[1]))
except KeyboardInterrupt:
    print("interrupted", Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())
"""
_BY_THE_CHILD = """
def work():
    os.kill(os.getppid(), signal.SIGINT)
    signal.pause()
"""
# The signal comes before the call of the system returns: both are C, so nothing of Python's is between.
_AT_THE_FORK = """
interrupt = functools.partial(ctypes.CDLL(None).kill, os.getpid(), signal.SIGINT)
os.register_at_fork(after_in_parent=interrupt)
def work():
    time.sleep(20)
"""


def run_interrupted(work: str, output: Path) -> subprocess.CompletedProcess[str]:
    """Runs a parent that is interrupted while its child works, and says which children it has then."""
    return subprocess.run(
        [sys.executable, "-c", _INTERRUPTED.replace("WORK", work), output],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_parent_that_is_interrupted(output: Path) -> None:
    """It does not leave the child behind."""
    done = run_interrupted(_BY_THE_CHILD, output)

    assert "interrupted []\n" == done.stdout, done.stderr


def test_a_parent_that_is_interrupted_at_the_fork(output: Path) -> None:
    """Not even then, when it does not know of the child yet."""
    done = run_interrupted(_AT_THE_FORK, output)

    assert "interrupted []\n" == done.stdout, done.stderr


def test_signals_are_held_back_for_no_longer(output: Path) -> None:
    """Neither in the parent nor in the child, but for those that were before."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    try:
        left = from_child(lambda: ({"held": list(signal.pthread_sigmask(signal.SIG_BLOCK, []))}, ()), output)
        after = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    assert before | {signal.SIGUSR2} == after == set(left.facts["held"])


def test_a_parent_that_is_killed(output: Path) -> None:
    """Its child ends with it: whoever is started next finds nobody at work."""
    read, write = os.pipe()
    parent = os.fork()
    if parent == 0:

        def work() -> tuple[dict[str, object], tuple[int, ...]]:
            os.write(write, b"begun")
            time.sleep(1000)
            return {}, ()

        from_child(work, output)
    os.close(write)
    assert os.read(read, 5) == b"begun"
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)

    # At its end when nobody has the other side open.
    assert select.select([read], [], [], PATIENCE)[0]
    assert os.read(read, 1) == b""
    os.close(read)
