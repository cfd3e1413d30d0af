"""Time stamps: an authority says when a head was there at the latest."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table. A central database has none: a host's history has its time stamps."""
    if op.get_bind().dialect.name == "postgresql":
        return
    op.create_table(
        "seal_timestamp",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("head", sa.Text, nullable=False),
        sa.Column("at_ns", sa.Integer, nullable=False),
        sa.Column("authority", sa.Text, nullable=False),
        sa.Column("reply", sa.LargeBinary, nullable=False),
        sqlite_strict=True,
    )
