"""How much of everything there is: all of it here, less in a slow virtual machine."""

from __future__ import annotations

import os

_PERCENT = int(os.environ.get("TRUTH_PERCENT", "100"))


def sized(count: int) -> int:
    """Returns as much of a count as this machine is to bear, and not nothing."""
    return max(1, count * _PERCENT // 100)
