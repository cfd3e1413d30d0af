"""Open the history for reading, and turn what goes wrong into one line.

SQLite directly, not through SQLAlchemy: to import that takes longer than most queries. A reader never writes,
never makes the writer wait, and needs no write access.

A history that nobody has open is read without the files that SQLite makes to share a WAL. So a copy can be
read on a read-only file system, and a reader leaves no files behind.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from typing import TYPE_CHECKING

from execaudit.database import files
from execaudit.database.revision import REVISION, schema_revision
from execaudit.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from execaudit.errors import ExecauditError

_BUSY_SECONDS = 5
_PRAGMAS = ("PRAGMA query_only = 1", "PRAGMA cache_size = -65536", "PRAGMA temp_store = MEMORY")


class Reading:
    """How far the search for an answer is, for who waits for it. By numbers of execs."""

    def __init__(self, on_answer: Callable[[], None], on_look: Callable[[Reading], None]) -> None:
        """`on_answer` is called once, when the answer begins; `on_look` again and again before that."""
        self._on_answer, self._on_look = on_answer, on_look
        self.is_answered = False
        self.low, self.high = 0, -1
        """The search is between these two."""
        self.at, self.is_backward = 0, False
        """What comes next, in the direction of reading."""
        self.has_numbers = True
        """These are numbers of execs; else times, of which nobody knows how many execs they have."""

    def answer(self) -> None:
        """Notes that the answer begins: nobody waits any more."""
        if not self.is_answered:
            self.is_answered = True
            self._on_answer()

    def look(self) -> int:
        """Is called now and then during a search, by what searches. Returns 0, for SQLite: it goes on."""
        if not self.is_answered and self.execs() > 0:
            self._on_look(self)
        return 0

    def execs(self) -> int:
        """Returns how many execs are looked at; more, if some were pruned."""
        return self.high - self.low + 1

    def done(self) -> int:
        """Returns how many of them were looked at."""
        return self.high - self.at if self.is_backward else self.at - self.low


class Connection(sqlite3.Connection):
    """SQLite replaces what a function of ours raises by an error of its own, which says nothing."""

    failure: ExecauditError | None = None
    """Why a function of ours ended the statement."""
    reading: Reading | None = None
    """Set by who wants to know."""


@contextlib.contextmanager
def open_history(path: Path, *, follow: bool = False) -> Iterator[Connection]:
    """Opens a database whose schema is this version's, read-only.

    With `follow` what is written later is seen, even if nobody writes now. Raises StoreError, also
    for what goes wrong while it is open.
    """
    with _open(path, follow=follow) as connection, _translated(path), _explained(connection):
        revision = schema_revision(connection)
        if revision is None and files.lacks_its_wal(path):
            raise StoreError(
                f"{path} is empty, and what was written is in {path}-wal, which is missing",
                fix="copy both, or use `execaudit db backup`",
            )
        if revision is None:
            raise StoreError(f"{path} is no execaudit history", fix="name another file with --db")
        if revision < REVISION:
            raise StoreError(
                f"{path} has an older schema ({revision})", fix=f"run `execaudit --db {path} db upgrade`"
            )
        if revision > REVISION:
            raise StoreError(
                f"{path} was made by a newer execaudit (schema {revision})", fix="install that version"
            )
        yield connection


@contextlib.contextmanager
def _explained(connection: Connection) -> Iterator[None]:
    """Raises the reason for which a function of ours ended a statement."""
    try:
        yield
    except sqlite3.OperationalError as exc:
        if connection.failure is None:
            raise
        raise connection.failure from exc


@contextlib.contextmanager
def _open(path: Path, *, follow: bool = False) -> Iterator[Connection]:
    _check(path)
    alone = files.is_unshared(path) and not (follow and os.access(path.parent, os.W_OK))
    with _translated(path):
        connection = files.open_to_read(path, Connection, busy_seconds=_BUSY_SECONDS, is_unshared=alone)
    try:
        with _translated(path):
            if alone:
                # The index of the WAL is then in this process's memory, and not in a file.
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            for pragma in _PRAGMAS:
                connection.execute(pragma)
        yield connection
    finally:
        connection.close()
    if alone and not files.is_unshared(path):
        raise StoreError(f"somebody began to write {path} while it was read", fix="ask again")


def _translated(path: Path) -> contextlib.AbstractContextManager[None]:
    return files.translated(f"cannot read {path}", is_ours=False)


def may_lack_its_end(path: Path, connection: sqlite3.Connection) -> bool:
    """Says whether what was written last may be missing, because it is in a WAL that is not there."""
    last = connection.execute("SELECT stopped_ns FROM run ORDER BY id DESC LIMIT 1").fetchone()
    return files.lacks_its_wal(path) and (last is None or last[0] is None)


def _check(path: Path) -> None:
    """SQLite has one message for all of these."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise StoreError(
            f"there is no history at {path}",
            fix="start one with `execaudit record`, or name another with --db",
        ) from exc
    except PermissionError as exc:
        raise StoreError(
            f"you may not look at {path}", fix="run this as root, or name another with --db"
        ) from exc
    except OSError as exc:
        raise StoreError(f"cannot read {path}: {exc.strerror}", fix="name another with --db") from exc
    if not stat.S_ISREG(mode):
        raise StoreError(f"{path} is no file", fix="name the history with --db")
    if not os.access(path, os.R_OK):
        raise StoreError(
            f"you may not read {path}", fix="run this as root, or as a member of the file's group"
        )


def revision_of(path: Path) -> str | None:
    """Returns the revision of a database's schema, or None if it is not a history of ours.

    Raises StoreError when it cannot be opened or read.
    """
    with _open(path) as connection, _translated(path):
        return schema_revision(connection)
