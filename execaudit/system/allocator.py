"""How this process uses memory, for a life of months. To be set once, before there are threads."""

from __future__ import annotations

import ctypes
import gc
import sys

_LIBC = ctypes.CDLL(None)
# mallopt(3), malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
# A piece of a long command line has as much: each is a mapping of its own then, and gone when it
# is freed, whatever was allocated after it. glibc's own threshold grows with what is freed.
_OWN_MAPPING_BYTES = 16 * 1024
_FREE_AT_THE_END_BYTES = 128 * 1024
# Events are no cycles. Python's look for cycles takes a tenth of their assembly at its own threshold of 700.
_LOOK_FOR_CYCLES_AT = 5_000

# TLS: what imports them (asyncio, and by it SQLAlchemy; hashlib) does without. 4.6 MB of a recorder.
_LEFT_OUT = ("ssl", "_hashlib")


def leave_out() -> None:
    """Keeps what nothing here uses from being imported by libraries; to be called before they are."""
    for name in _LEFT_OUT:
        # None: importing it raises ImportError (docs.python.org/3/reference/import.html#the-module-cache).
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # that is what it says


def settle() -> None:
    """Sets how malloc works from now on, and how often Python looks for cycles.

    One arena: records are allocated by one thread and freed by another, and room that is free
    in one arena is none in the other.
    """
    gc.collect()
    gc.freeze()  # what is there by now stays, and need not be looked at again
    gc.set_threshold(_LOOK_FOR_CYCLES_AT)
    if hasattr(_LIBC, "mallopt"):  # glibc's
        _LIBC.mallopt(_ARENA_MAX, 1)
        _LIBC.mallopt(_MMAP_THRESHOLD, _OWN_MAPPING_BYTES)
        _LIBC.mallopt(_TRIM_THRESHOLD, _FREE_AT_THE_END_BYTES)


def give_back() -> None:
    """Gives whole pages that are free between others back to the system; takes a millisecond."""
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)
