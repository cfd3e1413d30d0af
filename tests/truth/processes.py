"""Read /proc about running processes, for programs whose exec nobody saw."""

from __future__ import annotations

import os
import platform
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.truth.acts import Who

if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE = 60
# nanosleep and clock_nanosleep.
_SLEEPS = {"x86_64": ("35", "230"), "aarch64": ("101", "115")}[platform.machine()]
_UNKNOWN = 0  # what only a process itself can tell


def await_true(condition: Callable[[], object]) -> None:
    """Waits until a condition is true."""
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(0.005)


def state_of(pid: int) -> str:
    """Returns the letter of a process's state: `Z` for a zombie, or for a leader that has ended."""
    return _stat(Path(f"/proc/{pid}"))[0]


def children_of(pid: int) -> list[int]:
    """Returns a process's children, zombies too."""
    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*") if _stat(folder)[1:2] == [str(pid)]]


def threads_of(pid: int) -> list[int]:
    """Returns the threads of a process, with its leader even if that has ended."""
    return [int(folder.name) for folder in Path(f"/proc/{pid}/task").iterdir()]


def sleeps(pid: int) -> bool:
    """Says whether a process waits for a file to appear, so has followed all instructions before."""
    # Not by wchan, which kernels from 4.14 to 5.15 do not know.
    return Path(f"/proc/{pid}/syscall").read_text().split()[0] in _SLEEPS


def who_is(pid: int, tid: int | None = None) -> Who:
    """Returns what a process would print about itself. `tid` is a running thread, if the leader has ended."""
    folder = Path(f"/proc/{pid}")
    live = folder / f"task/{tid or pid}"
    status = dict(re.findall(r"^(\w+):\s*(.*)$", (live / "status").read_text(errors="replace"), re.MULTILINE))
    uids, gids = status["Uid"].split(), status["Gid"].split()
    ppid = int(status["PPid"])
    terminal = int(_stat(live)[4])
    image = (live / "exe").stat()
    return Who(
        pid=pid,
        ppid=ppid,
        parent_comm=_comm(Path(f"/proc/{ppid}")),
        uid=int(uids[0]),
        euid=int(uids[1]),
        gid=int(gids[0]),
        egid=int(gids[1]),
        auid=int((live / "loginuid").read_text()),
        session=int((live / "sessionid").read_text()),
        secure=_UNKNOWN,
        permitted=int(status["CapPrm"], 16),
        effective=int(status["CapEff"], 16),
        tty_major=os.major(terminal),
        tty_minor=os.minor(terminal),
        inode=image.st_ino,
        major=os.major(image.st_dev),
        minor=os.minor(image.st_dev),
        nlink=image.st_nlink,
        comm=_comm(folder),
        cgroup=(live / "cgroup").read_bytes().removesuffix(b"\n"),
        exe=_link(live / "exe"),
        cwd=_link(live / "cwd"),
        cmdline=(live / "cmdline").read_bytes(),
    )


def _link(path: Path) -> bytes:
    return os.fsencode(path.readlink())


def _comm(folder: Path) -> bytes:
    return (folder / "comm").read_bytes().removesuffix(b"\n")


def _stat(folder: Path) -> list[str]:
    """Returns the fields of stat from the third on; the second is in brackets and may contain any byte."""
    try:
        text = (folder / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return [""]
    return text.rpartition(")")[2].split()
