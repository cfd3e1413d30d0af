"""Open the history for reading, and turn what goes wrong into one line.

SQLite directly, not through SQLAlchemy: importing that alone takes longer than most
questions. A reader never writes, never makes the writer wait, and needs no write access.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from typing import TYPE_CHECKING
from urllib.parse import quote

from execaudit.connection import Connection
from execaudit.errors import StoreError, store_error
from execaudit.revision import REVISION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BUSY_SECONDS = 5
_PRAGMAS = ("PRAGMA query_only = 1", "PRAGMA cache_size = -65536", "PRAGMA temp_store = MEMORY")


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into StoreError, cause kept; lets our own mistakes through."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise  # ours to fix: keep the traceback
    except sqlite3.DatabaseError as exc:
        raise store_error(f"cannot read {path}", str(exc)) from exc
    except UnicodeDecodeError as exc:  # of SQLite's own message, which quotes what is damaged
        raise store_error(f"cannot read {path}", "malformed text") from exc


@contextlib.contextmanager
def open_history(path: Path) -> Iterator[sqlite3.Connection]:
    """Opens a database whose schema is this version's, read-only.

    Raises StoreError, also for what goes wrong while it is open.
    """
    with _open(path) as connection, translated(path), _explained(connection):
        revision = schema_revision(connection)
        if revision is None:
            raise StoreError(f"{path} is no execaudit history: name another file with --db")
        if revision < REVISION:
            raise StoreError(
                f"{path} has an older schema ({revision}): run `execaudit --db {path} db upgrade`"
            )
        if revision > REVISION:
            raise StoreError(
                f"{path} was made by a newer execaudit (schema {revision}): install that version"
            )
        yield connection


@contextlib.contextmanager
def _explained(connection: Connection) -> Iterator[None]:
    """Raises what our own functions ended a statement for."""
    try:
        yield
    except sqlite3.OperationalError as exc:
        if connection.failure is None:
            raise
        raise connection.failure from exc


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Connection]:
    _check(path)
    with translated(path):
        connection = sqlite3.connect(
            f"file:{quote(bytes(path.absolute()))}?mode=ro",
            uri=True,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            factory=Connection,
        )
    try:
        with translated(path):
            for pragma in _PRAGMAS:
                connection.execute(pragma)
        yield connection
    finally:
        connection.close()


def _check(path: Path) -> None:
    """SQLite has one message for all of these."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise StoreError(
            f"there is no history at {path}: start one with `execaudit record`, or name another with --db"
        ) from exc
    except PermissionError as exc:
        raise StoreError(f"you may not look at {path}: run this as root, or name another with --db") from exc
    except OSError as exc:
        raise StoreError(f"cannot read {path}: {exc.strerror}: name another with --db") from exc
    if not stat.S_ISREG(mode):
        raise StoreError(f"{path} is no file: name the history with --db")
    if not os.access(path, os.R_OK):
        raise StoreError(f"you may not read {path}: run this as root, or as a member of the file's group")


def schema_revision(connection: sqlite3.Connection) -> str | None:
    """Returns the revision of the schema, or None if it is not a history of ours."""
    # Other programs use Alembic too.
    found = connection.execute(
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('alembic_version', 'exec')"
    )
    if found.fetchone() != (2,):
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


def revision_of(path: Path) -> str | None:
    """Returns the revision of a database's schema, or None if it is not a history of ours.

    Raises StoreError when it cannot be opened or read.
    """
    with _open(path) as connection, translated(path):
        return schema_revision(connection)
