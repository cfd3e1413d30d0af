"""The first history: execs with interned texts, gaps, recorder runs, a time index."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Tables are frozen here as they stood: never import execaudit.schema. It is long: a line a column."""
    meta = op.create_table(
        "meta",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "run",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("boot_id", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("started_ns", sa.Integer, nullable=False),
        sa.Column("stopped_ns", sa.Integer),
        sqlite_strict=True,
    )
    op.create_table(
        "clock",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.Integer, sa.ForeignKey("run.id"), nullable=False),
        sa.Column("offset_ns", sa.Integer, nullable=False),
        sqlite_strict=True,
    )
    for name in ("comm", "path", "argv", "user"):
        op.create_table(
            name,
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("v", sa.LargeBinary, nullable=False),
            sqlite_strict=True,
        )
    op.create_table(
        "exec",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("ts", sa.Integer, nullable=False),
        sa.Column("clock_id", sa.Integer, nullable=False),
        sa.Column("kind", sa.Integer, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("tid", sa.Integer, nullable=False),
        sa.Column("ppid", sa.Integer),
        sa.Column("uid", sa.Integer),
        sa.Column("euid", sa.Integer),
        sa.Column("gid", sa.Integer),
        sa.Column("user_id", sa.Integer),
        sa.Column("comm_id", sa.Integer),
        sa.Column("filename_id", sa.Integer),
        sa.Column("exe_id", sa.Integer),
        sa.Column("cwd_id", sa.Integer),
        sa.Column("argv_id", sa.Integer, nullable=False),
        sa.Column("errno", sa.Integer),
        sa.Column("truncated", sa.Integer),
        sqlite_strict=True,
    )
    op.create_index("ix_exec_comm", "exec", ["comm_id"])
    op.create_index("ix_exec_pid", "exec", ["pid"])
    op.create_table(
        "argv_cut",
        sa.Column("exec_id", sa.Integer, primary_key=True),
        sa.Column("argc", sa.Integer),
        sa.Column("argv_bytes", sa.Integer),
        sa.Column("holes", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "seg",
        sa.Column("id_lo", sa.Integer, primary_key=True),
        sa.Column("id_hi", sa.Integer, nullable=False),
        sa.Column("ts_min", sa.Integer, nullable=False),
        sa.Column("ts_max", sa.Integer, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "gap",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.Integer, sa.ForeignKey("run.id"), nullable=False),
        sa.Column("ts_from", sa.Integer, nullable=False),
        sa.Column("ts_to", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("count", sa.Integer),
        sqlite_strict=True,
    )
    op.bulk_insert(
        meta,
        [
            {"key": "next_id", "value": b"1"},
            {"key": "stream_id", "value": secrets.token_bytes(16)},
        ],
    )
