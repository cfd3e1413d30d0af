"""The database's files: how they are opened, how large they are, and what SQLite's errors about them mean."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from execaudit.errors import DamagedStoreError, FullStoreError, LockedStoreError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

SIDES = ("-wal", "-shm", "-journal")
"""SQLite keeps files beside the database, with its name and one of these endings."""
# The database's header has its journal mode in two bytes (https://sqlite.org/fileformat.html#file_format_version_numbers).
_MODE_AT, _WAL_MODE = 18, b"\x02\x02"

_BUSY_SECONDS = 10

_Connection = TypeVar("_Connection", bound=sqlite3.Connection)

# SQLite's primary result codes (https://sqlite.org/rescode.html); Python has names for them from 3.11 on.
_ERROR, _BUSY, _LOCKED, _READONLY, _IOERR, _CORRUPT, _FULL, _CANTOPEN, _NOTADB = (
    1,
    5,
    6,
    8,
    10,
    11,
    13,
    14,
    26,
)
_PRIMARY = 0xFF
# A wrong statement. SQLite's code for it is _ERROR, which it uses for some kinds of damage as well.
_MISTAKE = -1
# The code that a part of SQLite's message stands for; the first that fits counts.
_ENGLISH = (
    ("malformed", _CORRUPT),
    ("Could not decode", _CORRUPT),
    ("no such table", _MISTAKE),
    ("no such column", _MISTAKE),
    ("has no column named", _MISTAKE),
    ("syntax error", _MISTAKE),
    ("full", _FULL),
    ("locked", _BUSY),
    ("not a database", _NOTADB),
    ("unable to open", _CANTOPEN),
    ("readonly", _READONLY),
    ("I/O error", _IOERR),
)
_STEPS = {
    _NOTADB: "it is some other file; name the history with --db",
    _CANTOPEN: "does the folder exist, and may you use it? name another file with --db",
    _READONLY: "you may not write there; run it as root, or name another file with --db",
    _IOERR: "look for errors of the disk in the kernel's log (`dmesg`)",
}


def open_to_read(
    path: Path, factory: type[_Connection], *, busy_seconds: float, is_unshared: bool
) -> _Connection:
    """Opens a database read-only, in autocommit mode.

    `is_unshared`: no process has it open. Then SQLite uses no locks and makes no files, so the caller need
    not be allowed to write to the folder.
    """
    how = "mode=ro"
    if is_unshared:
        wal = beside(path, "-wal")
        how += "&vfs=unix-none" if wal.exists() and wal.stat().st_size else "&immutable=1"
    return sqlite3.connect(
        f"file:{quote(bytes(path.absolute()))}?{how}",
        uri=True,
        timeout=busy_seconds,
        isolation_level=None,
        factory=factory,
    )


def open_to_write(path: Path, *, busy_seconds: float, any_thread: bool = False) -> sqlite3.Connection:
    """Opens or makes a database, in autocommit mode.

    `any_thread`: other threads may use it too, but only one at a time.
    """
    return sqlite3.connect(
        path.absolute(),  # then no name is special, not even ":memory:"
        timeout=busy_seconds,
        # Otherwise the driver would begin transactions by itself, but none around DDL.
        isolation_level=None,
        check_same_thread=not any_thread,
    )


def beside(path: Path, suffix: str) -> Path:
    """Returns the path of a file that SQLite keeps beside a database, after following symbolic links."""
    return Path(os.path.realpath(path) + suffix)


def sync(path: Path) -> None:
    """Has a file, or the names in a folder, written to the disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def size_of(path: Path) -> int:
    """Returns how many bytes a database has, its WAL included."""
    files = (beside(path, ""), beside(path, "-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


@contextlib.contextmanager
def opened_beside_recorder(path: Path) -> Iterator[sqlite3.Connection]:
    """Opens a history of this version's schema for writing; a recorder may write at the same time.

    Raises StoreError, also for errors while it is open.
    """
    if not os.access(path, os.W_OK):
        raise StoreError(f"you may not write {path}", fix="run it as root, or as the owner of the file")
    with (
        translated(f"cannot write {path}", is_ours=True),
        contextlib.closing(open_to_write(path, busy_seconds=_BUSY_SECONDS)) as connection,
    ):
        # The recorder does the same. A power cut may undo the last commits. With FULL each commit would wait
        # for the disk, and the recorder would wait for the commit.
        connection.execute("PRAGMA synchronous = NORMAL")
        yield connection


def is_unshared(path: Path) -> bool:
    """Says whether a database is in WAL mode and no process has it open: then the `-shm` file is missing."""
    try:
        with path.open("rb") as file:
            header = file.read(_MODE_AT + len(_WAL_MODE))
    except OSError:
        return False
    return header[_MODE_AT:] == _WAL_MODE and not beside(path, "-shm").exists()


def lacks_its_wal(path: Path) -> bool:
    """Says whether a database was in WAL mode when it was last written, and has no WAL beside it.

    A recorder that stops leaves the database in another mode. So it is a copy without the WAL, or
    another program closed it.
    """
    return is_unshared(path) and not beside(path, "-wal").exists()


@contextlib.contextmanager
def translated(doing: str, *, is_ours: bool) -> Iterator[None]:
    """Turns SQLite's errors into StoreError, also where SQLAlchemy has wrapped them; the cause is kept.

    `is_ours`: the tables are known to be this version's. Then an error about the statement or a value is a
    bug, and is not changed; otherwise the file may be the reason. A damaged file raises DamagedStoreError.
    """
    try:
        yield
    except UnicodeDecodeError as exc:  # SQLite's own message quotes the damaged bytes
        raise damaged(f"{doing}: malformed text") from exc
    except Exception as exc:
        error = getattr(exc, "orig", exc)  # SQLAlchemy wraps the driver's error
        if not isinstance(error, sqlite3.DatabaseError) or _is_bug(error, is_ours=is_ours):
            raise
        raise _store_error(doing, error) from exc


def damaged(what: str) -> DamagedStoreError:
    """Returns the error for a database whose content makes no sense."""
    return DamagedStoreError(what, fix="keep a copy, then restore a backup or start a new database")


def is_full(error: sqlite3.Error) -> bool:
    """Says whether the disk has no room for the database, or the database reached SQLite's limit of size."""
    return _code(error) == _FULL


def _store_error(doing: str, error: sqlite3.DatabaseError) -> StoreError:
    """Returns the error for the user, with the step that helps."""
    what, code = f"{doing}: {error}", _code(error)
    if code == _CORRUPT:
        return damaged(what)
    if code == _FULL:
        return FullStoreError(what, fix="make room on the disk")
    if code in (_BUSY, _LOCKED):
        return LockedStoreError(what, fix="another program holds the database; end it, then try again")
    return StoreError(what, fix=_STEPS.get(code, "see `execaudit doctor`"))


def _is_bug(error: sqlite3.DatabaseError, *, is_ours: bool) -> bool:
    """Says whether a statement or value of this program is wrong, so that another try would fail as well."""
    if isinstance(error, (sqlite3.IntegrityError, sqlite3.ProgrammingError)):
        return True
    return is_ours and (isinstance(error, sqlite3.DataError) or _code(error) == _MISTAKE)


def _code(error: sqlite3.Error) -> int:
    """Returns SQLite's primary result code, or _MISTAKE."""
    code: int = getattr(error, "sqlite_errorcode", _ERROR) & _PRIMARY
    if code != _ERROR:
        return code
    # Python 3.10 has no codes, errors of the driver itself have none, and _ERROR means several things.
    return next((code for words, code in _ENGLISH if words in str(error)), _ERROR)
