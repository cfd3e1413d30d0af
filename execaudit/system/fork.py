"""Fork a child that never returns into the parent's code."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from typing import TYPE_CHECKING

from execaudit.system.libc import LIBC

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

# Of prctl, in include/uapi/linux/prctl.h.
_SET_PDEATHSIG = 1


@contextlib.contextmanager
def signals_blocked() -> Iterator[Collection[int]]:
    """Blocks all signals while the body runs, and yields those that were blocked before.

    To be used around a fork: an interrupt between the fork and the assignment of the child's pid would leave
    the child behind. An interrupt that came earlier is raised here.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield before
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def fork(work: Callable[[], int]) -> int:
    """Starts a child that calls `work` and ends with its result as exit status. Returns the child's pid.

    To be called with signals blocked; they are blocked in the child too. If `work` raises, the status is 1.
    The child ends with `_exit`, so the parent's clean-up never runs in it.
    """
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = work()
        finally:
            os._exit(status)
    return pid


def end_with(parent: int) -> None:
    """Has the kernel kill this process when its parent (pid `parent`) ends."""
    LIBC.prctl(_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(1)
