"""Compiled functions for what is done to each exec, where they were built.

`fast` is the module, made from fast.pyx. It is None where it was not built, and with EXECAUDIT_PURE=1: then
Python does all. Whoever uses it has the same in Python, which is the reference.
"""

from __future__ import annotations

import os

if os.environ.get("EXECAUDIT_PURE"):
    fast = None
else:
    try:
        from execaudit.native import fast
    except ImportError:
        fast = None
