"""Open the history for reading, and turn what goes wrong into one line.

SQLite directly, not through SQLAlchemy: importing that alone takes longer than most
questions. A reader never writes, never makes the writer wait, and needs no write access.

A history that nobody has open is read without the files that SQLite makes for sharing a WAL:
so a copy can be read on a read-only file system, and reading leaves nothing beside it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from execaudit.database.revision import REVISION, schema_revision
from execaudit.errors import StoreError, store_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from execaudit.errors import ExecauditError

_BUSY_SECONDS = 5
_PRAGMAS = ("PRAGMA query_only = 1", "PRAGMA cache_size = -65536", "PRAGMA temp_store = MEMORY")
# The database's header has its journal mode in two bytes (https://sqlite.org/fileformat.html#file_format_version_numbers).
_MODE_AT, _WAL_MODE = 18, b"\x02\x02"


class Connection(sqlite3.Connection):
    """SQLite replaces what a function of ours raises by an error of its own, which says nothing."""

    failure: ExecauditError | None = None
    """What the statement was ended for."""


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
def open_history(path: Path, *, follow: bool = False) -> Iterator[sqlite3.Connection]:
    """Opens a database whose schema is this version's, read-only.

    With `follow` what is written later is seen, even if nobody writes now. Raises StoreError, also
    for what goes wrong while it is open.
    """
    with _open(path, follow=follow) as connection, translated(path), _explained(connection):
        revision = schema_revision(connection)
        if revision is None and lacks_its_wal(path):
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
    """Raises what our own functions ended a statement for."""
    try:
        yield
    except sqlite3.OperationalError as exc:
        if connection.failure is None:
            raise
        raise connection.failure from exc


@contextlib.contextmanager
def _open(path: Path, *, follow: bool = False) -> Iterator[Connection]:
    _check(path)
    alone = _is_unshared(path) and not (follow and os.access(path.parent, os.W_OK))
    with translated(path):
        connection = sqlite3.connect(
            f"file:{quote(bytes(path.absolute()))}?{_alone(path) if alone else 'mode=ro'}",
            uri=True,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            factory=Connection,
        )
    try:
        with translated(path):
            if alone:
                # The index of the WAL is then in this process's memory, and not in a file.
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            for pragma in _PRAGMAS:
                connection.execute(pragma)
        yield connection
    finally:
        connection.close()
    if alone and not _is_unshared(path):
        raise StoreError(f"somebody began to write {path} while it was read", fix="ask again")


def _is_unshared(path: Path) -> bool:
    """Says whether a database is in WAL mode and no process has it open: they would share a file."""
    try:
        with path.open("rb") as file:
            header = file.read(_MODE_AT + len(_WAL_MODE))
    except OSError:
        return False
    return header[_MODE_AT:] == _WAL_MODE and not beside(path, "-shm").exists()


def _alone(path: Path) -> str:
    """Returns how to open a database that nobody has open: without locks and without making files."""
    wal = beside(path, "-wal")
    if wal.exists() and wal.stat().st_size:
        return "mode=ro&vfs=unix-none"
    return "mode=ro&immutable=1"


def beside(path: Path, suffix: str) -> Path:
    """Returns a file that SQLite keeps beside a database, whatever links lead there."""
    return Path(os.path.realpath(path) + suffix)


def lacks_its_wal(path: Path) -> bool:
    """Says whether a database was in WAL mode when it was last written, and has no WAL beside it.

    A recorder that stops leaves it in another mode. So it is a copy of the database's file alone, or
    another program closed it.
    """
    return _is_unshared(path) and not beside(path, "-wal").exists()


def may_lack_its_end(path: Path, connection: sqlite3.Connection) -> bool:
    """Says whether what was written last may be missing, because it is in a WAL that is not there."""
    last = connection.execute("SELECT stopped_ns FROM run ORDER BY id DESC LIMIT 1").fetchone()
    return lacks_its_wal(path) and (last is None or last[0] is None)


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
    with _open(path) as connection, translated(path):
        return schema_revision(connection)
