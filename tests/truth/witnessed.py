"""Read the files that the witness wrote: see witness.c."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

_FIELDS = 8


class Witnessed(NamedTuple):
    """How one program was started, by its own account. Texts are the kernel's bytes."""

    pid: int
    """The pid in the host's pid namespace."""
    ppid: int
    uid: int
    euid: int
    gid: int
    comm: bytes
    exe: bytes
    cwd: bytes
    """Empty if it is longer than readlink can return."""
    argv: bytes
    """Its /proc/self/cmdline."""


def start_of(exe: str) -> str | None:
    """Returns the start that the path of an image names: `x` for `start-x`; None: it is not a witness."""
    name = exe.removesuffix(" (deleted)").rpartition("/")[2].removeprefix("memfd:")
    return name.removeprefix("start-") if name.startswith("start-") else None


def read(folder: Path) -> list[Witnessed]:
    """Returns all truths in a folder."""
    return [_decode(path.read_bytes()) for path in sorted(folder.glob("truth-*"))]


def _decode(truth: bytes) -> Witnessed:
    *fields, argv = truth.split(b"\0", _FIELDS)
    pid, ppid, uid, euid, gid = map(int, fields[:5])
    comm, exe, cwd = fields[5:]
    return Witnessed(pid, ppid, uid, euid, gid, comm, exe, cwd, argv)
