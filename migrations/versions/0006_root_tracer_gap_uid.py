"""The root directory, mount namespace and tracer of an exec, and whose execs are missing in a gap."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds columns; what was recorded before has NULL in them, which is what was known."""
    for name in ("root_id", "mnt_ns", "traced"):
        op.add_column("launch", sa.Column(name, sa.Integer))
    op.add_column("gap", sa.Column("uid", sa.Integer))
