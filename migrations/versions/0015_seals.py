"""Seals: a history proves that nothing in it was changed. What is there is sealed when it is opened next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_ENDS = ("exec", "exit", "run", "gap", "stray_exit", "rule", "hit", "argv_grams", "change", "act")
_GAP = ("id", "run_id", "ts_from", "ts_to", "reason", "count", "exits", "uid")
_STRAY = ("id", "clock_id", "ts", "pid", "duration_ns", "status")


def upgrade() -> None:
    """Makes the tables, and numbers gaps and ends without an exec so that no number is given twice."""
    bind = op.get_bind()
    if bind.dialect.name == "postgresql":
        # The heads of hosts' seals. SQLAlchemy would take each % for the place of a value.
        driver = bind.connection.driver_connection
        if driver is None:
            raise AssertionError("an open connection has a driver's")
        for statement in Path(__file__).with_name("0015_heads.sql").read_text(encoding="utf-8").split(";;\n"):
            driver.execute(statement)
        return
    _rebuild(
        "gap",
        _GAP,
        sa.Column("run_id", sa.Integer, sa.ForeignKey("run.id"), nullable=False),
        sa.Column("ts_from", sa.Integer, nullable=False),
        sa.Column("ts_to", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("count", sa.Integer),
        sa.Column("exits", sa.Integer, nullable=False, server_default="0"),
        sa.Column("uid", sa.Integer),
    )
    _rebuild(
        "stray_exit",
        _STRAY,
        *(sa.Column(name, sa.Integer, nullable=False) for name in _STRAY if name != "id"),
    )
    op.create_table(
        "seal_chain",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("chain", sa.LargeBinary, nullable=False),
        sa.Column("is_keyed", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("begun_ns", sa.Integer, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "seal",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("chain_id", sa.Integer, sa.ForeignKey("seal_chain.id"), nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("at_us", sa.Integer, nullable=False),
        *(sa.Column(f"end_{name}", sa.Integer, nullable=False) for name in _ENDS),
        sa.Column("entries", sa.LargeBinary, nullable=False),
        sa.Column("streams", sa.LargeBinary, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("code", sa.LargeBinary),
        sqlite_strict=True,
    )
    op.create_table(
        "seal_gone",
        sa.Column("seal_id", sa.Integer, primary_key=True),
        sa.Column("stream", sa.Integer, primary_key=True),
        sa.Column("act_id", sa.Integer, nullable=False),
        sa.Column("parts", sa.LargeBinary, nullable=False),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "seal_change",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("exec_id", sa.Integer, nullable=False),
        sa.Column("parent_was", sa.Integer),
        sa.Column("parent_now", sa.Integer),
        sa.Column("line_was", sa.LargeBinary),
        sa.Column("line_now", sa.LargeBinary),
        sqlite_autoincrement=True,
        sqlite_strict=True,
    )
    op.create_index("ix_seal_change_exec", "seal_change", ["exec_id"])
    op.create_table(
        "seal_act",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at_ns", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("execs", sa.Integer, nullable=False),
        sa.Column("pruned", sa.LargeBinary, nullable=False),
        sa.Column("parts", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
        sqlite_strict=True,
    )


def _rebuild(name: str, columns: tuple[str, ...], *rest: sa.Column[Any]) -> None:
    """Makes a table anew, with numbers that are never given twice. It is small."""
    op.create_table(
        f"{name}_new",
        sa.Column("id", sa.Integer, primary_key=True),
        *rest,
        sqlite_autoincrement=True,
        sqlite_strict=True,
    )
    listed = ", ".join(f'"{column}"' for column in columns)
    op.execute(f"INSERT INTO {name}_new ({listed}) SELECT {listed} FROM {name} ORDER BY id")  # noqa: S608  # ours
    op.drop_table(name)
    op.rename_table(f"{name}_new", name)
