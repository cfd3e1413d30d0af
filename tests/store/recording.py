"""Write a store, read it as a user does, and read or change the database directly."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from execaudit.enums import Gained
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.store.writer import Store
from tests.histories import begin_run, make_event

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from execaudit.event import ExecEvent

TABLES = ("comm", "path", "argv", "user", "origin", "launch")
ENDS = "SELECT id, duration_ns, status, replaced_by FROM exec WHERE duration_ns IS NOT NULL ORDER BY id"


@contextlib.contextmanager
def recording_to(path: Path) -> Iterator[Store]:
    """Opens the store and begins a run."""
    with Store(path) as opened:
        begin_run(opened)
        yield opened


def stored(path: Path, after: int | None = None) -> list[ExecEvent]:
    """Returns the execs of a history, read as a user does, without their ends."""
    with open_history(path) as connection:
        return [found.event._replace(end=None) for found in find.find(connection, Filter(), after=after)]


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """Returns the rows of a statement, run directly on the database."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def execute(path: Path, *statements: str) -> None:
    """Changes the database directly; the store does not know of it."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for sql in statements:
            connection.execute(sql)


def files(path: Path) -> set[str]:
    """Returns the names of the files in the folder of the history."""
    return {file.name for file in path.parent.iterdir()}


def from_somewhere(seconds: float, **overrides: Any) -> ExecEvent:  # noqa: ANN401  # any field
    """Returns an exec with all fields known but the parent."""
    facts: dict[str, Any] = {
        "parent_comm": b"bash",
        "auid": 1000,
        "session": 3,
        "login_user": "alice",
        "tty": b"pts/3",
        "cgroup": b"/user.slice",
        "interpreter": b"/bin/sh",
        "inode": 7,
        "device": 8 << 20 | 1,
        "nlink": 1,
        "privileged": Gained.SETUID,
        "root": b"/srv/jail",
        "mnt_ns": 4_026_532_301,
        "traced": 99,
    }
    return make_event(b"a", seconds=seconds, **{**facts, **overrides})


REFUSED = (sqlite3.OperationalError, sa.exc.OperationalError)
"""What is raised where a table is missing: by the driver, or through SQLAlchemy."""
POISON = make_event(b"poison", pid=2**63)
"""An exec that SQLite cannot hold."""


def child_of(parent: ExecEvent, seconds: float, **overrides: Any) -> ExecEvent:  # noqa: ANN401  # any field
    """Returns a child of an exec; its pid is the number of seconds."""
    return make_event(b"child", seconds=seconds, **{"pid": int(seconds), "parent": parent.key, **overrides})
