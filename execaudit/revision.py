"""The schema's revision, apart from the schema: reading it must not import SQLAlchemy."""

from __future__ import annotations

REVISION = "0007"
"""The newest one in migrations/versions; a test compares the two. They sort as text."""
