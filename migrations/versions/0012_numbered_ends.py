"""Ends that came later than their execs get numbers, in the order of recording."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic import context, op

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# So many rows between two reports of progress.
_CHUNK = 100_000
_COPY = (
    "INSERT INTO exit_new (exec_id, duration_ns, status, replaced_by)"
    " SELECT exec_id, duration_ns, status, replaced_by FROM exit WHERE exec_id > ? ORDER BY exec_id LIMIT ?"
)


def upgrade() -> None:
    """Copies the ends, in one transaction: who is killed begins anew. A million take some seconds."""
    # SQLite does not rename a table to a name that a view speaks of.
    op.execute("DROP VIEW execs")
    op.create_table(
        "exit_new",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("exec_id", sa.Integer, nullable=False),
        sa.Column("duration_ns", sa.Integer, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("replaced_by", sa.Integer),
        sqlite_autoincrement=True,
        sqlite_strict=True,
    )
    history = op.get_bind().connection.driver_connection
    if history is None:
        raise AssertionError("an open connection has a driver's")
    _copy(history, context.config.attributes.get("progress", lambda *_: None))
    op.drop_table("exit")
    op.rename_table("exit_new", "exit")
    op.create_index("ix_exit_exec", "exit", ["exec_id"], unique=True)
    statement = Path(__file__).with_name("0011_execs.sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(statement)


def _copy(history: sqlite3.Connection, progress: Callable[[str, int, int], object]) -> None:
    whole, done, last = history.execute("SELECT count(*) FROM exit").fetchone()[0], 0, 0
    while copied := history.execute(_COPY, (last, _CHUNK)).rowcount:
        done += copied
        last = history.execute("SELECT exec_id FROM exit_new ORDER BY id DESC LIMIT 1").fetchone()[0]
        progress("numbering ends", done, whole)
