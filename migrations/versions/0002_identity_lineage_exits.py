"""Where execs come from, what led to them, and how they ended."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds columns that are NULL in what is there: no row of a large history is rewritten."""
    op.create_table(
        "origin",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("auid", sa.Integer),
        sa.Column("session", sa.Integer),
        sa.Column("login_user_id", sa.Integer),
        sa.Column("tty", sa.LargeBinary),
        sa.Column("cgroup_id", sa.Integer),
        sqlite_strict=True,
    )
    op.create_table(
        "image",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("inode", sa.Integer),
        sa.Column("device", sa.Integer),
        sa.Column("nlink", sa.Integer),
        sa.Column("privileged", sa.Integer),
        sa.Column("interpreter_id", sa.Integer),
        sqlite_strict=True,
    )
    for name in ("parent_id", "parent_comm_id", "origin_id", "image_id"):
        op.add_column("exec", sa.Column(name, sa.Integer))
    op.create_index("ix_exec_parent", "exec", ["parent_id"])
    op.create_table(
        "exit",
        sa.Column("exec_id", sa.Integer, primary_key=True),
        sa.Column("duration_ns", sa.Integer, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("replaced_by", sa.Integer),
        sqlite_strict=True,
    )
    op.create_table(
        "stray_exit",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("clock_id", sa.Integer, nullable=False),
        sa.Column("ts", sa.Integer, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("duration_ns", sa.Integer, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sqlite_strict=True,
    )
    op.add_column("run", sa.Column("seen_ns", sa.Integer))
    op.add_column("gap", sa.Column("exits", sa.Integer, nullable=False, server_default="0"))
