"""An index of what is in command lines, which the recorder makes, bit by bit, behind what it stores."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the tables, and says that nothing is in them yet: that is searched line by line."""
    for table, column in (("argv_grams", "bits"), ("argv_used", "ids")):
        op.create_table(
            table,
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column(column, sa.LargeBinary, nullable=False),
            sqlite_strict=True,
        )
    op.execute("INSERT INTO meta (key, value) VALUES ('argv_grams', CAST('0' AS BLOB))")
    op.execute("INSERT INTO meta (key, value) VALUES ('argv_used', CAST('0' AS BLOB))")
