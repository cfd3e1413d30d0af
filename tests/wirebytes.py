"""Pack wire records as the probe does, for tests: the reverse of capture.wire."""

from __future__ import annotations

import struct
from typing import NamedTuple

UNKNOWN = 0xFFFFFFFF
EXEC, FAILED, EXEC_MORE, FAILED_MORE, EXIT = 1, 2, 3, 4, 5
FAULT, LIMIT, LAST = 1, 2, 4
HEAD_SIZE = 48
HOST_ROOT = 8 << 24


class Head(NamedTuple):
    """struct ea_head, without the lengths, which are computed."""

    boot_ns: int = 1_000
    tid: int = 7
    pid: int = 7
    total: int = 0
    argc: int = 0
    offset: int = 0
    missing: int = 0
    flags: int = 0
    seq: int = 0


class Facts(NamedTuple):
    """The rest of struct ea_exec."""

    parent: tuple[int, int] = (0, 0)
    replaces: int = 0
    account: int = 1000
    inode: int = 77
    device: int = 8 << 20 | 1
    nlink: int = 1
    gained: int = 0
    caller_tid: int = 7
    ppid: int = 1
    uid: int = 1000
    gid: int = 1001
    euid: int = 0
    egid: int = 1001
    auid: int = 1000
    session: int = 3
    ret: int = 0
    dirfd: int = -100
    cut_from: int = 0
    cut_to: int = 0
    path_flags: int = 0
    comm: bytes = b"true"
    parent_comm: bytes = b"sh"
    filename: bytes | None = b"/bin/true"
    interpreter: bytes | None = None
    tty: bytes | None = b"pts0"
    cgroup: tuple[bytes, ...] = (b"a.slice",)
    cwd: tuple[bytes, ...] = (b"u", b"home")
    exe: tuple[bytes, ...] = (b"true", b"bin")
    root: tuple[bytes, ...] | None = None
    mnt_ns: int = 0
    traced: int = 0


def more(kind: int, head: Head, argv: bytes) -> bytes:
    """Returns an EA_*_MORE record."""
    return _head(kind, head, len(argv), HEAD_SIZE) + argv


def first(kind: int, head: Head, facts: Facts, argv: bytes) -> bytes:
    """Returns an EA_EXEC or EA_FAILED record."""
    strings = [
        *(b"" if text is None else text + b"\0" for text in (facts.filename, facts.interpreter, facts.tty)),
        *(
            b"".join(name + b"\0" for name in path)
            for path in (facts.cgroup, facts.cwd, facts.exe, facts.root or ())
        ),
    ]
    fixed = struct.pack(
        "=QIIIiIIIIII8HIB3xQIIIIIIiII4x16s16s",
        *facts.parent,
        facts.caller_tid,
        facts.ppid,
        facts.ret,
        facts.cut_from,
        facts.cut_to,
        facts.auid,
        facts.session,
        facts.replaces,
        facts.account,
        *map(len, strings),
        *(0,) * (8 - len(strings)),
        facts.path_flags | (HOST_ROOT if facts.root is None else 0),
        facts.gained,
        facts.inode,
        facts.uid,
        facts.gid,
        facts.euid,
        facts.egid,
        facts.device,
        facts.nlink,
        facts.dirfd,
        facts.mnt_ns,
        facts.traced,
        facts.comm,
        facts.parent_comm,
    )
    size = HEAD_SIZE + len(fixed)
    return _head(kind, head, len(argv), size) + fixed + b"".join(strings) + argv


def ended(head: Head, image: tuple[int, int], status: int) -> bytes:
    """Returns an EA_EXIT record."""
    return _head(EXIT, head, 0, HEAD_SIZE + 16) + struct.pack("=QII", *image, status)


def _head(kind: int, head: Head, length: int, size: int) -> bytes:
    return struct.pack(
        "=QIIIIIIIHBBI4x",
        head.boot_ns,
        head.tid,
        head.pid,
        head.total,
        head.argc,
        head.offset,
        length,
        head.missing,
        size,
        kind,
        head.flags,
        head.seq,
    )
