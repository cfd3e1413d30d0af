"""Copy a history into one file, whole and at one moment, beside a recorder that goes on writing."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from execaudit.database import files, writer_lock
from execaudit.errors import ExecauditError, StoreError
from execaudit.query import connection

_PAGES = 4096
_BUSY_SECONDS = 5


def backup(source: Path, target: Path, *, force: bool) -> None:
    """Copies the history at `source` to a new file, or with `force` to one that is there.

    The file appears under its name when it is whole and on the disk. Raises ExecauditError.
    """
    real = Path(os.path.realpath(target))
    _check(source, real, force=force)
    new = real.with_name(f".execaudit-{os.urandom(8).hex()}")
    try:
        # Command lines hold secrets: others do not read them.
        os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))
        try:
            _copy(source, new)
            files.sync(new)
            if force:
                for side in files.SIDES:
                    # Of the database that was there: to the new one they would be damage.
                    files.beside(real, side).unlink(missing_ok=True)
                new.replace(real)
            else:
                os.link(new, real)  # fails if there is one by now
            files.sync(real.parent)
        finally:
            new.unlink(missing_ok=True)
    except FileExistsError as exc:
        raise _exists(target) from exc
    except OSError as exc:
        raise ExecauditError(f"cannot write {target}: {exc.strerror}", fix="name another file") from exc


def _check(source: Path, target: Path, *, force: bool) -> None:
    if target == Path(os.path.realpath(source)):
        raise ExecauditError(f"{target} is the history itself", fix="name another file")
    if target.exists() and not target.is_file():
        raise ExecauditError(f"{target} is no file", fix="name another one")
    if writer_lock.is_held(target):
        raise ExecauditError(f"a recorder writes {target}", fix="name another file")
    if not force and (target.exists() or any(files.beside(target, side).exists() for side in files.SIDES)):
        raise _exists(target)


def _exists(target: Path) -> ExecauditError:
    return ExecauditError(f"{target} is there already", fix="name another file, or replace it with --force")


def _copy(source: Path, new: Path) -> None:
    with (
        connection.open_history(source) as history,
        contextlib.closing(files.open_to_write(new, busy_seconds=_BUSY_SECONDS)) as copy,
    ):
        try:
            # One read, so that it need not begin again whenever the recorder has written.
            history.execute("BEGIN")
            history.execute("SELECT count(*) FROM run")
            history.backup(copy, pages=_PAGES)  # between two steps it can be interrupted
            history.execute("COMMIT")
            # The header's mode is the source's: the copy is to be one file.
            copy.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.OperationalError as exc:
            if files.is_full(exc):
                raise StoreError(
                    f"cannot write {new.parent}: {exc}", fix="make room, or name another disk"
                ) from exc
            raise
