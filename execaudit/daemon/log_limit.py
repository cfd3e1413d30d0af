"""How much of a disk the JSON log may take, unless the configuration says it: as journald, a tenth."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from execaudit.daemon.log_file import Rotation

_PART = 10
_MOST_BYTES = 4 * 10**9
# A tenth of a small disk would be of little use; then half of it at most.
_LEAST_BYTES = 256 * 2**20
# Three parts are not for old logs: see log_file.py. To compress one takes seconds, during which lines wait.
_PARTS, _LARGEST_BYTES = 8, 256 * 2**20


def default_bytes(folder: Path) -> int:
    """Returns the limit for a log in this folder, what was put aside counted. Raises OSError."""
    disk = os.statvfs(folder)
    size = disk.f_blocks * disk.f_frsize
    return min(_MOST_BYTES, max(size // _PART, min(_LEAST_BYTES, size // 2)))


def completed(rotation: Rotation, log: Path) -> Rotation:
    """Returns a rotation with a limit: that of the configuration, or the default. Raises OSError."""
    total = rotation.max_total
    # A size and a number are a limit too.
    if total is None and (rotation.max_bytes is None or rotation.keep is None):
        total = default_bytes(log.parent)
    if total is None:
        return rotation
    size = min(total // _PARTS, _LARGEST_BYTES)
    return replace(rotation, max_total=total, max_bytes=min(size, rotation.max_bytes or size))
