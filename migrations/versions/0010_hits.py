"""What detection rules hit while it was recorded."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the tables. What was recorded before was not hunted."""
    op.create_table(
        "rule",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("uuid", sa.Text),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("level", sa.Text),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("file", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "hit",
        sa.Column("exec_id", sa.Integer, primary_key=True),
        sa.Column("rule_id", sa.Integer, primary_key=True),
        sa.Column("left_out", sa.Integer, nullable=False),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
