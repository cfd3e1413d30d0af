"""One writer and any number of readers share the files of a history."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

import pytest

from execaudit.errors import StoreError
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.store.writer import Store
from tests.histories import make_event
from tests.nobody import as_nobody, public_folder
from tests.store.recording import files, recording_to, stored

if TYPE_CHECKING:
    from pathlib import Path


def test_a_second_writer_is_refused(path: Path) -> None:
    """While a store is open, another one says in one line which process has it."""
    with Store(path), pytest.raises(StoreError, match=rf"pid {os.getpid()}\b.*--db$"):
        Store(path)

    Store(path).close()


def test_a_refused_store_leaves_the_first_one_alone(path: Path) -> None:
    """The history goes on after a second writer was refused."""
    with recording_to(path) as opened:
        with pytest.raises(StoreError):
            Store(path)
        opened.append([make_event(b"a")])
        with pytest.raises(StoreError):
            Store(path)

    assert [make_event(b"a")] == stored(path)


def test_a_clean_close_leaves_one_file(path: Path) -> None:
    """After the close everything is in the database file; only the lock's file is beside it."""
    with recording_to(path) as opened:
        opened.append([make_event(b"a")])

    assert {"history.db", "history.db.lock"} == files(path)


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_others_may_not_read_the_history(path: Path, umask: int) -> None:
    """The files of a history are the owner's to write, and the group's at most to read."""
    before = os.umask(umask)
    try:
        with recording_to(path) as opened:
            opened.append([make_event(b"a")])
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)

    names = ("history.db", "history.db-wal", "history.db-shm", "history.db.lock")
    assert {**dict.fromkeys(names, 0o640), "history.db.lock": 0o600} == modes


def test_a_reader_needs_no_write_access() -> None:
    """Who may only read the file can query it, while it is written and after."""
    with public_folder() as folder:
        path = folder / "history.db"
        path.touch(0o644)
        with recording_to(path) as opened:
            opened.append([make_event(b"a")])
            assert [make_event(b"a")] == as_nobody(lambda: stored(path))
            opened.append([make_event(b"b")])
            assert [make_event(b"a"), make_event(b"b")] == as_nobody(lambda: stored(path))

        assert [make_event(b"a"), make_event(b"b")] == as_nobody(lambda: stored(path))


def test_a_reader_does_not_keep_the_store_open() -> None:
    """A store that closes under a reader leaves what that one, and nobody after it, needs."""
    with public_folder() as folder:
        path = folder / "history.db"
        path.touch(0o644)
        with contextlib.ExitStack() as stack:
            with recording_to(path) as opened:
                opened.append([make_event(b"a")])
                connection = stack.enter_context(open_history(path))
                begun = find.find(connection, Filter())
                next(begun)
            assert [make_event(b"a")] == [
                found.event._replace(end=None) for found in find.find(connection, Filter())
            ]
            assert [make_event(b"a")] == as_nobody(lambda: stored(path))

        assert [make_event(b"a")] == as_nobody(lambda: stored(path))
        with recording_to(path) as opened:
            opened.append([make_event(b"b")])
        assert [make_event(b"a"), make_event(b"b")] == as_nobody(lambda: stored(path))
