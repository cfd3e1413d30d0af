"""Where the recorder replaced secrets in the arguments of an exec."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column. In what was recorded before, nothing was replaced."""
    op.execute("DROP VIEW execs")
    op.add_column("argv_cut", sa.Column("redacted", sa.Text))
    statement = Path(__file__).with_name("0011_execs.sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(statement)
