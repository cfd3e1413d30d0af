"""The write side: all of a batch or nothing, and ids once."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from execaudit.event import ExecEvent, Nanoseconds
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.store import inserts
from execaudit.store.writer import Run, Store
from tests.events import events
from tests.examples import examples
from tests.histories import BOOT_ID, SECOND, at, begin_run, make_event, make_exit, make_gap
from tests.store.recording import (
    ENDS,
    POISON,
    REFUSED,
    TABLES,
    execute,
    from_somewhere,
    recording_to,
    rows,
    stored,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Path]]:
    """An open store for properties that only add to it."""
    place = tmp_path_factory.mktemp("shared") / "history.db"
    with Store(place) as opened:
        begin_run(opened)
        yield opened, place


def in_boot_order(batch: list[ExecEvent]) -> list[ExecEvent]:
    """Returns the execs as the store orders those of one batch."""
    return sorted(batch, key=lambda event: event.boot_ns)


batches = st.lists(events(), max_size=5)


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
        with pytest.raises(REFUSED, match="no such table: gap"):
            opened.append([make_event(b"b")], [make_gap(1, 2)])
        execute(path, "ALTER TABLE away RENAME TO gap")
        opened.append([make_event(b"b")], [make_gap(1, 2)])

    assert [make_event(b"a"), make_event(b"b")] == stored(path)
    assert [(1,)] == rows(path, "SELECT count(*) FROM gap")


@pytest.mark.parametrize("table", [*TABLES, "exec", "meta", "seg"])
def test_a_failure_that_lasts_leaves_nothing_behind(path: Path, table: str) -> None:
    """When even the counters cannot be read after a failure, the batch after the mending is right."""
    with recording_to(path) as opened:
        execute(path, f"ALTER TABLE {table} RENAME TO away")
        for _ in range(2):
            with pytest.raises(REFUSED, match=f"no such table: {table}"):
                opened.append([from_somewhere(1)], (), [make_exit(from_somewhere(1).key, 2)])
        execute(path, f"ALTER TABLE away RENAME TO {table}")
        opened.append([from_somewhere(2)], (), [make_exit(from_somewhere(2).key, 3)])

    assert [from_somewhere(2)] == stored(path)
    assert [(1, SECOND, 0, None)] == rows(path, ENDS)


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


def test_a_broken_rule_of_the_schema_keeps_its_traceback(path: Path) -> None:
    """What only a mistake of ours can cause is not made into a user's error."""
    with Store(path) as opened, pytest.raises(sa.exc.IntegrityError):
        opened.append([make_event(b"before any run")])


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
