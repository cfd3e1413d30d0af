"""Replace a small file that other programs read: a reader sees the old content or the new."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Replaces the file by one that all users may read. Raises OSError."""
    unfinished = path.with_name(f".{path.name}.new")
    try:
        with contextlib.suppress(FileNotFoundError):
            unfinished.unlink()
        # The folder may belong to another user, who can have put a link there.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(unfinished, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o644)
        unfinished.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise
