"""What SQLite's errors become, with the codes of Python 3.11 and without; and what files a database has."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from execaudit.database import files
from execaudit.errors import DamagedStoreError, FullStoreError, LockedStoreError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with one table."""
    path = tmp_path / "x.db"
    with contextlib.closing(files.open_to_write(path, busy_seconds=0)) as connection:
        connection.execute("CREATE TABLE t (a BLOB)")
        connection.execute("INSERT INTO t VALUES (zeroblob(100000))")
    return path


def fill(path: Path) -> None:
    """Writes more than SQLite's limit."""
    with contextlib.closing(files.open_to_write(path, busy_seconds=0)) as connection:
        connection.execute("PRAGMA max_page_count = 30")
        connection.execute("INSERT INTO t VALUES (zeroblob(1000000))")


def lock(path: Path) -> None:
    """Writes while another connection does."""
    with (
        contextlib.closing(files.open_to_write(path, busy_seconds=0)) as connection,
        contextlib.closing(files.open_to_write(path, busy_seconds=0)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        connection.execute("BEGIN IMMEDIATE")


def cut(path: Path) -> None:
    """Reads a database whose end is missing."""
    path.write_bytes(path.read_bytes()[:20_000])
    with contextlib.closing(files.open_to_write(path, busy_seconds=0)) as connection:
        connection.execute("SELECT a FROM t").fetchall()


def replace(path: Path) -> None:
    """Reads a file of another kind."""
    path.write_bytes(b"text" * 1000)
    with contextlib.closing(files.open_to_write(path, busy_seconds=0)) as connection:
        connection.execute("SELECT a FROM t")


def move(path: Path) -> None:
    """Opens a file in a folder that does not exist."""
    files.open_to_write(path.parent / "no" / path.name, busy_seconds=0)


def write_what_is_read(path: Path) -> None:
    """Writes to a database that was opened to read."""
    with contextlib.closing(
        files.open_to_read(path, sqlite3.Connection, busy_seconds=0, is_unshared=False)
    ) as connection:
        connection.execute("DELETE FROM t")


def run(sql: str) -> Callable[[Path], None]:
    """Returns what runs a statement."""

    def work(path: Path) -> None:
        with contextlib.closing(files.open_to_write(path, busy_seconds=0)) as connection:
            connection.execute(sql)

    return work


@contextlib.contextmanager
def as_in_python_3_10() -> Iterator[None]:
    """Takes the codes off SQLite's errors."""
    try:
        yield
    except sqlite3.Error as exc:
        for name in ("sqlite_errorcode", "sqlite_errorname"):
            if hasattr(exc, name):
                delattr(exc, name)
        raise


FAULTS: dict[Callable[[Path], None], tuple[type[StoreError], str]] = {
    fill: (FullStoreError, "make room on the disk"),
    lock: (LockedStoreError, "another program holds the database; end it, then try again"),
    cut: (DamagedStoreError, "keep a copy, then restore a backup or start a new database"),
    replace: (StoreError, "it is some other file; name the history with --db"),
    move: (StoreError, "does the folder exist, and may you use it? name another file with --db"),
    write_what_is_read: (
        StoreError,
        "you may not write there; run it as root, or name another file with --db",
    ),
}


@pytest.mark.parametrize("has_codes", [True, False])
@pytest.mark.parametrize("is_ours", [True, False])
@pytest.mark.parametrize("work", FAULTS)
def test_what_goes_wrong_with_a_file_has_its_class_and_its_fix(
    path: Path, work: Callable[[Path], None], *, is_ours: bool, has_codes: bool
) -> None:
    """With what was being done first, then what SQLite said."""
    before = contextlib.nullcontext() if has_codes else as_in_python_3_10()

    with pytest.raises(StoreError) as raised, files.translated("cannot do it", is_ours=is_ours), before:
        work(path)

    assert (type(raised.value), raised.value.fix) == FAULTS[work]
    assert raised.value.what == f"cannot do it: {raised.value.__cause__}"


@pytest.mark.parametrize("has_codes", [True, False])
@pytest.mark.parametrize(
    "sql", ["SELECT * FROM full", "SELECT locked FROM t", "INSERT INTO t (malforme) VALUES (1)", "SELEC 1"]
)
def test_a_wrong_statement_is_a_bug_only_where_the_tables_are_ours(
    path: Path, sql: str, *, has_codes: bool
) -> None:
    """In another's file the tables are wrong, not the statement."""
    work, before = run(sql), contextlib.nullcontext if has_codes else as_in_python_3_10

    with pytest.raises(sqlite3.OperationalError), files.translated("cannot do it", is_ours=True), before():
        work(path)
    with (
        pytest.raises(StoreError, match=r"^cannot do it: "),
        files.translated("cannot do it", is_ours=False),
        before(),
    ):
        work(path)


@pytest.mark.parametrize("is_ours", [True, False])
def test_a_broken_constraint_is_a_bug(path: Path, *, is_ours: bool) -> None:
    """It passes unchanged, with its traceback."""
    run("CREATE TABLE u (a CHECK (a > 0))")(path)

    with pytest.raises(sqlite3.IntegrityError), files.translated("cannot do it", is_ours=is_ours):
        run("INSERT INTO u VALUES (0)")(path)


@pytest.mark.parametrize("is_ours", [True, False])
def test_the_errors_of_sqlalchemy_are_looked_into(path: Path, *, is_ours: bool) -> None:
    """It wraps what the driver raised."""
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.pool.NullPool)
    path.write_bytes(b"text" * 1000)

    with (
        pytest.raises(
            StoreError, match=r"^cannot do it: file is not a database: it is some other file"
        ) as raised,
        files.translated("cannot do it", is_ours=is_ours),
        engine.connect() as connection,
    ):
        connection.exec_driver_sql("SELECT a FROM t")

    assert isinstance(raised.value.__cause__, sa.exc.DatabaseError)


def test_the_size_counts_the_wal_of_the_file_itself(path: Path, tmp_path: Path) -> None:
    """Not of a symbolic link to it."""
    link = tmp_path / "link.db"
    link.symlink_to(path)
    with contextlib.closing(files.open_to_write(link, busy_seconds=0)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("DELETE FROM t")
        wal = tmp_path / "x.db-wal"

        assert files.beside(link, "-wal") == wal
        assert files.size_of(link) == path.stat().st_size + wal.stat().st_size
        assert wal.stat().st_size > 0


def test_only_a_wal_database_without_its_wal_lacks_it(path: Path) -> None:
    """A copy of the file alone: what was written last is missing."""
    assert not files.lacks_its_wal(path)
    with contextlib.closing(files.open_to_write(path, busy_seconds=0)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("DELETE FROM t")
        copy = path.with_name("copy.db")
        copy.write_bytes(path.read_bytes())

        assert not files.lacks_its_wal(path)
        assert files.lacks_its_wal(copy)
