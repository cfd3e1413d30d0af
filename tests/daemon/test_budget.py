"""Whose execs are refused when somebody fills the history faster than it may be pruned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from execaudit.daemon import retention
from execaudit.daemon.backlog import Finished
from execaudit.daemon.budget import HISTORY, JSON_LOG, Budget, Stored
from execaudit.daemon.retention import Retention
from execaudit.database import files
from execaudit.enums import Ended, GapReason, Kind
from execaudit.event import End, ExecEvent, Nanoseconds
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.store import limits
from execaudit.store.limits import Limits
from execaudit.store.writer import Store
from tests.daemon.retaining import HOUR, chain, ended, opened, prunings, stored
from tests.histories import BOOT_ID, HOST, at, begin_run, make_event, make_exit, make_history, set_clock

if TYPE_CHECKING:
    from pathlib import Path


class _Steady:
    """A clock that a test sets."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def batch_of(account: int, count: int, size: int, first: int = 0) -> Finished:
    """Returns a batch of somebody, the ends of its execs among it."""
    events = [
        make_event(b"x" * size, seconds=n, pid=account * 1000 + n, uid=7, account=account)
        for n in range(first, first + count)
    ]
    return Finished(events, [], [make_exit(event.key, 10**6) for event in events], at(0))


def test_the_account_that_took_most_is_refused_first() -> None:
    """At the limit; root never, others as it comes nearer to 125 % of it."""
    steady = _Steady()
    budget = Budget(HOST, monotonic=steady)
    for account, count in ((0, 500), (1000, 100), (65_534, 300)):
        batch = batch_of(account, count, 1000)
        assert batch == budget.admit(batch, None)

    kept = budget.admit(batch_of(65_534, 10, 1000, 500), 0.0)
    assert ([], []) == (list(kept.events), list(kept.exits))
    [gap] = kept.gaps
    assert (GapReason.STORE_FULL, 65_534, 10, 10) == (gap.reason, gap.uid, gap.count, gap.exits)
    assert 10 == len(budget.admit(batch_of(1000, 10, 10, 500), 0.0).events)
    assert 0 == len(budget.admit(batch_of(1000, 10, 10, 600), 0.9).events)
    assert 10 == len(budget.admit(batch_of(0, 10, 10, 600), 1.0).events)
    # Joined with what is refused next: a flood makes few gaps.
    gaps = [gap for _ in range(50) for gap in budget.admit(batch_of(65_534, 10, 10), 0.5).gaps]
    assert [] == gaps
    steady.seconds = 60
    gaps = list(budget.admit(batch_of(0, 1, 1, 900), 0.5).gaps)
    assert {1000: 10, 65_534: 500} == {gap.uid: gap.count for gap in gaps}
    assert [] == budget.take_gaps()
    # An hour later it is as if nothing had been: who wants most now is the one.
    steady.seconds = 2 * HOUR
    both = Finished([*batch_of(65_534, 2, 10).events, *batch_of(1000, 9, 10).events], [], [], at(0))
    assert {65_534} == {event.account for event in budget.admit(both, 0.1).events}


def test_who_takes_most_with_control_characters_is_refused_first_in_the_json_log() -> None:
    """A byte of his takes eleven characters there; hers take two, and she has twice as many."""
    budget = Budget(HOST, JSON_LOG)

    def batch(first: int) -> Finished:
        numbers = range(first, first + 20)
        his = [make_event(b"\x01" * 2000, seconds=n, account=65_534) for n in numbers]
        hers = [make_event(b"x" * 4000, seconds=n, account=1000) for n in numbers]
        return Finished([*his, *hers], [], [], at(first + 100))

    budget.admit(batch(0), None)
    assert {1000} == {event.account for event in budget.admit(batch(100), 0.0).events}


@pytest.mark.parametrize("stored_as", [HISTORY, JSON_LOG])
def test_who_takes_most_with_long_paths_is_refused_first(stored_as: Stored) -> None:
    """He asks for programs that are not there, by paths of 4 KB; she has arguments of 500 bytes."""
    budget = Budget(HOST, stored_as)

    def batch(first: int) -> Finished:
        his = [
            make_event(
                seconds=n, account=65_534, kind=Kind.FAILED, errno=2, filename=b"/%d" % n * 800, cwd=b"/%d" % n * 80
            )
            for n in range(first, first + 20)
        ]  # fmt: skip
        hers = [make_event(b"x" * 500, b"%d" % n, seconds=n, account=1000) for n in range(first, first + 30)]
        return Finished([*his, *hers], [], [], at(first + 100))

    budget.admit(batch(0), None)
    assert {1000} == {event.account for event in budget.admit(batch(100), 0.0).events}


def test_paths_that_many_execs_share_are_charged_once_in_a_batch() -> None:
    """In the history they are stored once; a line of the JSON log has them each time."""
    shared = make_event(filename=b"/" + b"x" * 3999, account=7)
    batch = Finished([shared._replace(pid=n) for n in range(10)], [], [], at(0))
    one = Finished([shared], [], [], at(0))
    once, ten = Budget(HOST).taken_by(one), Budget(HOST).taken_by(batch)
    assert 4000 < once < 4500
    assert once + 9 * HISTORY.exec_bytes + 9 * len(shared.argv) == ten
    assert 10 * Budget(HOST, JSON_LOG).taken_by(one) == Budget(HOST, JSON_LOG).taken_by(batch)


def test_what_was_refused_is_not_finished_before_its_gap() -> None:
    """A recorder may be killed: the gap of the next one begins where all is stored or in a gap."""
    steady = _Steady()
    budget = Budget(HOST, monotonic=steady)
    budget.admit(batch_of(5, 500, 1000), None)

    def seen_after(first: int) -> float:
        batch = batch_of(5, 3, 1000, first)._replace(seen_ns=at(first + 100))
        admitted = budget.admit(batch._replace(exits=[]), 0.0)
        return (admitted.seen_ns - at(0)) / 10**9

    assert [600, 510, 510] == [seen_after(first) for first in (500, 510, 520)]
    steady.seconds = 60
    assert [700, 610] == [seen_after(first) for first in (600, 610)]


def test_ends_of_what_was_refused_are_counted_with_it() -> None:
    """They would be rows as well."""
    budget = Budget(HOST)
    budget.admit(batch_of(5, 1, 100), None)
    batch = batch_of(5, 3, 100, 10)
    first = budget.admit(batch._replace(exits=[]), 0.0)
    later = budget.admit(batch._replace(events=[]), None)
    assert [] == list(later.exits)
    gaps = [*first.gaps, *later.gaps, *budget.take_gaps()]
    assert (3, 3) == (sum(gap.count or 0 for gap in gaps), sum(gap.exits for gap in gaps))


def test_an_exec_that_is_refused_ends_what_it_replaced(path: Path) -> None:
    """Once, in the history; else that row would count as a program that runs."""
    line = chain(6, 100)
    budget = Budget(HOST)
    with Store(path) as store:
        begin_run(store)
        for number, event in enumerate(line):
            batch = Finished([event], [], [], at(0))
            admitted = budget.admit(batch, None if number in {0, 4} else 0.0)
            store.append(admitted.events, [], admitted.exits)
    with open_history(path) as connection:
        found = [each.event for each in find.find(connection, Filter())]
    assert [line[0].key, line[4].key] == [event.key for event in found]
    ends = [End(Ended.REPLACED, duration_ns=10**9), End(Ended.REPLACED, duration_ns=10**9)]
    assert ends == [event.end for event in found]
    with opened(path) as connection:
        assert (0,) == connection.execute("SELECT count(*) FROM stray_exit").fetchone()
    # Of the line, only the last is remembered: its end is to be refused as well.
    assert [line[5].key.boot_ns] == [boot_ns for boot_ns, _ in budget._refused]


def test_the_end_of_a_replaced_exec_that_is_not_there_is_nobodys(path: Path) -> None:
    """It is not stored as the end of an unknown program: the process goes on."""
    lost = make_event(pid=9)
    end = make_exit(lost.key, 5)._replace(status=None)
    make_history(path, [make_event()], (), [end])
    with opened(path) as connection:
        assert (0,) == connection.execute("SELECT count(*) FROM stray_exit").fetchone()


def test_prunings_that_free_nothing_do_not_raise_the_limit(
    path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    """All that is stored must stay, and is old enough for one pruning after the other: he is refused."""
    monkeypatch.setattr("execaudit.system.procfs.start_lookup", lambda: lambda _pid: 0)
    monkeypatch.setattr(retention, "_WORK_SECONDS", 0.001)
    set_clock(monkeypatch, 9000)
    most = 2_500_000

    def flood(turn: int) -> list[ExecEvent]:
        numbers = range(turn * 100, turn * 100 + 100)
        return [
            make_event(b"%d," % n * 100, seconds=n / 10, pid=n + 10, uid=0, account=65_534) for n in numbers
        ]

    with Store(path) as store:
        begin_run(store)
        kept = Retention(path, BOOT_ID, Limits(max_bytes=most, min_age_ns=Nanoseconds(0)), host=HOST)
        kept.work(store)
        for turn in range(42):
            store.append(flood(turn))
        for turn in range(42, 200):
            admitted = kept.admit(Finished(flood(turn), [], [], at(0)))
            store.append(admitted.events, admitted.gaps)
            kept._next_look = 0
            kept.work(store)
    assert most < files.size_of(path) < 1.1 * most
    assert ["limit_not_kept"] == said
    assert prunings(path) > 0


def test_a_smaller_limit_refuses_nobody_while_room_is_made(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person has set it: what is above it is pruned first."""
    monkeypatch.setattr(retention, "_WORK_SECONDS", 0)
    set_clock(monkeypatch, 100_000)
    stored(path, [e._replace(argv=b"%d" % e.pid * 1500 + b"\0") for e in ended(range(1, 1500))])
    with Store(path) as store:
        begin_run(store)
        kept = Retention(path, BOOT_ID, Limits(max_bytes=limits.LEAST_BYTES), host=HOST)
        kept.work(store)
        assert kept.is_busy()
        assert 2 * limits.LEAST_BYTES < files.size_of(path)
        batch = batch_of(1000, 5, 10)
        assert batch == kept.admit(batch)


def test_a_batch_that_would_pass_the_limit_is_refused_before_it_does(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One with megabytes must not take the history far beyond it."""
    set_clock(monkeypatch, 100)
    with Store(path) as store:
        begin_run(store)
        kept = Retention(path, BOOT_ID, Limits(max_bytes=limits.LEAST_BYTES), host=HOST)
        kept.work(store)
        honest, flood = batch_of(1000, 5, 10), batch_of(65_534, 30, 100_000)
        both = Finished([*honest.events, *flood.events], [], [], at(0))
        admitted = kept.admit(both)
        assert honest.events == admitted.events
        assert [(65_534, 30)] == [(gap.uid, gap.count) for gap in admitted.gaps]
        assert honest.events == kept.admit(honest).events
