"""Which long command lines there are already, by digest: the same one is stored once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table. Lines that are there already are not in it, and may come once more."""
    op.create_table(
        "long_argv",
        sa.Column("argv_id", sa.Integer, primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sqlite_strict=True,
    )
    op.create_index("ix_long_argv_digest", "long_argv", ["digest"], unique=True)
