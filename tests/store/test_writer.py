"""The write side: all of a batch or nothing, ids once, and a file that others can read."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from execaudit.enums import Ended, Gained, Kind
from execaudit.errors import DamagedStoreError, StoreError
from execaudit.event import End, ExecEvent, Nanoseconds
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.find import Filter
from execaudit.store import inserts, interning
from execaudit.store.writer import Run, Store
from tests.events import events
from tests.examples import examples
from tests.histories import BOOT_ID, SECOND, at, begin_run, make_event, make_exit, make_gap, make_history
from tests.nobody import as_nobody, public_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parents[2]
_TABLES = ("comm", "path", "argv", "user", "origin", "launch")
_ENDS = "SELECT id, duration_ns, status, replaced_by FROM exec WHERE duration_ns IS NOT NULL ORDER BY id"
_LATER_ENDS = "SELECT exec_id, duration_ns, status, replaced_by FROM exit ORDER BY exec_id"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a history can be."""
    return tmp_path / "history.db"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Path]]:
    """An open store for properties that only add to it."""
    place = tmp_path_factory.mktemp("shared") / "history.db"
    with Store(place) as opened:
        begin_run(opened)
        yield opened, place


@contextlib.contextmanager
def recording_to(path: Path) -> Iterator[Store]:
    """Opens the store and begins a run."""
    with Store(path) as opened:
        begin_run(opened)
        yield opened


def stored(path: Path, after: int | None = None) -> list[ExecEvent]:
    """Returns the execs of a history, read as a user does, as they were before they ended."""
    with open_history(path) as connection:
        return [found.event._replace(end=None) for found in find.find(connection, Filter(), after=after)]


def open_and_close(path: Path) -> None:
    """Opens the store, so that what is wrong there shows."""
    Store(path).close()


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """Returns what SQLite itself finds."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def execute(path: Path, *statements: str) -> None:
    """Changes the database behind the store's back."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for sql in statements:
            connection.execute(sql)


def in_boot_order(batch: list[ExecEvent]) -> list[ExecEvent]:
    """Returns the execs as the store orders those of one batch."""
    return sorted(batch, key=lambda event: event.boot_ns)


def files(path: Path) -> set[str]:
    """Returns the names of the files in its folder."""
    return {file.name for file in path.parent.iterdir()}


def from_somewhere(seconds: float, **overrides: Any) -> ExecEvent:  # noqa: ANN401  # any field
    """Returns an exec of which everything is known but its parent."""
    facts: dict[str, Any] = {
        "parent_comm": b"bash",
        "auid": 1000,
        "session": 3,
        "login_user": "alice",
        "tty": b"pts/3",
        "cgroup": b"/user.slice",
        "interpreter": b"/bin/sh",
        "inode": 7,
        "device": 8 << 20 | 1,
        "nlink": 1,
        "privileged": Gained.SETUID,
        "root": b"/srv/jail",
        "mnt_ns": 4_026_532_301,
        "traced": 99,
    }
    return make_event(b"a", seconds=seconds, **{**facts, **overrides})


batches = st.lists(events(), max_size=5)
POISON = make_event(b"poison", pid=2**63)
"""An exec that SQLite cannot hold."""


@given(batches)
def test_what_is_stored_is_found_again(shared: tuple[Store, Path], batch: list[ExecEvent]) -> None:
    """Any execs are found as they were, each fact, hole and byte, in the order of the boot clock."""
    opened, path = shared
    with open_history(path) as connection:
        before = find.last_number(connection)

    opened.append(batch)

    assert in_boot_order(batch) == stored(path, after=before)


def test_runs_belong_to_their_hosts_and_boots(path: Path) -> None:
    """Execs of several runs keep the host and the boot of their own."""
    boots = [f"{number}0b22f0-c730-46c7-8272-c5ebd89a5692" for number in range(3)]
    execs = [make_event(b"a", host=f"h{n}", boot_id=boot, seconds=n) for n, boot in enumerate(boots)]
    with Store(path) as opened:
        for event in execs:
            run = Run(boot_id=event.boot_id, host=event.host, version="1", started_ns=event.time_ns)
            opened.begin_run(run)
            opened.append([event])
            opened.end_run(Nanoseconds(event.time_ns + 1))

    assert execs == stored(path)
    assert [(e.host, e.boot_id, "1", e.time_ns, e.time_ns + 1) for e in execs] == rows(
        path, "SELECT host, boot_id, version, started_ns, stopped_ns FROM run ORDER BY id"
    )


def test_a_run_that_did_not_stop_says_so(path: Path) -> None:
    """Only an orderly stop leaves its time."""
    with recording_to(path):
        pass

    assert [(None,)] == rows(path, "SELECT stopped_ns FROM run")


def test_gaps_are_kept(path: Path) -> None:
    """Gaps come back with host, times and counts, also an unknown one, with or without execs."""
    gaps = [make_gap(1, 2, exits=3), make_gap(2, 3, count=None)]
    with recording_to(path) as opened:
        opened.append([], gaps[:1])
        opened.append([make_event(b"a")], gaps[1:])

    with open_history(path) as connection:
        assert gaps == find.gaps(connection, Filter())
    assert [make_event(b"a")] == stored(path)


def test_ids_are_never_used_again(path: Path) -> None:
    """New execs get new numbers, though the newest rows were deleted and the file was reopened."""
    with recording_to(path) as opened:
        opened.append([make_event(b"a")] * 3)
        execute(path, "DELETE FROM exec WHERE id > 1", "DELETE FROM seg")
        opened.append([make_event(b"b")])
    execute(path, "DELETE FROM exec")
    with recording_to(path) as opened:
        opened.append([make_event(b"c")] * 2)

    assert [(5,), (6,)] == rows(path, "SELECT id FROM exec ORDER BY id")


@given(
    st.lists(st.tuples(st.booleans(), st.lists(st.sampled_from((b"a", b"b", b"c")), max_size=3)), max_size=6)
)
def test_a_batch_is_stored_whole_or_not_at_all(
    shared: tuple[Store, Path], plan: list[tuple[bool, list[bytes]]]
) -> None:
    """After a batch that fails in its midst none of it is there, and the next ones are right."""
    opened, path = shared
    with open_history(path) as connection:
        before = find.last_number(connection)
    expected = []
    begin_run(opened)  # so that clocks are new each time

    for number, (fails, words) in enumerate(plan):
        value = b"%d" % number
        batch = [make_event(w, comm=value, exe=w, cwd=value, user=w.decode(), seconds=number) for w in words]
        if fails:
            with pytest.raises(OverflowError):
                opened.append([*batch, POISON])
        else:
            opened.append(batch)
            expected += batch

    assert expected == stored(path, after=before)


def test_a_long_batch_is_stored_whole_or_not_at_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Execs that are inserted in several goes are still one batch."""
    monkeypatch.setattr(inserts, "BATCH_EVENTS", 2)
    with recording_to(path) as opened:
        with pytest.raises(OverflowError):
            opened.append([*[make_event(b"a")] * 4, POISON])
        opened.append([make_event(b"b")] * 5)

    assert [make_event(b"b")] * 5 == stored(path)


def test_a_refused_gap_takes_its_execs_with_it(path: Path) -> None:
    """Execs and gaps of one batch are stored together, so that the batch can be tried again."""
    with recording_to(path) as opened:
        opened.append([make_event(b"a")])
        execute(path, "ALTER TABLE gap RENAME TO away")
        with pytest.raises(sa.exc.OperationalError, match="no such table: gap"):
            opened.append([make_event(b"b")], [make_gap(1, 2)])
        execute(path, "ALTER TABLE away RENAME TO gap")
        opened.append([make_event(b"b")], [make_gap(1, 2)])

    assert [make_event(b"a"), make_event(b"b")] == stored(path)
    assert [(1,)] == rows(path, "SELECT count(*) FROM gap")


@pytest.mark.parametrize("table", [*_TABLES, "exec", "meta", "seg"])
def test_a_failure_that_lasts_leaves_nothing_behind(path: Path, table: str) -> None:
    """When even the counters cannot be read after a failure, the batch after the mending is right."""
    with recording_to(path) as opened:
        execute(path, f"ALTER TABLE {table} RENAME TO away")
        for _ in range(2):
            with pytest.raises(sa.exc.OperationalError, match=f"no such table: {table}"):
                opened.append([from_somewhere(1)], (), [make_exit(from_somewhere(1).key, 2)])
        execute(path, f"ALTER TABLE away RENAME TO {table}")
        opened.append([from_somewhere(2)], (), [make_exit(from_somewhere(2).key, 3)])

    assert [from_somewhere(2)] == stored(path)
    assert [(1, SECOND, 0, None)] == rows(path, _ENDS)


def test_what_is_forgotten_is_stored_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few values the store remembers, every exec keeps its own."""
    monkeypatch.setattr(interning, "_MEGABYTE", 1000)
    monkeypatch.setattr(interning, "_LONGEST_REMEMBERED", 3)
    values = [b"a", b"bb", b"ccc", b"dddd", b"a", b"dddd", b"bb", b"", b"a"]
    execs = [
        make_event(v, comm=v, exe=v, filename=v, user=v.decode(), seconds=n) for n, v in enumerate(values)
    ]
    with recording_to(path) as opened:
        opened.append(execs)
        opened.append(execs)

    assert execs * 2 == stored(path)


def test_equal_values_are_stored_once(path: Path) -> None:
    """Values that the store remembers have one row, whatever their number of execs and batches."""
    with recording_to(path) as opened:
        opened.append([make_event(b"a")] * 3)
        opened.append([make_event(b"a")])

    # filename, exe and cwd differ in make_event
    assert [(1, 3, 1, 1, 0, 1, 1)] == rows(
        path, f"SELECT {', '.join(f'(SELECT count(*) FROM {table})' for table in (*_TABLES, 'clock'))}"
    )


@examples(20)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 50), st.integers(-20, 20)), min_size=1, max_size=6), max_size=6
    ),
    st.sets(st.integers(0, 5)),
)
def test_segments_cover_all_execs(
    tmp_path_factory: pytest.TempPathFactory, plan: list[list[tuple[int, int]]], reopened: set[int]
) -> None:
    """Each id is in one segment, and each segment knows its first and last time, whatever clocks did."""
    path = tmp_path_factory.mktemp("segments") / "history.db"
    with pytest.MonkeyPatch.context() as patched, contextlib.ExitStack() as stack:
        patched.setattr(inserts, "BATCH_EVENTS", 4)
        opened = stack.enter_context(recording_to(path))
        for number, clocks in enumerate(plan):
            if number in reopened:
                stack.close()
                opened = stack.enter_context(recording_to(path))
            opened.append(
                [make_event(time_ns=Nanoseconds(1000 + boot + step), boot_ns=boot) for boot, step in clocks]
            )

    total = sum(map(len, plan))
    segments = rows(path, "SELECT id_lo, id_hi, ts_min, ts_max FROM seg ORDER BY id_lo")
    ids = [number for lo, hi, _, _ in segments for number in range(lo, hi + 1)]
    assert list(range(1, total + 1)) == ids
    assert segments == rows(
        path,
        "SELECT id_lo, id_hi, min(ts), max(ts) FROM seg JOIN exec ON exec.id BETWEEN id_lo AND id_hi"
        " GROUP BY id_lo ORDER BY id_lo",
    )
    assert len(segments) <= 1 + total / 4


def test_where_execs_come_from_is_stored_once(path: Path) -> None:
    """Origins and launches that the store remembers have one row; those of which nothing is known none."""
    nothing = dict.fromkeys(("uid", "euid", "gid", "user", "comm", "filename", "exe", "cwd"))
    unknown = make_event(b"a", seconds=6, **nothing)
    with recording_to(path) as opened:
        opened.append([from_somewhere(n) for n in range(3)])
        opened.append([from_somewhere(4, tty=None), from_somewhere(5, nlink=0), unknown])

    assert [(2, 2)] == rows(path, "SELECT (SELECT count(*) FROM origin), (SELECT count(*) FROM launch)")
    assert [(None, None)] == rows(path, "SELECT origin_id, launch_id FROM exec WHERE id = 6")
    assert unknown == stored(path)[-1]


@pytest.mark.parametrize("length", [1, 300])
def test_what_is_remembered_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    """However much is stored, the store holds some values of each kind, and the latest; fewer if long."""
    monkeypatch.setattr(interning, "_MEGABYTE", 40_000)
    with recording_to(path) as opened:
        for start in range(0, 2000, 20):
            values = [b"%d" % number * length for number in range(start, start + 20)]
            opened.append(
                from_somewhere(n, comm=v, exe=v, user=v.decode(), argv=v + b"\0", tty=v, inode=n, pid=n)
                for n, v in enumerate(values, start)
            )
            # Of those that are asked for again, too.
            opened.append(from_somewhere(n, argv=b"%d" % n * length + b"\0") for n in range(5))
        known = opened._inserts
        for each in (*known._tables, known._execs):
            values = [*each.known, *each._older]
            texts = sum(map(len, values)) if isinstance(each, interning.Texts) else 0
            held = len(values) * each._entry_bytes + texts
            # A generation is full after the batch that fills it: two halves, and a batch for each.
            assert held <= each._most_bytes + 2 * 21 * (each._entry_bytes + 5 * 4 * length)
            assert held >= each._most_bytes / 4 or len(values) >= 20


def child_of(parent: ExecEvent, seconds: float, **overrides: Any) -> ExecEvent:  # noqa: ANN401  # any field
    """Returns an exec that another one led to, of a process with the seconds as its pid."""
    return make_event(b"child", seconds=seconds, **{"pid": int(seconds), "parent": parent.key, **overrides})


def parents(path: Path) -> list[tuple[Any, ...]]:
    """Returns each exec's row number and its parent's."""
    return rows(path, "SELECT id, parent_id FROM exec ORDER BY id")


def test_a_parent_is_found_in_its_batch_and_in_earlier_ones(path: Path) -> None:
    """Parents stand before their children, in whatever order they come, and whatever the clock did."""
    first = make_event(b"a", seconds=1)
    stepped = make_event(b"b", seconds=2, parent=first.key, pid=2)
    stepped = stepped._replace(time_ns=Nanoseconds(first.time_ns - 500 * SECOND))
    with recording_to(path) as opened:
        opened.append([child_of(stepped, 3), stepped, first])
        opened.append([child_of(stepped, 5), child_of(first, 4)])

    assert [(1, None), (2, 1), (3, 2), (4, 1), (5, 2)] == parents(path)


def test_what_ran_at_the_beginning_keeps_its_order(path: Path) -> None:
    """Snapshot rows have the same time, and each stands after its parent's when they come."""
    init = make_event(b"init", seconds=1, pid=1, kind=Kind.SNAPSHOT)
    shells = [child_of(init, 1, pid=pid, kind=Kind.SNAPSHOT) for pid in (9, 5, 7)]
    with recording_to(path) as opened:
        opened.append([child_of(shells[1], 3), init, *shells])

    assert [(1, None), (2, 1), (3, 1), (4, 1), (5, 3)] == parents(path)


def test_a_forgotten_parent_is_looked_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The history knows what the store forgot, of earlier recorders of this boot too; not of another."""
    monkeypatch.setattr(interning, "_MEGABYTE", 1000)
    other_boot = "99999999-2222-4333-8444-555555555555"
    with Store(path) as opened:
        opened.begin_run(Run(boot_id=other_boot, host="web1", version="0", started_ns=at(0)))
        opened.append([make_event(b"other", seconds=1, boot_id=other_boot)])
    with recording_to(path) as opened:
        opened.append([make_event(b"a", seconds=1)])
    with recording_to(path) as opened:
        opened.append([make_event(b"b", seconds=2 + n, pid=n) for n in range(9)])
        opened.append([child_of(make_event(b"a", seconds=1), 20)])
        opened.append([child_of(make_event(b"b", seconds=2, pid=0), 21)])
        opened.append([child_of(make_event(b"b", seconds=2, pid=1), 22)])

    assert [(12, 2), (13, 3), (14, None)] == parents(path)[-3:]


def test_a_failed_exec_is_no_parent(path: Path) -> None:
    """Nothing ran: what has the same key, as one of a thread has, is not found for a parent."""
    failed = make_event(b"a", seconds=1, kind=Kind.FAILED, errno=2)
    for _ in range(2):
        with recording_to(path) as opened:
            opened.append([failed, child_of(failed, 2)])
        failed = failed._replace(argv=b"b\0")

    assert [(1, None), (2, None), (3, None), (4, None)] == parents(path)


def test_a_parent_that_is_not_there_is_unknown(path: Path) -> None:
    """A lost parent leaves its children without one; when it comes late, the next ones have it."""
    lost = make_event(b"lost", seconds=1)
    with recording_to(path) as opened:
        opened.append([child_of(lost, 2), child_of(lost, 3, replaces=True)])
        opened.append([lost])
        opened.append([child_of(lost, 4)])

    assert [(1, None), (2, None), (3, None), (4, 3)] == parents(path)
    assert [] == rows(path, "SELECT * FROM exit")


def test_a_parent_that_was_not_stored_is_not_remembered(path: Path) -> None:
    """What a failed batch would have been is nobody's parent, and its number somebody else's."""
    with recording_to(path) as opened:
        with pytest.raises(OverflowError):
            opened.append([make_event(b"a", seconds=1), POISON])
        opened.append([make_event(b"b", seconds=2), child_of(make_event(b"a", seconds=1), 3)])

    assert [(1, None), (2, None)] == parents(path)


def test_ends_are_stored_with_their_execs(path: Path) -> None:
    """An end is found in its exec's batch, in a later one, and by a later recorder of the boot."""
    execs = [make_event(b"%d" % n, seconds=n, pid=n) for n in range(1, 5)]
    with recording_to(path) as opened:
        opened.append(execs, (), [make_exit(execs[0].key, 5.5, 256)])
        opened.append([], (), [make_exit(execs[1].key, 6, 9)])
    with recording_to(path) as opened:
        opened.append([], (), [make_exit(execs[2].key, 7, 139)])

    assert [(1, 4_500_000_000, 256, None)] == rows(path, _ENDS)
    assert [(2, 4 * SECOND, 9, None), (3, 4 * SECOND, 139, None)] == rows(path, _LATER_ENDS)
    with open_history(path) as connection:
        ends = [found.event.end for found in find.find(connection, Filter())]
    assert [
        End(Ended.EXITED, code=1, duration_ns=4_500_000_000),
        End(Ended.SIGNALED, signal=9, duration_ns=4 * SECOND),
        End(Ended.SIGNALED, signal=11, duration_ns=4 * SECOND),
        End(Ended.UNKNOWN),
    ] == ends


def test_being_replaced_is_an_end(path: Path) -> None:
    """The next exec of a process ends the one before, also one of an earlier batch; a fork's does not."""
    first = make_event(b"a", seconds=1)
    second = child_of(first, 2, replaces=True)
    with recording_to(path) as opened:
        opened.append([first, second])
        opened.append([child_of(second, 5, replaces=True)])
        opened.append([child_of(second, 6)])

    assert [(1, SECOND, None, 2)] == rows(path, _ENDS)
    assert [(2, 3 * SECOND, None, 3)] == rows(path, _LATER_ENDS)
    with open_history(path) as connection:
        found = [found.event for found in find.find(connection, Filter())]
    assert [found[1].key, found[2].key] == [event.end and event.end.replaced_by for event in found[:2]]
    assert [False, True, True, False] == [event.replaces for event in found]


def test_a_second_end_is_ignored(path: Path) -> None:
    """The first one holds, and the batch is stored all the same."""
    event = make_event(b"a", seconds=1)
    with recording_to(path) as opened:
        opened.append([event], (), [make_exit(event.key, 2, 0), make_exit(event.key, 3, 9)])
        opened.append([make_event(b"b", seconds=4)], (), [make_exit(event.key, 5, 9)])

    with open_history(path) as connection:
        ended, running = find.find(connection, Filter())
    assert End(Ended.EXITED, code=0, duration_ns=SECOND) == ended.event.end
    assert End(Ended.UNKNOWN) == running.event.end


def test_the_end_of_a_lost_exec_is_kept_apart(path: Path) -> None:
    """What ended, when, and after how long is known, though not what it was; a failed exec cannot end."""
    lost, failed = make_event(b"lost", seconds=1, pid=7), make_event(b"a", seconds=2, kind=Kind.FAILED)
    with recording_to(path) as opened:
        opened.append([failed], (), [make_exit(lost.key, 3.5, 9), make_exit(failed.key, 4)])

    assert [(at(3.5), 7, 2_500_000_000, 9), (at(4), 4242, 2 * SECOND, 0)] == rows(
        path, "SELECT ts, pid, duration_ns, status FROM stray_exit ORDER BY id"
    )
    assert [] == rows(path, "SELECT * FROM exit")


def test_a_refused_end_takes_its_execs_with_it(path: Path) -> None:
    """Execs and ends are stored together, so that they can be tried again together."""
    event, more = make_event(b"a", seconds=1), make_exit(make_event(b"lost").key, 3)
    with recording_to(path) as opened:
        execute(path, "ALTER TABLE stray_exit RENAME TO away")
        with pytest.raises(sa.exc.OperationalError, match="no such table: stray_exit"):
            opened.append([event], (), [make_exit(event.key, 2), more])
        assert [] == stored(path)
        execute(path, "ALTER TABLE away RENAME TO stray_exit")
        opened.append([event], (), [make_exit(event.key, 2), more])

    assert [event] == stored(path)
    assert [(1, SECOND, 0, None)] == rows(path, _ENDS)
    assert [(1,)] == rows(path, "SELECT count(*) FROM stray_exit")


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


_WRITER = """
import sys
from functools import partial
from pathlib import Path
from execaudit.store.writer import Store
from tests.histories import begin_run, make_event
opened = Store(Path(sys.argv[1]))
begin_run(opened)
number = 0
while True:
    opened.append([make_event(b"%d" % number, b"%d" % n, seconds=number) for n in range(50)])
    number += 1
    print(number, flush=True)
"""


def test_a_killed_writer_loses_nothing_it_acknowledged(path: Path) -> None:
    """After kill -9 the execs of all finished batches are there, no batch in part, and writing goes on."""
    found = 0
    for wanted in (1, 40):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, path], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            acknowledged = [int(writer.stdout.readline()) for _ in range(wanted)]
            writer.send_signal(signal.SIGKILL)
            acknowledged += map(int, writer.stdout.read().split())
        (execs,) = rows(path, "SELECT count(*), count(DISTINCT argv_id) FROM exec")

        assert -signal.SIGKILL == writer.returncode
        assert execs[0] - found in {50 * acknowledged[-1], 50 * acknowledged[-1] + 50}
        found = execs[0]

    with recording_to(path) as opened:
        opened.append([make_event(b"z")])
    assert make_event(b"z") == stored(path)[-1]
    assert [("ok",)] == rows(path, "PRAGMA integrity_check")


_FILLER = """
import sys
from functools import partial
from pathlib import Path
from execaudit.query import connection, find
from execaudit.query.filter import Filter
from execaudit.errors import StoreError
from execaudit.store.writer import Store
from tests.histories import begin_run, make_event
path = Path(sys.argv[1]) / "history.db"
spare = path.with_name("spare")
spare.write_bytes(bytes(300_000))
def count():
    with connection.open_history(path) as history:
        return find.count(history, Filter())
with Store(path) as opened:
    begin_run(opened)
    stored = 0
    try:
        while True:
            batch = [make_event(b"%d" % (stored + n), bytes([65 + n]) * 1000) for n in range(20)]
            opened.append(batch)
            stored += 20
    except StoreError as exc:
        print(type(exc).__name__, exc)
    print(stored, count())
    spare.unlink()
    opened.append(batch)
    print(stored + 20, count())
"""


def test_a_full_disk_is_said_in_one_line_and_costs_nothing_stored(tmp_path: Path) -> None:
    """When no room is left, committed execs stay, and the same batch is stored once there is some."""
    script = 'mount -t tmpfs -o size=2m none "$1" && exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", tmp_path, sys.executable, _FILLER],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    error, full, *more = done.stdout.splitlines()

    assert not done.stderr
    assert error == (
        f"FullStoreError cannot write {tmp_path}/history.db: database or disk is full: make room on the disk"
    )
    assert int(full.split()[0]) > 100
    assert {1} == {len(set(line.split())) for line in (full, *more)}


def test_a_broken_rule_of_the_schema_keeps_its_traceback(path: Path) -> None:
    """What only a mistake of ours can cause is not made into a user's error."""
    with Store(path) as opened, pytest.raises(sa.exc.IntegrityError):
        opened.append([make_event(b"before any run")])


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


def test_a_run_knows_until_when_the_last_one_recorded(tmp_path: Path) -> None:
    """Its stop, or what it has stored last, or its start; of the same boot alone."""
    path = tmp_path / "x.db"
    boots = [BOOT_ID, BOOT_ID, BOOT_ID, BOOT_ID, BOOT_ID.replace("1", "2")]
    runs = [
        Run(boot_id=boot, host="web1", version="0", started_ns=at(10 * n)) for n, boot in enumerate(boots)
    ]
    with Store(path) as opened:
        assert opened.begin_run(runs[0]) is None
        assert at(0) == opened.begin_run(runs[1])
        opened.append([make_event(b"a")], seen_ns=at(11))
        opened.append([], seen_ns=at(12))
        assert at(12) == opened.begin_run(runs[2])
        opened.append([], seen_ns=at(21))
        opened.end_run(at(22))
    with Store(path) as opened:
        assert at(22) == opened.begin_run(runs[3])
        assert opened.begin_run(runs[4]) is None


def test_what_is_forgotten_is_found_again_by_its_number(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that comes again long after it was forgotten has its row again, and never another."""
    monkeypatch.setattr(interning, "_MEGABYTE", 100)
    monkeypatch.setattr(interning, "_TAG", 0)  # each is compared with what stands in its place
    with recording_to(path) as opened:
        for _ in range(3):
            for n in range(60):
                opened.append([from_somewhere(n, argv=b"%d\0" % n, tty=b"%d" % n, inode=n, cwd=b"/%d" % n)])
    found = rows(path, "SELECT v, count(*) FROM argv GROUP BY v")
    assert len(found) == 60
    assert max(count for _, count in found) == 1
    assert [(60, 60)] == rows(path, "SELECT (SELECT count(*) FROM origin), (SELECT count(*) FROM launch)")
    assert [event.argv for event in stored(path)] == [b"%d\0" % n for _ in range(3) for n in range(60)]
