"""A store is written, read as a user reads it, and looked at and changed behind its back."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

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
    """Returns the execs of a history, read as a user does, as they were before they ended."""
    with open_history(path) as connection:
        return [found.event._replace(end=None) for found in find.find(connection, Filter(), after=after)]


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """Returns what SQLite itself finds."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def execute(path: Path, *statements: str) -> None:
    """Changes the database behind the store's back."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for sql in statements:
            connection.execute(sql)


def files(path: Path) -> set[str]:
    """Returns the names of the files in its folder."""
    return {file.name for file in path.parent.iterdir()}


def from_somewhere(seconds: float, **overrides: Any) -> ExecEvent:  # noqa: ANN401  # any field
    """Returns an exec of which everything is known but its parent."""
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


POISON = make_event(b"poison", pid=2**63)
"""An exec that SQLite cannot hold."""


def child_of(parent: ExecEvent, seconds: float, **overrides: Any) -> ExecEvent:  # noqa: ANN401  # any field
    """Returns an exec that another one led to, of a process with the seconds as its pid."""
    return make_event(b"child", seconds=seconds, **{"pid": int(seconds), "parent": parent.key, **overrides})
