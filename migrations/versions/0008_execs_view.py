"""A view with the record's names, so that the history can be read with any SQLite tool."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the view that stands in the file beside this one.

    A later migration of one of its tables drops it first, and makes a new one.
    """
    statement = Path(__file__).with_name("0008_execs.sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(statement)
