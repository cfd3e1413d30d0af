"""What `execaudit db upgrade` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.cli.run.progress import Progress
from execaudit.database.revision import REVISION
from execaudit.query.connection import revision_of

if TYPE_CHECKING:
    from pathlib import Path


def upgrade(path: Path) -> str:
    """Brings the schema to this version's, or makes the database. Returns what it did."""
    before = revision_of(path) if path.exists() else None
    if before == REVISION:
        return f"{path} has schema {REVISION} already"
    from execaudit.store.writer import Store  # noqa: PLC0415  # imports SQLAlchemy

    with Progress(lines=True) as progress:
        Store(path, progress=progress.say_upgrade).close()
    return f"{path} has schema {REVISION} now (before: {before or 'none'})"
