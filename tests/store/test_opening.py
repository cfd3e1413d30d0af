"""What a store opens: any name and an empty file, but no other program's file."""

from __future__ import annotations

import os
import stat
from functools import partial
from pathlib import Path

import pytest

from execaudit.errors import DamagedStoreError, StoreError
from execaudit.store.writer import Store
from tests.histories import make_event, make_history
from tests.nobody import as_nobody, public_folder
from tests.store.recording import execute, files, rows, stored


def open_and_close(path: Path) -> None:
    """Opens the store, so that what is wrong there shows."""
    Store(path).close()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"what is this? no database at all", "file is not a database: it is some other file; name"),
        (b"SQLite format 3\0" + bytes(2000), "file is not a database: it is some other file; name"),
    ],
)
def test_another_file_is_left_alone(path: Path, content: bytes, message: str) -> None:
    """A file that is no database is neither used nor changed."""
    path.write_bytes(content)

    with pytest.raises(StoreError, match=message):
        Store(path)
    assert content == path.read_bytes()


def test_the_database_of_another_program_is_left_alone(path: Path) -> None:
    """A store does not put its tables into a database that has others, nor change its journal."""
    execute(path, "CREATE TABLE moz_places (id INTEGER PRIMARY KEY)")
    content = path.read_bytes()

    with pytest.raises(StoreError, match=r"is no execaudit history.*--db$"):
        Store(path)
    assert content == path.read_bytes()
    assert {"history.db", "history.db.lock"} == files(path)


def test_the_history_of_a_newer_version_is_left_alone(path: Path) -> None:
    """A store of a schema that this version does not know is refused with the next step."""
    make_history(path, [make_event(b"a")])
    execute(path, "UPDATE alembic_version SET version_num = '9999'")

    for _ in range(2):  # the lock was let go
        with pytest.raises(StoreError, match="install the newer execaudit"):
            Store(path)
    assert [(1,)] == rows(path, "SELECT count(*) FROM exec")
    assert {"history.db", "history.db.lock"} == files(path)


def test_an_empty_file_becomes_a_history(path: Path) -> None:
    """A file of no bytes, as an installer makes it to set its group, is used."""
    path.touch()
    path.chmod(0o660)
    make_history(path, [make_event(b"a")])

    assert [make_event(b"a")] == stored(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_a_damaged_history_is_not_written(path: Path) -> None:
    """A store whose tables cannot be read says that the file is damaged."""
    make_history(path, [make_event(b"a")])
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 3000)

    with pytest.raises(DamagedStoreError, match="keep a copy"):
        Store(path)


@pytest.mark.parametrize(
    "name", ["nowhere/history.db", "file/history.db", "folder", ".", "/", "/proc/history.db"]
)
def test_a_place_that_cannot_be_is_refused(tmp_path: Path, name: str) -> None:
    """Where no file can be made, one line says why and what to do; nothing is left there."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()

    with pytest.raises(StoreError, match=r"^[^\n]*: [^\n]*--db$"):
        Store(tmp_path / name)
    assert {"file", "folder"} == {entry.name for entry in tmp_path.iterdir()}


def test_a_place_that_may_not_be_used_is_refused() -> None:
    """Who may not write there, or not even look, is told so in one line."""
    with public_folder() as folder:
        hidden = folder / "hidden"
        hidden.mkdir(mode=0o700)
        mine = folder / "history.db"
        make_history(mine, [make_event(b"a")])
        (folder / "history.db.lock").chmod(0o666)
        for path in (folder / "new.db", hidden / "deeper" / "history.db", mine):
            with pytest.raises(StoreError, match=r"^[^\n]*Permission denied: [^\n]*--db$"):
                as_nobody(partial(open_and_close, path))


@pytest.mark.parametrize(
    "name",
    ["with space.db", "q?mode=memory", "h#1", "100%25.db", b"\xff\xfe.db", "file:x", "-", "é", ":memory: "],
)
def test_any_file_name_is_taken_as_it_is(tmp_path: Path, name: str | bytes) -> None:
    """Names that mean something to URLs, shells or SQLite are names."""
    path = tmp_path / os.fsdecode(name)
    make_history(path, [make_event(b"a")])

    assert [make_event(b"a")] == stored(path)
    assert {os.fsdecode(name), f"{os.fsdecode(name)}.lock"} == files(path)


def test_a_relative_path_is_the_working_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare name is a file in the working folder."""
    monkeypatch.chdir(tmp_path)
    make_history(Path("history.db"), [make_event(b"a")])

    assert [make_event(b"a")] == stored(tmp_path / "history.db")
