"""Make processes follow instructions, and read what they print: see acts.c and introspect.c."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_PATIENCE = 60
_TEXTS = ("parent_comm", "comm", "cgroup", "exe", "cwd", "cmdline")
_PTS_MAJORS = range(136, 144)
_UNSET = 2**32 - 1
Word = str | bytes | Path


class Said(NamedTuple):
    """An action of a process, and its time."""

    what: str
    """`main`, `execve`, `end` or `waited`."""
    pid: int
    """The pid of the process; for `waited`, that of the child."""
    at_ns: int
    """CLOCK_BOOTTIME."""
    status: int
    """The status that wait returned; for `end`, the one that it should return; else 0."""


class Who(NamedTuple):
    """What a process prints about itself."""

    pid: int
    """The pid in the host's /proc."""
    ppid: int
    parent_comm: bytes
    uid: int
    euid: int
    gid: int
    egid: int
    auid: int
    session: int
    secure: int
    """AT_SECURE."""
    permitted: int
    effective: int
    """Capabilities."""
    tty_major: int
    tty_minor: int
    inode: int
    major: int
    minor: int
    nlink: int
    comm: bytes
    cgroup: bytes
    """Its /proc/self/cgroup."""
    exe: bytes
    cwd: bytes
    cmdline: bytes

    @property
    def tty(self) -> str | None:
        """The pseudo-terminal; None: it has no terminal."""
        if self.tty_major == 0:
            return None
        assert self.tty_major in _PTS_MAJORS
        return f"pts/{(self.tty_major - _PTS_MAJORS[0]) * 256 + self.tty_minor}"

    @property
    def login(self) -> tuple[int | None, int | None]:
        """The login uid and session; None if they are not set."""
        return (
            None if self.auid == _UNSET else self.auid,
            None if self.session == _UNSET else self.session,
        )

    @property
    def cgroup_path(self) -> str:
        """The path in the unified hierarchy; if that is the root, the path in that of a controller."""
        paths = {}
        for line in self.cgroup.decode("utf-8", "backslashreplace").splitlines():
            _, controllers, path = line.split(":", 2)
            paths.update(dict.fromkeys(controllers.split(","), path))
        used = (paths.get(name, "/") for name in ("", "pids", "memory"))
        return next((path for path in used if path != "/"), "/")


class Play(NamedTuple):
    """Everything that was printed from the start of a program to its end."""

    pid: int
    """The pid of the first process."""
    said: list[Said]
    """In order, except that the last one is the end of the first process."""
    who: list[Who]

    def status(self) -> int:
        """Returns the status of the first process, as wait returns it."""
        return self.said[-1].status


class Playing:
    """A running program that prints on standard output; less than a pipe holds."""

    def __init__(
        self,
        command: Sequence[Word],
        **how: Any,  # noqa: ANN401  # Popen's
    ) -> None:
        self._start_ns = boot_ns()
        self._child = subprocess.Popen(command, stdout=subprocess.PIPE, **how)
        self._waited: Said | None = None
        self.pid = self._child.pid

    def wait(self) -> Said:
        """Waits for the end of the first process."""
        if self._waited is None:
            returned = self._child.wait(_PATIENCE)
            status = returned << 8 if returned >= 0 else -returned
            self._waited = Said("waited", self.pid, boot_ns(), status)
        return self._waited

    def end(self) -> Play:
        """Waits for the end of all processes that may still print something."""
        waited = self.wait()
        out, _ = self._child.communicate(timeout=_PATIENCE)
        said, who = _read(out)
        return Play(self.pid, [Said("execve", self.pid, self._start_ns, 0), *said, waited], who)


def boot_ns() -> int:
    """Returns CLOCK_BOOTTIME, the clock of records and of acts."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def play(
    *command: Word,
    **how: Any,  # noqa: ANN401  # Popen's
) -> Play:
    """Runs a program until it ends."""
    return Playing(command, **how).end()


def _read(out: bytes) -> tuple[list[Said], list[Who]]:
    said, who = [], []
    facts: dict[str, Any] = {}
    for line in out.splitlines():
        what, *values = line.decode().split(" ")
        if what != "who":
            said.append(Said(what, *map(int, values)))
            continue
        key, value = values
        facts[key] = bytes.fromhex(value) if key in _TEXTS else int(value)
        if key == Who._fields[-1]:
            who.append(Who(**facts))
            facts = {}
    return said, who
