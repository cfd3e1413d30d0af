"""Configure how this process, which runs for months, uses memory. Once, before there are threads."""

from __future__ import annotations

import ctypes
import gc
import sys

_LIBC = ctypes.CDLL(None)
# mallopt(3), malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
# Parts of long command lines are larger than this. So each has a mapping of its own, and its memory goes back
# when it is freed, whatever was allocated after it. glibc's own threshold grows with what is freed.
_OWN_MAPPING_BYTES = 16 * 1024
_FREE_AT_THE_END_BYTES = 128 * 1024
# Events have no cycles. With Python's own threshold of 700, the collector takes a tenth of the time of
# assembly.
_LOOK_FOR_CYCLES_AT = 5_000

# TLS: what imports them (asyncio, and by it SQLAlchemy; hashlib) does without. 4.6 MB of a recorder.
_LEFT_OUT = ("ssl", "_hashlib")


def leave_out() -> None:
    """Keeps what nothing here uses from being imported by libraries; to be called before they are."""
    for name in _LEFT_OUT:
        # None: importing it raises ImportError (docs.python.org/3/reference/import.html#the-module-cache).
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # that is what it says


def configure() -> None:
    """Sets how malloc works from now on, and how often Python looks for cycles.

    One arena, because one thread allocates the wire records and another frees them: a second arena could not
    use again what was freed into the first.
    """
    gc.collect()
    gc.freeze()  # these objects stay for good, so the collector need not look at them again
    gc.set_threshold(_LOOK_FOR_CYCLES_AT)
    if hasattr(_LIBC, "mallopt"):  # glibc's
        _LIBC.mallopt(_ARENA_MAX, 1)
        _LIBC.mallopt(_MMAP_THRESHOLD, _OWN_MAPPING_BYTES)
        _LIBC.mallopt(_TRIM_THRESHOLD, _FREE_AT_THE_END_BYTES)


def give_back() -> None:
    """Gives whole pages that are free between others back to the system; takes a millisecond."""
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)
