"""Start programs by the bare system calls, each in a child, and hold some of them fast in the middle."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_EXECVEAT = 322
_EMPTY_PATH = 0x1000
_TRACEME, _CONT, _SETOPTIONS = 0, 7, 0x4200
_TRACE_EXEC, _KILL_WITH_TRACER = 1 << 4, 1 << 20
_EVENT_EXEC = 4 << 8

_libc = ctypes.CDLL(None, use_errno=True)
_kept: list[object] = []


def _vector(argv: Sequence[bytes] | int | None) -> Any:  # noqa: ANN401  # ctypes
    """Returns what to pass for arguments, or for the address that stands for them."""
    if argv is None or isinstance(argv, int):
        return ctypes.c_void_p(argv)
    # In memory of our own: what nobody has touched cannot be read by a probe.
    texts = [ctypes.create_string_buffer(text) for text in argv]
    _kept.extend(texts)
    return (ctypes.c_void_p * (len(texts) + 1))(*map(ctypes.addressof, texts), None)


def execve(program: bytes | int, argv: Sequence[bytes] | int | None) -> None:
    """Comes back if it is refused."""
    name = ctypes.c_void_p(program) if isinstance(program, int) else program
    _libc.execve(name, _vector(argv), (ctypes.c_void_p * 1)(None))


def execve_each(program: bytes, *command_lines: Sequence[bytes]) -> None:
    """One after the other, until one is not refused."""
    for argv in command_lines:
        execve(program, argv)


def execveat(dirfd: int, program: bytes, argv: Sequence[bytes], flags: int = 0) -> None:
    """Comes back if it is refused."""
    _libc.syscall(_EXECVEAT, dirfd, program, _vector(argv), (ctypes.c_void_p * 1)(None), flags)


def execve_in_thread(program: bytes, argv: Sequence[bytes]) -> None:
    """By a thread that is not the leader."""
    threading.Thread(target=execve, args=(program, argv)).start()
    time.sleep(60)


def run_from_memory(argv: Sequence[bytes]) -> None:
    """A copy of /bin/true that has no name."""
    fd = os.memfd_create("program")
    with open("/bin/true", "rb") as file:  # noqa: PTH123  # a child does as little as it can
        os.write(fd, file.read())
    execveat(fd, b"", argv, _EMPTY_PATH)


def in_child(act: Callable[[], object]) -> tuple[int, int]:
    """Returns the pid of a child that has done it, and what wait(2) says of its end."""
    pid = os.fork()
    if pid == 0:
        _act_and_end(act)
    return pid, os.waitpid(pid, 0)[1]


def _act_and_end(act: Callable[[], object]) -> NoReturn:
    try:
        # The most that the kernel takes: 6 MB of arguments.
        resource.setrlimit(resource.RLIMIT_STACK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        act()
    finally:
        os._exit(0)


@contextlib.contextmanager
def held_in_exec() -> Iterator[int]:
    """While the body runs, a child stands in the middle of a successful execve; its pid."""
    pid = os.fork()
    if pid == 0:
        _libc.ptrace(_TRACEME, 0, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        _act_and_end(lambda: execve(b"/bin/true", [b"held"]))
    os.waitpid(pid, 0)
    _libc.ptrace(_SETOPTIONS, pid, None, ctypes.c_void_p(_TRACE_EXEC | _KILL_WITH_TRACER))
    _libc.ptrace(_CONT, pid, None, None)
    assert os.waitpid(pid, 0)[1] >> 8 == signal.SIGTRAP | _EVENT_EXEC
    try:
        yield pid
    finally:
        _libc.ptrace(_CONT, pid, None, None)
        os.waitpid(pid, 0)
