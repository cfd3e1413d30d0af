"""Fork a child that never comes back into the parent's code."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

# Of prctl, in include/uapi/linux/prctl.h.
_SET_PDEATHSIG = 1


@contextlib.contextmanager
def signals_held_back() -> Iterator[Collection[int]]:
    """Holds all signals back while the body runs, and yields those that were held back before.

    Around a fork: an interrupt between it and what remembers the child's pid would leave the child behind. An
    interrupt that came before is raised here.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield before
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def fork(work: Callable[[], int]) -> int:
    """Returns the pid of a child that does `work`, and whose status is what that returns.

    To be called with signals held back, as they are in the child; 1 is the status of a child whose work
    raises. The child ends with `_exit`, so the parent's clean-up never runs in it.
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
    """Has the kernel kill this process when its parent, which has this pid, ends."""
    ctypes.CDLL(None).prctl(_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(1)
