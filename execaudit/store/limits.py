"""How much history is kept: as configured, or by default a part of its file system."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from execaudit.event import Nanoseconds
from execaudit.sizes import size_text

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_MIN_AGE = Nanoseconds(3600 * 1_000_000_000)
# Of the file system, as journald does it: a tenth, but no more than this; on a small one no less than this.
_PART = 10
_MOST_BYTES = 4_000_000_000
_USEFUL_BYTES = 64_000_000
LEAST_BYTES = 2_000_000
"""An empty history has 200 KB, and the programs that run take some more: smaller limits cannot be kept."""
# When less is free, the history does as if it were at its limit.
_FREE_PART, _MOST_FREE_BYTES = 20, 32_000_000


class Limits(NamedTuple):
    """How much history is kept."""

    max_age_ns: Nanoseconds | None = None
    """What is older is deleted."""
    max_bytes: int | None = None
    """The oldest is deleted when the database is larger."""
    min_age_ns: Nanoseconds = DEFAULT_MIN_AGE
    """What is younger is never deleted for the size."""


class Disk(NamedTuple):
    """The file system that has the history."""

    whole_bytes: int
    free_bytes: int

    @property
    def default_bytes(self) -> int:
        """What a history may take where nothing else is configured."""
        tenth = self.whole_bytes // _PART
        return min(max(tenth, min(_USEFUL_BYTES, self.whole_bytes // 2)), _MOST_BYTES)

    @property
    def reserve_bytes(self) -> int:
        """What is to stay free."""
        return min(self.whole_bytes // _FREE_PART, _MOST_FREE_BYTES)


def disk_of(path: Path) -> Disk:
    """Returns the file system of a history, which need not be there yet. Raises OSError."""
    found = os.statvfs(path.resolve().parent)
    return Disk(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)


def effective(path: Path, configured: Limits) -> Limits:
    """Returns the limits that a recorder keeps, the default size among them. Raises OSError."""
    if configured.max_bytes is None:
        return configured._replace(max_bytes=disk_of(path).default_bytes)
    return configured._replace(max_bytes=max(configured.max_bytes, LEAST_BYTES))


def wording(configured: Limits, kept: Limits) -> str:
    """Returns in one line what is kept, and why; for people."""
    why = "a tenth of its file system, at most 4 GB: the default"
    if configured.max_bytes is not None:
        small = configured.max_bytes < LEAST_BYTES
        why = f"not {size_text(configured.max_bytes)}: that is less than it needs" if small else "configured"
    size = "any size" if kept.max_bytes is None else f"at most {size_text(kept.max_bytes)} ({why})"
    age = "any age" if kept.max_age_ns is None else f"at most {time_text(kept.max_age_ns)} old"
    return f"{size}, {age}; nothing younger than {time_text(kept.min_age_ns)} is deleted for its size"


def time_text(length_ns: int) -> str:
    """Returns a length of time as it is configured: `30d`, `90s`."""
    for name, seconds in (("d", 86_400), ("h", 3600), ("min", 60)):
        if length_ns and length_ns % (seconds * 1_000_000_000) == 0:
            return f"{length_ns // (seconds * 1_000_000_000)}{name}"
    return f"{length_ns / 1e9:g}s"
