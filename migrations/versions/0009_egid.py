"""The effective group id of an exec."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column; what was recorded before has NULL in it: not known."""
    op.execute("DROP VIEW execs")
    op.add_column("launch", sa.Column("egid", sa.Integer))
    statement = Path(__file__).with_name("0009_execs.sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(statement)
