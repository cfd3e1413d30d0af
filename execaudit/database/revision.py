"""The schema's revision. It is not in schema.py, because a reader must not import SQLAlchemy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

REVISION = "0017"
"""The newest one in migrations/versions; a test compares the two. They sort as text."""


def schema_revision(connection: sqlite3.Connection) -> str | None:
    """Returns the revision of the schema, or None if this is not a history of execaudit."""
    # Other programs use Alembic as well, so one of our tables must exist too.
    found = connection.execute(
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('alembic_version', 'exec')"
    )
    if found.fetchone() != (2,):
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])
