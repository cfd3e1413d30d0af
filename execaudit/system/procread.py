"""Let a child read those facts of a process that may block the reader, so that the recorder never hangs.

A user can mount a file system (FUSE) that does not answer, and a network file system can fail. A look at a
program there, or at the arguments of a process that waits for it, may block for ever, and a process cannot
end while a thread of it is blocked in this way. So a forked child reads. If it does not answer in time, the
recorder abandons it, and these facts stay unknown.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import resource
import select
import signal
import socket
import struct
import sys
import time
from typing import NamedTuple

from execaudit.system import fork
from execaudit.system.libc import LIBC

PATIENCE_S = 1.0
"""How long to wait for the facts of one process. It takes 50 microseconds; on a busy machine, longer."""
_ALL_S = 5.0
# After so many processes of one user gave no answer, no other process of that user is read: there may be
# thousands. This does not apply to root.
_MOST_STUCK_OF_ONE = 2
_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)
# A process can declare gigabytes of memory, which need not exist, to be its arguments (PR_SET_MM_MAP), and a
# user can have thousands of processes. So there is a limit for each process, and one for all processes
# together that are not root's. Of longer arguments, only the beginning is read.
_MOST_ARGV_BYTES = 128 * 1024
_ALL_ARGV_BYTES = 16 * 1024 * 1024
_FEW_ARGV_BYTES = 1024
# Most files of a process fit into this, so that one read is enough.
_READ_BYTES = 16384
_LENGTH = struct.Struct("=I")
# linux/stat.h, linux/fcntl.h: return what the kernel knows of the file, and do not ask the file system.
_AT_STATX_DONT_SYNC = 0x4000
_STATX_INO, _STATX_NLINK = 0x100, 0x4
_STATX_BYTES = 256
# In struct statx: nlink; ino; dev_major and dev_minor.
_NLINK, _INO, _DEVICE = (struct.Struct("=16xI"), struct.Struct("=32xQ"), struct.Struct("=136xII"))

Folder = tuple[int, int]
"""Device (major << 20 | minor) and inode."""


class Read(NamedTuple):
    """The facts of a process that a child has read. None: it could not."""

    inode: int | None = None
    """`inode`, `device` and `nlink` belong to the file that the process runs."""
    device: int | None = None
    nlink: int | None = None
    root: Folder | None = None
    argv: bytes | None = None
    argv_is_cut: bool = False
    """`argv` is only the beginning."""


NOTHING = Read()


class Reader:
    """Has one child after the other read. To be used while there is one thread, because it forks."""

    def __init__(self, patience_s: float = PATIENCE_S, all_s: float = _ALL_S) -> None:
        """`all_s` limits the sum of all waits that end without an answer."""
        self._patience_s = patience_s
        self._left_s = all_s
        self._stuck_of: dict[int | None, int] = {}
        self._argv_left = _ALL_ARGV_BYTES
        self._child: _Child | None = None
        self._abandoned: list[_Child] = []

    def read(self, folder: int, task: bytes, uid: int | None) -> Read:
        """Returns what can be read of the process of an open folder; `task` is empty, or a thread's folder.

        `uid` is the user of the process: see _MOST_STUCK_OF_ONE.
        """
        if self._left_s <= 0 or self._stuck_of.get(uid, 0) >= _MOST_STUCK_OF_ONE:
            return NOTHING
        if self._child is None:
            self._child = _Child()
        began = time.monotonic()
        most = _MOST_ARGV_BYTES if uid == 0 or self._argv_left > 0 else _FEW_ARGV_BYTES
        answer = self._child.ask(folder, task, most, min(self._patience_s, self._left_s))
        if answer is None:
            self._left_s -= time.monotonic() - began
            if uid:
                self._stuck_of[uid] = self._stuck_of.get(uid, 0) + 1
            self._child.abandon()
            self._abandoned.append(self._child)
            self._child = None
            return NOTHING
        if uid:
            self._argv_left -= len(answer.argv or b"")
        return answer

    def close(self) -> None:
        """Ends the children, but does not wait for those that cannot end."""
        if self._child is not None:
            self._child.abandon()
            self._abandoned.append(self._child)
            self._child = None
        for child in self._abandoned:
            child.reap()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class _Child:
    """A child process that reads, and may hang."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair()
        with theirs:
            parent = os.getpid()
            with fork.signals_blocked():
                self._pid = fork.fork(lambda: _serve(theirs, parent))

    def ask(self, folder: int, task: bytes, most_argv: int, patience_s: float) -> Read | None:
        """Returns the answer, or None if it does not come in time."""
        deadline = time.monotonic() + patience_s
        try:
            socket.send_fds(self._channel, [_LENGTH.pack(most_argv) + task], [folder])
            head = self._receive(_LENGTH.size, deadline)
            if head is None:
                return None
            answer = self._receive(_LENGTH.unpack(head)[0], deadline)
        except OSError:
            return None  # the child was killed
        return None if answer is None else pickle.loads(answer)  # noqa: S301  # our own child made it

    def _receive(self, size: int, deadline: float) -> bytes | None:
        content = b""
        while len(content) < size:
            ready, _, _ = select.select([self._channel], [], [], max(0.0, deadline - time.monotonic()))
            part = self._channel.recv(size - len(content)) if ready else b""
            if not part:
                return None
            content += part
        return content

    def abandon(self) -> None:
        """Kills the child. It ends as soon as it is no longer blocked in the kernel."""
        self._channel.close()
        os.kill(self._pid, signal.SIGKILL)

    def reap(self) -> None:
        """Waits a second for its end. If it ends later, init reaps it, after the recorder has ended."""
        deadline = time.monotonic() + PATIENCE_S
        while os.waitpid(self._pid, os.WNOHANG) == (0, 0) and time.monotonic() < deadline:
            time.sleep(0.001)


def _serve(channel: socket.socket, parent: int) -> int:
    """In the child: answers until the parent ends or closes the socket. Returns the exit status."""
    _keep_only(channel.fileno())
    fork.end_with(parent)
    while True:
        asked, folders, _, _ = socket.recv_fds(channel, _READ_BYTES, 1)
        if not asked:
            return 0
        (most_argv,) = _LENGTH.unpack_from(asked)
        answer = pickle.dumps(_read(folders[0], asked[_LENGTH.size :], most_argv))
        os.close(folders[0])
        channel.sendall(_LENGTH.pack(len(answer)) + answer)


def _keep_only(descriptor: int) -> None:
    """Closes all other descriptors: a child that hangs must not keep the parent's lock or pipes open."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.closerange(3, descriptor)
    os.closerange(descriptor + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _read(folder: int, task: bytes, most_argv: int) -> Read:
    inode, device, nlink = _statx(folder, task + b"exe") or (None, None, None)
    root = _statx(folder, task + b"root")
    top = None if root is None else (root[1], root[0])
    argv = read_file(folder, task + b"cmdline", most_argv + 1)
    is_cut = argv is not None and len(argv) > most_argv
    return Read(inode, device, nlink, top, argv[:most_argv] if argv else argv, is_cut)


def _statx(folder: int, name: bytes) -> tuple[int, int, int] | None:
    """Returns inode, device and number of names of the file that a link leads to; None: it cannot be read."""
    found = ctypes.create_string_buffer(_STATX_BYTES)
    if LIBC.statx(folder, name, _AT_STATX_DONT_SYNC, _STATX_INO | _STATX_NLINK, found):
        return None  # with any error: a network file system has its own
    major, minor = _DEVICE.unpack_from(found)
    return _INO.unpack_from(found)[0], major << 20 | minor, _NLINK.unpack_from(found)[0]


def read_file(folder: int, name: bytes, most: int = sys.maxsize) -> bytes | None:
    """Returns at most `most` bytes of a file; None if it is missing or forbidden, or its process is gone."""
    try:
        # A Path would take longer than opening and reading.
        file = os.open(name, os.O_RDONLY, dir_fd=folder)
    except _GONE:
        return None
    try:
        content = part = os.read(file, min(_READ_BYTES, most))
        while part and len(content) < most:
            part = os.read(file, min(_READ_BYTES, most - len(content)))
            content += part
    except _GONE:
        return None
    finally:
        os.close(file)
    return content
