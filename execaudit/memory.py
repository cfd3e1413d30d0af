"""Have this process give back what memory it no longer needs. To be set once, before there are threads."""

from __future__ import annotations

import ctypes
import gc

# mallopt(3), malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
# A piece of a long command line has as much: each is a mapping of its own then, and gone when it
# is freed, whatever was allocated after it. glibc's own threshold grows with what is freed.
_OWN_MAPPING_BYTES = 16 * 1024
_FREE_AT_THE_END_BYTES = 128 * 1024
# Python's collector looks for cycles after so many new objects more than were freed. A batch of
# 2 000 events is no garbage; its own figure of 700 would have it look several times in each.
_NEW_OBJECTS = 20_000


def settle() -> None:
    """Sets how malloc and Python's collector work from now on.

    One arena: records are allocated by one thread and freed by another, and room that is free
    in one arena is none in the other. What has been imported stays, and is not looked at again.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc's
        libc.mallopt(_ARENA_MAX, 1)
        libc.mallopt(_MMAP_THRESHOLD, _OWN_MAPPING_BYTES)
        libc.mallopt(_TRIM_THRESHOLD, _FREE_AT_THE_END_BYTES)
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])
