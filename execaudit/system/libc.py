"""Call functions of the C library, and raise their errors."""

from __future__ import annotations

import ctypes
import os

LIBC = ctypes.CDLL(None, use_errno=True)


def check(result: int) -> None:
    """Raises OSError if the result of a call of LIBC says that it failed."""
    if result:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
