"""Ask the commands about time stamps."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.commands import execaudit

if TYPE_CHECKING:
    from pathlib import Path


def status(path: Path) -> dict[str, Any]:
    """Returns what `seal status` says."""
    found: dict[str, Any] = json.loads(execaudit("--db", path, "seal", "status", "--format=json").out)
    return found


def verify(path: Path, *options: str | Path) -> tuple[int, dict[str, Any]]:
    """Returns the exit status of `verify`, and what it says."""
    done = execaudit("--db", path, "verify", "--format=json", *options)
    return done.status, json.loads(done.out)
