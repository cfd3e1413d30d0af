"""When nobody recorded: between the recorders of a history, before the first and after the last."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.enums import GapReason
from execaudit.event import Gap, Nanoseconds
from execaudit.query.connection import open_history
from execaudit.query.recorders import Silence, complete_until, live, overlaps, silences
from execaudit.store.imported import Covered
from execaudit.store.writer import Run, Store
from execaudit.system import clock
from tests.histories import BOOT_ID, HOST, at, begin_run, make_event

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_LATE = at(1_000_000)


def history_of(path: Path, *runs: tuple[float, float | None], host: str = HOST) -> Path:
    """Makes a history of recorders that started and stopped so many seconds after START; None: was killed."""
    with Store(path) as store:
        for start, stop in runs:
            store.begin_run(Run(boot_id=BOOT_ID, host=host, version="0", started_ns=at(start)))
            if stop is not None:
                store.end_run(at(stop))
    return path


def silent(path: Path, *hosts: str, stored: Sequence[Gap] = (), now_ns: int = _LATE) -> list[Silence]:
    """Returns when nobody recorded."""
    with open_history(path) as connection:
        return silences(connection, hosts, stored, now_ns=now_ns)


def stopped(begin: float, end: float) -> Gap:
    """Returns the gap that a recorder stores of the time before it."""
    return Gap(HOST, at(begin), at(end), GapReason.RECORDER_STOPPED, None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a history can be."""
    return tmp_path / "history.db"


def test_before_between_and_after(path: Path) -> None:
    """Each time without a recorder is one silence."""
    assert [
        Silence(HOST, None, at(0)),
        Silence(HOST, at(10), at(20)),
        Silence(HOST, at(30), None),
    ] == silent(history_of(path, (0, 10), (20, 30)))


def test_what_a_gap_says_is_not_said_twice(path: Path) -> None:
    """A stored gap covers a silence, or a part of it; one of another reason does not."""
    history_of(path, (0, 10), (20, 30))
    other = Gap(HOST, at(10), at(20), GapReason.RING_FULL, 3)

    assert 2 == len(silent(path, stored=[stopped(10, 20)]))
    assert 3 == len(silent(path, stored=[other]))
    assert [(at(10), at(12)), (at(15), at(20))] == [
        (silence.from_ns, silence.to_ns) for silence in silent(path, stored=[stopped(12, 15)])[1:-1]
    ]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history of two recorders."""
    return history_of(tmp_path_factory.mktemp("shared") / "history.db", (0, 10), (30, 40))


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=5))
def test_no_moment_is_forgotten(shared: Path, times: list[tuple[int, int]]) -> None:
    """Each moment between two recorders is in a stored gap or in a silence, and in no two silences."""
    stored = [stopped(min(pair), max(pair)) for pair in times if min(pair) < max(pair)]
    between = silent(shared, stored=stored)[1:-1]

    for second in range(40):
        moment = at(second + 0.5)
        found = sum((s.from_ns or 0) <= moment < (s.to_ns or 0) for s in between)
        said = any(gap.from_ns <= moment < gap.to_ns for gap in stored)
        assert found == int(10 < second + 0.5 < 30 and not said)


def test_a_recorder_that_was_killed_is_silent_since_it_wrote(path: Path) -> None:
    """Without an orderly stop, silence begins where all was stored until."""
    with Store(path) as store:
        begin_run(store)
        store.append([make_event(b"a", seconds=3)], seen_ns=at(4))

    assert Silence(HOST, at(4), None) == silent(path)[-1]


def test_clocks_that_are_set_back_make_no_silence(path: Path) -> None:
    """A run that starts before the one before it ended has no silence before it."""
    assert [Silence(HOST, None, at(20)), Silence(HOST, at(30), None)] == silent(
        history_of(path, (20, 30), (0, 10))
    )


def test_hosts_are_apart(path: Path) -> None:
    """Each host has silences of its own; one that nobody recorded has nothing else."""
    history_of(path, (0, 10))
    history_of(path, (5, 50), host="db1")

    assert {HOST, "db1"} == {silence.host for silence in silent(path)}
    assert [Silence("db1", None, at(5)), Silence("db1", at(50), None)] == silent(path, "db1")
    assert [Silence("nowhere", None, None)] == silent(path, "nowhere")
    assert silent(path) == silent(path, "w*", "d*") == silent(path, "*")
    assert silent(path, "db1") == silent(path, "d?1", "d*", "db1")
    assert [Silence("x*", None, None)] == silent(path, "x*")


def test_a_history_that_nobody_wrote(path: Path) -> None:
    """It is silent always, and that is told whatever range is asked for."""
    silence = silent(history_of(path))

    assert [Silence(None, None, None)] == silence
    assert all(overlaps(silence[0], since, until) for since in (None, 5) for until in (None, 6))


def test_who_records_now(path: Path) -> None:
    """While a process holds the lock, the newest run is live, and complete until it last wrote."""
    now = clock.wall_ns()
    with Store(path) as store:
        store.begin_run(Run(boot_id=BOOT_ID, host=HOST, version="0", started_ns=now))
        with open_history(path) as connection:
            assert now == complete_until(connection)
        store.append([make_event(b"a", time_ns=now)], seen_ns=Nanoseconds(now + 10**9))
        with open_history(path) as connection:
            recorder = live(connection)
            assert recorder is not None
            assert (HOST, now + 10**9) == (recorder.host, recorder.seen_ns)
            assert now + 10**9 > (complete_until(connection) or 0) > now
            assert complete_until(connection, ["db1", "d*"]) is None
            assert complete_until(connection) == complete_until(connection, ["d*", "w*"])
            assert [Silence(HOST, None, now)] == silences(connection, (), (), now_ns=now + 10**9)
            # It writes once a minute, whatever happens.
            late = silences(connection, (), (), now_ns=now + 200 * 10**9)
            assert Silence(HOST, Nanoseconds(now + 10**9), None, is_stalled=True) == late[-1]
        store.end_run(Nanoseconds(now + 2 * 10**9))
        with open_history(path) as connection:
            assert live(connection) is None
            assert complete_until(connection) is None


@pytest.mark.parametrize(
    ("silence", "since", "until", "told"),
    [
        ((None, 10), None, None, False),
        ((None, 10), None, 10, True),
        ((None, 10), None, 11, False),
        ((None, 10), 9, None, True),
        ((None, 10), 10, None, False),
        ((20, 30), None, None, True),
        ((20, 30), 29, None, True),
        ((20, 30), 30, None, False),
        ((20, 30), None, 21, True),
        ((20, 30), None, 20, False),
        ((40, None), None, None, True),
        ((40, None), 50, None, True),
        ((40, None), None, 40, False),
        ((40, None), None, 41, True),
    ],
)
def test_in_which_range_a_silence_is_told(
    silence: tuple[int | None, int | None],
    since: int | None,
    until: int | None,
    told: bool,  # noqa: FBT001  # a case, not an option
) -> None:
    """What overlaps the range; the time before the first recorder only to who asks for it."""
    start, end = (None if each is None else Nanoseconds(each) for each in silence)

    assert told == overlaps(Silence(HOST, start, end), since, until)


def test_an_old_history_without_notes(path: Path) -> None:
    """Recorders of the first version noted no more than their start: it is silent since."""
    with Store(path) as store:
        begin_run(store)
        store.append([make_event(b"a", seconds=3)])
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert (None, None) == connection.execute("SELECT stopped_ns, seen_ns FROM run").fetchone()

    assert [Silence(HOST, None, at(-1)), Silence(HOST, at(-1), None)] == silent(path)


def test_an_import_stands_where_its_times_are(path: Path) -> None:
    """However late it was imported; a recorder that starts later does not go on from it."""
    history_of(path, (100, 110))
    with Store(path) as store:
        covered = Covered(BOOT_ID, HOST, at(0), at(50))
        store.append_imported(covered, [make_event(b"a", seconds=10)])
        store.append_imported(covered._replace(until_ns=at(60)), [make_event(b"b", seconds=55)])
        with open_history(path, follow=True) as connection:
            assert live(connection) is None
        assert at(110) == store.recorded_until()
        assert at(110) == store.begin_run(Run(boot_id=BOOT_ID, host=HOST, version="0", started_ns=at(120)))

    assert [(None, at(0)), (at(60), at(100)), (at(110), at(120)), (at(120), None)] == [
        (silence.from_ns, silence.to_ns) for silence in silent(path)
    ]
