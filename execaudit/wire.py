"""The bytes of the probe's records, as `bpf/execaudit.h` lays them out. Pure: bytes in, values out."""

from __future__ import annotations

import re
import struct
from enum import IntEnum, IntFlag
from functools import lru_cache
from typing import NamedTuple

from execaudit.errors import ExecauditError

# Native byte order: probe and reader are the same machine. "=" means no padding, which
# the header promises (tests/test_wire.py compares both with the C compiler's layout).
_HEAD = struct.Struct("=QIIIIIIIHBBI4x")
_FACTS = struct.Struct("=QQIIIIIIIIIIiiII6H4xHBB16s16s4x")
_EXIT = struct.Struct("=QII")
_TYPE_AT = 38  # ea_head.type

UNKNOWN = 0xFFFFFFFF
"""EA_`EA_UNKNOWN`: a number that the probe could not know, or not yet."""
AT_FDCWD = -100


class RecordType(IntEnum):
    """`ea_head.type`."""

    EXEC = 1
    FAILED = 2
    EXEC_MORE = 3
    FAILED_MORE = 4
    EXIT = 5


# A NamedTuple's own is Python and takes twice as long, and this is done for each record.
_new = tuple.__new__
# Plain numbers: looking a member up for each record costs more than the comparison.
_FIRST = (1, 2)
_MORE = (3, 4)
_OF_FAILED = (2, 4)


class RecordFlag(IntFlag):
    """`ea_head.flags`."""

    FAULT = 1
    LIMIT = 2
    LAST = 4


class PathFlag(IntFlag):
    """`ea_exec.path_flags`, of one path."""

    DELETED = 1
    PSEUDO = 2
    CUT = 4
    NONE = 8


_EXE_SHIFT, _CGROUP_SHIFT = 4, 8  # EA_PATH_EXE is 1 << 4
_ONE_PATH = 15
_PTS = re.compile(rb"pts(\d+)")


class WireError(ExecauditError):
    """A record does not have the form of the header: probe and package do not fit."""


class Piece(NamedTuple):
    """Bytes of a command line: in every record."""

    boot_ns: int
    tid: int
    """With `boot_ns`, what the records of one exec have in common."""
    pid: int
    seq: int
    """Its place among the records of the exec, lost ones counted; the LAST one has the highest."""
    failed: bool
    """The exec was refused."""
    total: int
    """Bytes of the whole command line, or UNKNOWN."""
    argc: int
    """Arguments of the whole command line, or UNKNOWN."""
    offset: int
    """Where `argv` stands in the command line."""
    missing: int
    """With FAULT: bytes that are lost right after `argv`, or UNKNOWN."""
    flags: int
    argv: bytes


class Image(NamedTuple):
    """What a process runs: the exec that started it."""

    boot_ns: int
    """When that took effect; 0: before the probe was attached, and `pid` ran it then."""
    pid: int
    """0, too: not known."""


class Facts(NamedTuple):
    """What the first record of an exec says beside its piece of the command line."""

    parent: Image
    """What the process ran before, or was forked from."""
    replaces: bool
    """The parent ran in this very process."""
    inode: int
    """Of the exe, as `device` (major << 20 | minor) and `nlink`."""
    device: int
    nlink: int
    gained: int
    """EA_GAINED_* bits: what the image's file gave the process."""
    caller_tid: int
    ppid: int
    uid: int
    gid: int
    euid: int
    auid: int
    """UNKNOWN when unset; `session` too."""
    session: int
    errno: int
    """Positive; 0 for a successful exec."""
    cut_from: int
    """Bytes `cut_from` to `cut_to` of the command line were left out on purpose."""
    cut_to: int
    comm: bytes
    parent_comm: bytes
    filename: bytes | None
    interpreter: bytes | None
    tty: bytes | None
    cgroup: bytes | None
    cwd: bytes | None
    exe: bytes | None


class Exit(NamedTuple):
    """The end of a process."""

    boot_ns: int
    pid: int
    image: Image
    """What it ran."""
    status: int
    """As wait(2) gives it."""


def is_exit(record: bytes) -> bool:
    """Says whether a record is the end of a process, and not of an exec."""
    return record[_TYPE_AT : _TYPE_AT + 1] == b"\5"


def decode_exit(record: bytes) -> Exit:
    """Returns what the record of an end says.

    Raises WireError for bytes that the probe cannot have sent.
    """
    try:
        head = _HEAD.unpack_from(record)
        image_ns, image_pid, status = _EXIT.unpack_from(record, _HEAD.size)
    except struct.error as exc:
        raise _no_record(record, exc) from exc
    return _new(Exit, (head[0], head[2], _new(Image, (image_ns, image_pid)), status))


def started(record: bytes) -> tuple[int, int] | None:
    """Returns pid and boot clock of the successful exec whose first record this is, else None."""
    if record[_TYPE_AT : _TYPE_AT + 1] != b"\1":
        return None
    boot_ns, _, pid = struct.unpack_from("=QII", record)
    return pid, boot_ns


def _no_record(record: bytes, reason: Exception) -> WireError:
    return WireError(f"the probe sent {len(record)} bytes that are no record ({reason}): reinstall execaudit")


def decode(record: bytes) -> tuple[Piece, Facts | None]:
    """Returns what a record holds; Facts only from the first record of an exec.

    Raises WireError for bytes that the probe cannot have sent.
    """
    try:
        boot_ns, tid, pid, total, argc, offset, length, missing, size, kind, flags, seq = _HEAD.unpack_from(
            record
        )
        if kind in _FIRST:
            facts, end = _facts(record, size)
        elif kind in _MORE:
            facts, end = None, size
        else:
            raise WireError(f"the probe sent a record of the unknown type {kind}: reinstall execaudit")
    except struct.error as exc:
        raise _no_record(record, exc) from exc
    argv = record[end : end + length]
    if len(argv) != length:
        raise WireError(
            f"the probe sent a record of {len(record)} bytes that needs {end + length}: reinstall execaudit"
        )
    failed = kind in _OF_FAILED
    piece = _new(Piece, (boot_ns, tid, pid, seq, failed, total, argc, offset, missing, flags, argv))
    return piece, facts


def _facts(record: bytes, size: int) -> tuple[Facts, int]:
    """Returns the facts and where the argv bytes begin."""
    (
        parent_ns, inode, parent_pid, caller_tid, ppid, uid, gid, euid, auid, session, device, nlink,
        ret, dirfd, cut_from, cut_to,
        filename_len, interp_len, tty_len, cgroup_len, cwd_len, exe_len,
        path_flags, gained, replaces, comm, parent_comm,
    ) = _FACTS.unpack_from(record, _HEAD.size)  # fmt: skip
    interp_at = size + filename_len
    tty_at = interp_at + interp_len
    cgroup_at = tty_at + tty_len
    cwd_at = cgroup_at + cgroup_len
    exe_at = cwd_at + cwd_len
    end = exe_at + exe_len
    filename = record[size : interp_at - 1] if filename_len else None
    facts = _new(
        Facts,
        (
            _new(Image, (parent_ns, parent_pid)),
            replaces != 0,
            inode,
            device,
            nlink,
            gained,
            caller_tid,
            ppid,
            uid,
            gid,
            euid,
            auid,
            session,
            -ret,
            cut_from,
            cut_to,
            comm.partition(b"\0")[0],
            parent_comm.partition(b"\0")[0],
            filename if dirfd == AT_FDCWD or filename is None else at_path(dirfd, filename),
            record[interp_at : tty_at - 1] if interp_len else None,
            terminal(record[tty_at : cgroup_at - 1]) if tty_len else None,
            path(record[cgroup_at:cwd_at], path_flags >> _CGROUP_SHIFT & _ONE_PATH),
            path(record[cwd_at:exe_at], path_flags & _ONE_PATH),
            path(record[exe_at:end], path_flags >> _EXE_SHIFT & _ONE_PATH),
        ),
    )
    return facts, end


def terminal(name: bytes) -> bytes:
    """Returns the path below /dev of a terminal that the kernel calls so: pts3 is pts/3."""
    pts = _PTS.fullmatch(name)
    return b"pts/" + pts[1] if pts else name


def at_path(dirfd: int, filename: bytes) -> bytes:
    """Returns the path of an execveat as the kernel itself names it (fs/exec.c, alloc_bprm)."""
    if filename.startswith(b"/"):
        return filename
    return b"/dev/fd/%d/%s" % (dirfd, filename) if filename else b"/dev/fd/%d" % dirfd


# The same few come again and again.
@lru_cache(maxsize=1024)  # of 4 KB each at most
def path(components: bytes, flags: int) -> bytes | None:
    """Returns a path from its components, the last one first, each ended by a NUL.

    As /proc/PID/exe and /proc/PID/cwd show it, ` (deleted)` included. A path of which the
    root end is missing starts with `(cut)/`, as getcwd(2) marks one with `(unreachable)`.
    """
    names = components.split(b"\0")
    names.reverse()  # the empty end of the split becomes the root
    text = b"/".join(names) if len(names) > 1 else b"/"
    if not flags:
        return text
    if flags & PathFlag.NONE:
        return None
    if flags & PathFlag.PSEUDO:
        return text + b" (deleted)"
    if flags & PathFlag.CUT:
        text = b"(cut)" + text
    return text + b" (deleted)" if flags & PathFlag.DELETED else text
