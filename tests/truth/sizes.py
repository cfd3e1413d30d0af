"""Scale the number of execs in a test: all of them here, fewer in a slow virtual machine."""

from __future__ import annotations

import os

_PERCENT = int(os.environ.get("TRUTH_PERCENT", "100"))


def sized(count: int) -> int:
    """Returns the share of a count that suits this machine, at least one."""
    return max(1, count * _PERCENT // 100)
