"""What was pruned, and a number by which the recorder sees that it was."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds a small table and a row: nothing of a large history is touched."""
    op.create_table(
        "pruned",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at_ns", sa.Integer, nullable=False),
        sa.Column("top", sa.Integer, nullable=False),
        sa.Column("ts_from", sa.Integer, nullable=False),
        sa.Column("ts_to", sa.Integer, nullable=False),
        sa.Column("execs", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("finished", sa.Integer, nullable=False),
        sqlite_strict=True,
    )
    op.execute("INSERT INTO meta (key, value) VALUES ('generation', x'30')")
