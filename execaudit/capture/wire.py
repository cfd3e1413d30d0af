"""Decode wire records, the bytes that the probe sends; `bpf/execaudit.h` has their layout. Pure."""

from __future__ import annotations

import re
import struct
from enum import IntEnum, IntFlag
from typing import NamedTuple

from execaudit.enums import Gained
from execaudit.errors import ExecauditError
from execaudit.fields import Launch, Origin

# Native byte order, because probe and reader run on the same machine. "=" means no padding, as the header
# says (tests/capture/test_wire.py compares both with the layout of the C compiler).
_HEAD = struct.Struct("=QIIIIIIIHBBI4x")
_OWN = struct.Struct("=QIIIiIIIIII")
_LENGTHS = struct.Struct("=7H2xI")
_LAUNCH = struct.Struct("=16xIB3xQIIIIIIiII4x16s16s")
_EXIT = struct.Struct("=Q4xI32xQII")
_TYPE_AT = 38  # ea_head.type
_LAUNCH_AT = _HEAD.size + _OWN.size  # ea_exec.str_len
_EXEC_SIZE = _LAUNCH_AT + _LAUNCH.size
# The parts that differ from exec to exec, unpacked at once.
_FIRST = struct.Struct(_HEAD.format + _OWN.format[1:] + _LENGTHS.format[1:])

UNKNOWN = 0xFFFFFFFF
"""`EA_UNKNOWN`: a number that the probe does not know, or does not know yet."""
AT_FDCWD = -100


class RecordType(IntEnum):
    """`ea_head.type`."""

    EXEC = 1
    FAILED = 2
    EXEC_MORE = 3
    FAILED_MORE = 4
    EXIT = 5


# A NamedTuple's own __new__ is written in Python and takes twice as long, for each record.
_new = tuple.__new__
# Plain numbers, because it takes longer to look up a member for each record than to compare it.
_EXEC, _FAILED, _FAILED_MORE = 1, 2, 4


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
    UNREACHABLE = 16


_EXE_SHIFT, _CGROUP_SHIFT, _ROOT_SHIFT = 8, 16, 24  # EA_PATH_EXE is 1 << 8
_ONE_PATH = 255
# An exec id has room for so many bits: see exec_id.py. 36 years, and PID_MAX_LIMIT.
_TIME_BITS, _TASK_BITS = 60, 22
_GAINED = [Gained(bits) for bits in range(8)]  # a list, because an IntFlag is slow to make
_KNOWN_GAINED = len(_GAINED) - 1
_PTS = re.compile(rb"pts(\d+)")


class WireError(ExecauditError):
    """A record does not have the layout of the header."""


class ArgvPiece(NamedTuple):
    """Bytes of a command line. Every record of an exec has a piece."""

    boot_ns: int
    tid: int
    """`boot_ns` and `tid` together are the same in all records of one exec."""
    pid: int
    seq: int
    """The record's number within the exec, lost records included; the LAST one has the highest."""
    failed: bool
    """The exec failed."""
    total: int
    """Bytes of the whole command line, or UNKNOWN."""
    argc: int
    """Arguments of the whole command line, or UNKNOWN."""
    offset: int
    """The position of `argv` in the command line."""
    missing: int
    """With FAULT: how many bytes are lost right after `argv`, or UNKNOWN."""
    flags: int
    argv: bytes


class Image(NamedTuple):
    """The program that a process runs, named by the exec that started it."""

    boot_ns: int
    """When the exec took effect; 0: before the probe was attached, and then process `pid` ran it."""
    pid: int
    """0, with `boot_ns` 0: not known."""


class RawOrigin(NamedTuple):
    """An Origin as the probe sends it; see `decode_origin`."""

    auid: int
    """UNKNOWN if it is not set; so is `session`."""
    session: int
    tty_bytes: int
    """How many bytes of `texts` are the terminal. The rest is the cgroup."""
    flags: int
    """The PathFlags of the cgroup."""
    texts: bytes


class Facts(NamedTuple):
    """The content of the first record of an exec, without its piece of the command line."""

    parent: Image
    """The program that the process ran before, or that the process it was forked from ran."""
    replaces: bool
    """The parent ran in this same process."""
    caller_tid: int
    ppid: int
    errno: int
    """Positive; 0 for a successful exec."""
    cut_from: int
    """Bytes `cut_from` to `cut_to` of the command line were left out on purpose."""
    cut_to: int
    origin: RawOrigin
    launch: bytes
    """The bytes of a Launch; see `decode_launch`. Many execs have the same bytes."""
    account: int
    """The uid that the exec counts for: see ea_exec.account."""


class Exit(NamedTuple):
    """The end of a process."""

    boot_ns: int
    pid: int
    image_ns: int
    """`image_ns` and `image_pid` are the Image that it ran."""
    image_pid: int
    status: int
    """As wait(2) gives it."""


def is_exit(record: bytes) -> bool:
    """Says whether a record is about the end of a process, and not about an exec."""
    return record[_TYPE_AT : _TYPE_AT + 1] == b"\5"


def record_type(record: bytes) -> int:
    """Returns the RecordType of a record. For other bytes, it may be any number."""
    return record[_TYPE_AT] if len(record) > _TYPE_AT else 0


def decode_exit(record: bytes) -> Exit:
    """Returns the content of the record of an end.

    Raises WireError for bytes that the probe cannot have sent.
    """
    try:
        boot_ns, pid, image_ns, image_pid, status = _EXIT.unpack_from(record)
    except struct.error as exc:
        raise _no_record(record, exc) from exc
    if (boot_ns | image_ns) >> _TIME_BITS or (pid | image_pid) >> _TASK_BITS:
        raise _no_record(record, _NOBODY)
    return _new(Exit, (boot_ns, pid, image_ns, image_pid, status))


def started(record: bytes) -> tuple[int, int] | None:
    """Returns pid and boot clock of the successful exec whose first record this is, else None."""
    if record[_TYPE_AT : _TYPE_AT + 1] != b"\1":
        return None
    boot_ns, _, pid = struct.unpack_from("=QII", record)
    return pid, boot_ns


_NOBODY = "a time or a task that no kernel has"


def _no_record(record: bytes, reason: object) -> WireError:
    return WireError(
        f"the probe sent {len(record)} bytes that are no record ({reason})", fix="reinstall execaudit"
    )


def decode(record: bytes) -> tuple[ArgvPiece, Facts | None]:
    """Returns the content of a record. Only the first record of an exec has Facts.

    Raises WireError for bytes that the probe cannot have sent.
    """
    kind = record[_TYPE_AT] if len(record) > _TYPE_AT else 0
    if kind > _FAILED:
        return _decode_more(record, kind), None
    try:
        (
            boot_ns, tid, pid, total, argc, offset, length, missing, size, kind, flags, seq,
            parent_ns, parent_pid, caller_tid, ppid, ret, cut_from, cut_to, auid, session, replaces,
            account, filename_len, interp_len, tty_len, cgroup_len, cwd_len, exe_len, root_len,
            path_flags,
        ) = _FIRST.unpack_from(record)  # fmt: skip
    except struct.error as exc:
        raise _no_record(record, exc) from exc
    tty_at = _EXEC_SIZE + filename_len + interp_len
    cwd_at = tty_at + tty_len + cgroup_len
    argv_at = cwd_at + cwd_len + exe_len + root_len
    end = argv_at + length
    argv = record[argv_at:end]
    if size != _EXEC_SIZE or not kind or len(record) < end:
        raise _no_record(record, f"type {kind}, {end} bytes needed, {size} of them fixed")
    if (boot_ns | parent_ns) >> _TIME_BITS or (tid | pid | parent_pid | caller_tid) >> _TASK_BITS:
        raise _no_record(record, _NOBODY)
    piece = _new(
        ArgvPiece, (boot_ns, tid, pid, seq, kind == _FAILED, total, argc, offset, missing, flags, argv)
    )
    cgroup_flags = path_flags >> _CGROUP_SHIFT & _ONE_PATH
    origin = _new(RawOrigin, (auid, session, tty_len, cgroup_flags, record[tty_at:cwd_at]))
    facts = _new(Facts, (
        _new(Image, (parent_ns, parent_pid)), replaces != 0, caller_tid, ppid, -ret, cut_from, cut_to,
        origin, record[_LAUNCH_AT:tty_at] + record[cwd_at:argv_at], account,
    ))  # fmt: skip
    return piece, facts


def _decode_more(record: bytes, kind: int) -> ArgvPiece:
    try:
        boot_ns, tid, pid, total, argc, offset, length, missing, size, _, flags, seq = _HEAD.unpack_from(
            record
        )
    except struct.error as exc:
        raise _no_record(record, exc) from exc
    end = _HEAD.size + length
    if size != _HEAD.size or kind > _FAILED_MORE or len(record) < end:
        raise _no_record(record, f"type {kind}, {end} bytes needed, {size} of them fixed")
    if boot_ns >> _TIME_BITS or (tid | pid) >> _TASK_BITS:
        raise _no_record(record, _NOBODY)
    failed, argv = kind == _FAILED_MORE, record[_HEAD.size : end]
    return _new(ArgvPiece, (boot_ns, tid, pid, seq, failed, total, argc, offset, missing, flags, argv))


def decode_launch(launch: bytes) -> Launch:
    """Decodes `Facts.launch`. The user's name is not in it. Without a path, the file is not known."""
    filename_len, interp_len, _, _, cwd_len, exe_len, _, _ = _LENGTHS.unpack_from(launch)
    (
        path_flags, gained, inode, uid, gid, euid, egid, device, nlink, dirfd, mnt_ns, traced, comm, parent_comm,
    ) = _LAUNCH.unpack_from(launch)  # fmt: skip
    interp_at = _LAUNCH.size + filename_len
    cwd_at = interp_at + interp_len
    exe_at = cwd_at + cwd_len
    root_at = exe_at + exe_len
    filename = launch[_LAUNCH.size : interp_at - 1] if filename_len else None
    exe = path(launch[exe_at:root_at], path_flags >> _EXE_SHIFT & _ONE_PATH)
    return Launch(
        uid=uid,
        gid=gid,
        euid=euid,
        egid=egid,
        comm=comm.partition(b"\0")[0],
        parent_comm=parent_comm.partition(b"\0")[0],
        filename=filename if dirfd == AT_FDCWD or filename is None else at_path(dirfd, filename),
        interpreter=launch[interp_at : cwd_at - 1] if interp_len else None,
        cwd=path(launch[cwd_at:exe_at], path_flags & _ONE_PATH),
        exe=exe,
        root=path(launch[root_at:], path_flags >> _ROOT_SHIFT & _ONE_PATH),
        mnt_ns=mnt_ns or None,
        traced=traced or None,
        inode=None if exe is None else inode,
        device=None if exe is None else device,
        nlink=None if exe is None else nlink,
        privileged=_GAINED[gained & _KNOWN_GAINED],
    )


def decode_origin(raw: RawOrigin) -> Origin:
    """Decodes a RawOrigin. The name of the login user is not in it."""
    auid, session, tty_bytes, flags, texts = raw
    return Origin(
        auid=None if auid == UNKNOWN else auid,
        session=None if session == UNKNOWN else session,
        tty=terminal(texts[: tty_bytes - 1]) if tty_bytes else None,
        cgroup=cgroup_path(texts[tty_bytes:], flags),
    )


def terminal(name: bytes) -> bytes:
    """Returns the path below /dev of a terminal, from the kernel's name for it: pts3 becomes pts/3."""
    pts = _PTS.fullmatch(name)
    return b"pts/" + pts[1] if pts else name


def at_path(dirfd: int, filename: bytes) -> bytes:
    """Returns the path that the kernel makes for an execveat (alloc_bprm in fs/exec.c)."""
    if filename.startswith(b"/"):
        return filename
    return b"/dev/fd/%d/%s" % (dirfd, filename) if filename else b"/dev/fd/%d" % dirfd


def path(components: bytes, flags: int) -> bytes | None:
    """Returns a path from its components, the last one first, each ended by a NUL.

    It is the text that /proc/PID/exe and /proc/PID/cwd show, ` (deleted)` included. A path without its
    beginning starts with `(cut)/`. One on a file system that is no longer mounted starts with
    `(unreachable)/`, which is the mark of getcwd(2).
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
    if flags & PathFlag.UNREACHABLE:
        text = b"(unreachable)" + text
    return text + b" (deleted)" if flags & PathFlag.DELETED else text


def cgroup_path(components: bytes, flags: int) -> bytes | None:
    """Returns a path from its components, the first one first, each ended by a NUL.

    A path without its end ends with `/(cut)`.
    """
    if flags & PathFlag.NONE:
        return None
    text = b"/" + components[:-1].replace(b"\0", b"/")
    if flags & PathFlag.CUT:
        return text.removesuffix(b"/") + b"/(cut)"
    return text
