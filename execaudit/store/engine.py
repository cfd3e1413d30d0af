"""SQLAlchemy's connection to the database, as the writer needs it."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from execaudit.database import files
from execaudit.database.revision import schema_revision
from execaudit.errors import StoreError

if TYPE_CHECKING:
    import os
    from pathlib import Path

BUSY_SECONDS = 5
_PRAGMAS = (
    # It has an effect before the first table is made: then pruning gives room back to the disk.
    "PRAGMA auto_vacuum = INCREMENTAL",
    # Readers never make the recorder wait, and the reverse.
    "PRAGMA journal_mode = WAL",
    # A commit survives the death of the process; a power cut may cost the last ones.
    "PRAGMA synchronous = NORMAL",
    # 1 MB holds the ends of the tables, where rows are added. 8 and 64 were no faster, over a million rows.
    "PRAGMA cache_size = -1024",
    "PRAGMA temp_store = MEMORY",
    # The WAL shrinks back to this after a long read kept it from being checkpointed.
    "PRAGMA journal_size_limit = 67108864",
)
# Then no commit is lost in a power cut, but each transaction waits for the disk.
_DURABLE = "PRAGMA synchronous = FULL"


class Identity(NamedTuple):
    """What tells a file from another that takes its path."""

    device: int
    inode: int


def identity_of(found: os.stat_result) -> Identity:
    """Returns the identity of a file."""
    return Identity(found.st_dev, found.st_ino)


def is_at(path: Path, expected: Identity) -> bool:
    """Says whether the file with this identity is at the path."""
    try:
        return identity_of(path.stat()) == expected
    except OSError:
        return False


def connect(path: Path, *, durable: bool) -> sa.Connection:
    """Opens the database. Its transactions are begun with the right to write.

    `durable`: a commit survives a power cut as well. Raises StoreError for another program's database.
    """
    engine = sa.create_engine(
        "sqlite://", creator=lambda: _open(path, durable=durable), poolclass=sa.pool.NullPool
    )

    @sa.event.listens_for(engine, "begin")
    def _on_begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine.connect()


def driver_of(connection: sa.Connection) -> sqlite3.Connection:
    """Returns the driver's connection, in SQLAlchemy's transaction if there is one.

    For what is done to many execs, because SQLAlchemy takes 70 000 instructions for a statement; and for what
    is done outside of transactions.
    """
    driver: sqlite3.Connection | None = connection.connection.driver_connection
    if driver is None:
        raise AssertionError("an open connection has a driver's")
    return driver


def disconnect(connection: sa.Connection, path: Path, identity: Identity) -> None:
    """Closes the database so that readers without write access can open it.

    They cannot make the -shm file that WAL mode needs, so the database is left in the rollback mode. SQLite
    refuses that while a reader is there; then its files stay.
    """
    with contextlib.suppress(sqlite3.DatabaseError):
        # If another file took the path, SQLite would remove that file's WAL.
        if is_at(path, identity):
            # SQLAlchemy would begin a transaction around it.
            driver_of(connection).execute("PRAGMA journal_mode = DELETE")
    connection.close()


def _open(path: Path, *, durable: bool) -> sqlite3.Connection:
    # The driver looks for a way to make what SQLite takes of whatever is no number or str; of bytes, too.
    sqlite3.register_adapter(bytes, bytes)
    connection = files.open_to_write(path, busy_seconds=BUSY_SECONDS, any_thread=True)
    try:
        _refuse_others(connection, path)
        for pragma in (*_PRAGMAS, _DURABLE) if durable else _PRAGMAS:
            connection.execute(pragma)
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_others(connection: sqlite3.Connection, path: Path) -> None:
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and schema_revision(connection) is None:
        raise StoreError(
            f"{path} is no execaudit history but another program's", fix="name another file with --db"
        )
