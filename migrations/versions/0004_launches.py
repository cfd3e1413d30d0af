"""What many execs share becomes one row, and an end that is known goes into the exec's own.

Every exec is written anew, in transactions of their own: who is killed goes on where that was. Until the
last one the history is the old one. Meanwhile it takes about twice its room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic import context, op

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_CHUNK = 20_000
# Of what is remembered, so that it is not stored twice; 300 bytes each.
_REMEMBERED = 100_000
_LAUNCH = (
    "uid", "euid", "gid", "user_id", "comm_id", "filename_id", "exe_id", "cwd_id", "parent_comm_id",
    "interpreter_id", "inode", "device", "nlink", "privileged",
)  # fmt: skip
_UNKNOWN = (None,) * len(_LAUNCH)
_READ = (
    "SELECT e.uid, e.euid, e.gid, e.user_id, e.comm_id, e.filename_id, e.exe_id, e.cwd_id, e.parent_comm_id,"
    " i.interpreter_id, i.inode, i.device, i.nlink, i.privileged,"
    " e.id, e.ts, e.clock_id, e.kind, e.pid, nullif(e.tid, e.pid), e.ppid, e.uid, e.comm_id,"
    " e.origin_id, e.argv_id, e.errno, e.truncated, e.parent_id, d.duration_ns, d.status, d.replaced_by"
    " FROM exec AS e LEFT JOIN image AS i ON i.id = e.image_id LEFT JOIN exit AS d ON d.exec_id = e.id"
    " WHERE e.id > ? ORDER BY e.id LIMIT ?"
)
_WRITE_LAUNCH = f"INSERT INTO launch (id, {', '.join(_LAUNCH)}) VALUES (?{', ?' * len(_LAUNCH)})"  # noqa: S608  # ours
_WRITE = (
    "INSERT INTO exec_new (id, ts, clock_id, kind, pid, tid, ppid, uid, comm_id,"
    " origin_id, argv_id, errno, truncated, parent_id, duration_ns, status, replaced_by, launch_id)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def upgrade() -> None:
    """Copies what is there, then takes it for the old."""
    bind = op.get_bind()
    if not sa.inspect(bind).has_table("exec_new"):
        _make_tables()
    history = bind.connection.driver_connection
    if history is None:
        raise AssertionError("an open connection has a driver's")
    progress = context.config.attributes.get("progress", lambda *_: None)
    _copy(history, progress)
    op.drop_table("exec")
    op.drop_table("image")
    op.rename_table("exec_new", "exec")
    columns = ("comm_id", "pid", "parent_id")
    for number, column in enumerate(columns):
        progress("making indexes", number, len(columns))
        op.create_index(f"ix_exec_{column.removesuffix('_id')}", "exec", [column])
    op.execute("DELETE FROM exit")


def _make_tables() -> None:
    op.create_table(
        "launch",
        sa.Column("id", sa.Integer, primary_key=True),
        *(sa.Column(name, sa.Integer) for name in _LAUNCH),
        sqlite_strict=True,
    )
    op.create_table(
        "exec_new",
        sa.Column("id", sa.Integer, primary_key=True),
        *(sa.Column(name, sa.Integer, nullable=False) for name in ("ts", "clock_id", "kind", "pid")),
        *(
            sa.Column(name, sa.Integer, nullable=name != "argv_id")
            for name in (
                "tid", "ppid", "uid", "comm_id", "launch_id", "origin_id", "argv_id", "errno", "truncated",
                "parent_id", "duration_ns", "status", "replaced_by",
            )
        ),
        sqlite_strict=True,
    )  # fmt: skip


def _copy(history: sqlite3.Connection, progress: Callable[[str, int, int], object]) -> None:
    def number(sql: str) -> int:
        return int(history.execute(sql).fetchone()[0] or 0)

    done, last_launch = number("SELECT max(id) FROM exec_new"), number("SELECT max(id) FROM launch")
    copied_before, whole = number("SELECT count(*) FROM exec_new"), number("SELECT count(*) FROM exec")
    known: dict[tuple[object, ...], int | None] = {_UNKNOWN: None}
    width = len(_LAUNCH)
    while rows := history.execute(_READ, (done, _CHUNK)).fetchall():
        new: list[tuple[object, ...]] = []
        copied: list[tuple[object, ...]] = []
        for row in rows:
            launch = row[:width]
            if launch not in known:
                last_launch += 1
                known[launch] = last_launch
                new.append((last_launch, *launch))
            copied.append((*row[width:], known[launch]))
        history.executemany(_WRITE_LAUNCH, new)
        history.executemany(_WRITE, copied)
        # Past SQLAlchemy, which takes it for one transaction: the next one begins here.
        history.execute("COMMIT")
        history.execute("BEGIN IMMEDIATE")
        done = copied[-1][0]  # type: ignore[assignment]  # the id
        copied_before += len(copied)
        progress("copying execs", copied_before, whole)
        if len(known) > _REMEMBERED:
            known = {_UNKNOWN: None}
