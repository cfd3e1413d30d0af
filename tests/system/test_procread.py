"""What cannot be read of a process in time is not known; nothing waits for it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from execaudit.system import procfs
from execaudit.system.procread import NOTHING, Reader
from tests.commands import PATIENCE
from tests.truth import programs

if TYPE_CHECKING:
    from collections.abc import Iterator

_ME, _OTHER = 1000, 1001


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[int]:
    folder = os.open(path, os.O_PATH | os.O_DIRECTORY)
    try:
        yield folder
    finally:
        os.close(folder)


@pytest.fixture
def dead(tmp_path: Path) -> Iterator[int]:
    """A process of which a file never answers: the open of a FIFO that nobody writes."""
    os.mkfifo(tmp_path / "cmdline")
    with _folder(tmp_path) as folder:
        yield folder


@pytest.fixture
def alive() -> Iterator[int]:
    """The process that runs the test."""
    with _folder(Path("/proc/self")) as folder:
        yield folder


def test_a_process_is_read(alive: int) -> None:
    """The file that runs, and the arguments, are those that it has."""
    image = Path("/proc/self/exe").stat()
    with Reader() as reader:
        read = reader.read(alive, b"", _ME)

    assert (image.st_ino, image.st_nlink) == (read.inode, read.nlink)
    assert Path("/proc/self/cmdline").read_bytes() == read.argv
    assert Path("/").stat().st_ino == (read.root or (0, 0))[1]


def test_what_does_not_answer_is_not_known_and_others_are(dead: int, alive: int) -> None:
    """The next one is asked by another child."""
    with Reader(patience_s=0.2) as reader:
        assert reader.read(dead, b"", _ME) == NOTHING
        assert reader.read(alive, b"", _OTHER).argv


def test_a_user_whose_processes_do_not_answer_is_not_asked_again(dead: int, alive: int) -> None:
    """He could have thousands of them; those of others, and of root, are read as before."""
    with Reader(patience_s=0.2, all_s=PATIENCE) as reader:
        for _ in range(2):
            assert reader.read(dead, b"", _ME) == reader.read(dead, b"", 0) == NOTHING
        assert reader.read(alive, b"", _ME) == NOTHING
        assert reader.read(alive, b"", _OTHER).argv
        assert reader.read(alive, b"", 0).argv


def test_all_that_is_waited_in_vain_is_bounded(dead: int, alive: int) -> None:
    """When that time is over nothing more is asked."""
    with Reader(patience_s=0.2, all_s=0.3) as reader:
        for uid in range(1, 50):
            assert reader.read(dead, b"", uid) == NOTHING
        assert reader.read(alive, b"", 0) == NOTHING


def _children() -> set[str]:
    """Returns the pids of our children, those included that nobody has waited for."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_no_child_stays(dead: int, alive: int) -> None:
    """Neither one that answers nor one that does not."""
    before = _children()
    with Reader(patience_s=0.2) as reader:
        reader.read(dead, b"", _ME)
        reader.read(alive, b"", _OTHER)
        assert len(_children() - before) == 2

    assert before == _children()


def _unmount(mountpoint: Path) -> None:
    subprocess.run(["umount", "-l", mountpoint], check=True)


def test_a_file_system_that_does_not_answer_holds_nobody_up(tmp_path: Path) -> None:
    """A program on a FUSE mount whose daemon has stopped is in the snapshot, with its path."""
    made = tmp_path / "made"
    made.mkdir()
    silentfs, acts = (programs.build_one(name, made) for name in ("silentfs", "acts"))
    mountpoint = tmp_path / "mount"
    mountpoint.mkdir()
    ready = tmp_path / "ready"
    with contextlib.ExitStack() as undo:
        daemon = undo.enter_context(
            subprocess.Popen([silentfs, mountpoint, acts], stdout=subprocess.PIPE, text=True)
        )
        undo.callback(_unmount, mountpoint)
        undo.callback(daemon.kill)
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == "mounted\n"
        program = undo.enter_context(
            subprocess.Popen([mountpoint / "program", "touch", ready, "await", tmp_path / "never"])
        )
        undo.callback(program.kill)
        # First of all: with it the requests fail that wait, and the program can end, which may have made one.
        undo.callback(daemon.kill)
        deadline = time.monotonic() + PATIENCE
        while not ready.exists():
            assert program.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        daemon.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, daemon.pid, os.WSTOPPED | os.WNOWAIT)
        found = procfs.scan()[program.pid]

    assert found.exe == os.fsencode(mountpoint / "program")
