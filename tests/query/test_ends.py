"""How an exec ended: what is still running, and what nobody knows."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from execaudit.enums import Ended, Kind
from execaudit.errors import DamagedStoreError, StoreError
from execaudit.event import End, Gap
from execaudit.output.format import Format
from execaudit.output.pages import texts
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.expression import OneOf
from execaudit.query.filter import Filter
from execaudit.query.local_history import LocalHistory
from execaudit.store.writer import Run, Store
from tests.histories import BOOT_ID, HOST, at, begin_run, make_event, make_exit, make_gap
from tests.nobody import as_nobody, public_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def recording(path: Path, *appended: Any) -> Iterator[sqlite3.Connection]:  # noqa: ANN401  # what append takes
    """Keeps a store open that has stored this, and opens its history."""
    with Store(path) as opened:
        begin_run(opened)
        opened.append(*appended)
        with open_history(path) as connection:
            yield connection


def ends(connection: sqlite3.Connection) -> list[End | None]:
    """Returns how the execs ended."""
    return [each.event.end for each in find.find(connection, Filter())]


def test_what_has_not_ended_is_running(tmp_path: Path) -> None:
    """While it is recorded: an exec without an end runs, a failed one has none."""
    events = [
        make_event(b"a", pid=1, seconds=1),
        make_event(b"b", pid=2, seconds=2, kind=Kind.FAILED, errno=2),
        make_event(b"c", pid=3, seconds=3, kind=Kind.SNAPSHOT),
        make_event(b"d", pid=4, seconds=4),
    ]
    with recording(tmp_path / "h.db", events, (), [make_exit(events[3].key, 5, 256)]) as connection:
        exited = End(Ended.EXITED, code=1, duration_ns=1_000_000_000)
        assert [End(Ended.RUNNING), None, End(Ended.RUNNING), exited] == ends(connection)


def test_what_ended_when_nobody_recorded_is_unknown(tmp_path: Path) -> None:
    """After the recorder's end, orderly or not, nobody knows; nor of a run before the one that goes on."""
    path = tmp_path / "h.db"
    with Store(path) as opened:
        begin_run(opened)
        opened.append([make_event(b"a")])
    with open_history(path) as connection:
        assert [End(Ended.UNKNOWN)] == ends(connection)
    with recording(path, [make_event(b"b", seconds=1)]) as connection:
        assert [End(Ended.UNKNOWN), End(Ended.RUNNING)] == ends(connection)
    with Store(path) as opened:
        begin_run(opened)
        opened.append([make_event(b"c", seconds=2)])
        opened.end_run(at(3))
        with open_history(path) as connection:
            assert [End(Ended.UNKNOWN)] * 3 == ends(connection)


def test_what_went_on_through_a_restart_is_running(tmp_path: Path) -> None:
    """As the second recorder found it, in whatever form it is asked for; not under a third one."""
    path = tmp_path / "h.db"
    run = Run(boot_id=BOOT_ID, host=HOST, version="0", started_ns=at(3))
    with Store(path) as opened:
        begin_run(opened)
        opened.append([make_event(b"a"), make_event(b"b", seconds=1)])
    with Store(path) as opened:
        opened.begin_run(run, [2])
        with open_history(path) as connection:
            assert [End(Ended.UNKNOWN), End(Ended.RUNNING)] == ends(connection)
            for fmt in (Format.CSV, Format.JSONL):
                lines = b"".join(
                    texts(LocalHistory(connection), Filter(), fmt, raw=False, encoding="utf-8")
                ).splitlines()
                assert [False, True] == [b"running" in line for line in lines[-2:]]
            running = find.find(connection, Filter(where=OneOf("ended", (Ended.RUNNING,))))
            assert [2] == [each.number for each in running]
        opened.append([], [make_gap(4, 5, count=0, exits=1)])
        with open_history(path) as connection:
            assert [End(Ended.UNKNOWN)] * 2 == ends(connection)
    with recording(path, []) as connection:
        assert [End(Ended.UNKNOWN)] * 2 == ends(connection)


def test_the_note_of_what_went_on_may_be_damaged(tmp_path: Path) -> None:
    """Then that is said."""
    with recording(tmp_path / "h.db", [make_event(b"a")]) as connection:
        for bad in (b"", b"7", b"[1, 2]", b"[1, [[]]]", b"\xff"):
            with contextlib.closing(sqlite3.connect(tmp_path / "h.db")) as writing, writing:
                writing.execute("UPDATE meta SET value = ? WHERE key = 'continued'", (bad,))
            with pytest.raises(DamagedStoreError, match="what ran before makes no sense"):
                ends(connection)


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        (make_gap(0, 4, count=0, exits=1), Ended.RUNNING),
        (make_gap(0, 5, count=0, exits=1), Ended.RUNNING),
        (make_gap(0, 6, count=0, exits=1), Ended.UNKNOWN),
        (make_gap(6, 7, count=0, exits=1), Ended.UNKNOWN),
        (make_gap(6, 7, count=9, exits=0), Ended.RUNNING),
    ],
)
def test_an_end_that_may_have_been_lost_is_unknown(tmp_path: Path, gap: Gap, expected: Ended) -> None:
    """When ends were missed after an exec, its own may have been among them."""
    with recording(tmp_path / "h.db", [make_event(b"a", seconds=5)], [gap]) as connection:
        assert [End(expected)] == ends(connection)


def test_a_database_elsewhere_is_not_being_recorded(tmp_path: Path) -> None:
    """A copy of a history that goes on stands still."""
    with recording(tmp_path / "h.db", [make_event(b"a")]) as connection:
        assert [End(Ended.RUNNING)] == ends(connection)
        with contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
            connection.backup(copy)
    with open_history(tmp_path / "copy.db") as connection:
        assert [End(Ended.UNKNOWN)] == ends(connection)


def test_a_link_to_a_database_leads_to_its_recorder(tmp_path: Path) -> None:
    """Whether the recorder or the reader was given a link, there is one lock."""
    (tmp_path / "link.db").symlink_to("h.db")
    with recording(tmp_path / "h.db", [make_event(b"a")]), open_history(tmp_path / "link.db") as connection:
        assert [End(Ended.RUNNING)] == ends(connection)
    with recording(tmp_path / "link.db", [make_event(b"b", seconds=1)]):
        with open_history(tmp_path / "h.db") as connection:
            assert End(Ended.RUNNING) == ends(connection)[1]
        with pytest.raises(StoreError, match="another execaudit"):
            Store(tmp_path / "h.db")


def test_who_may_not_write_sees_what_runs() -> None:
    """Neither write permission nor leave to read the lock's file is needed."""
    with public_folder() as folder:
        path = folder / "h.db"
        path.touch(0o644)
        with recording(path, [make_event(b"a")]):
            for mode in (0o644, 0o600):
                (folder / "h.db.lock").chmod(mode)
                assert [End(Ended.RUNNING)] == as_nobody(lambda: ends_of(path))
        assert [End(Ended.UNKNOWN)] == as_nobody(lambda: ends_of(path))


def ends_of(path: Path) -> list[End | None]:
    """Returns how the execs of a history ended."""
    with open_history(path) as connection:
        return ends(connection)
