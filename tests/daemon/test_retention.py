"""What a recorder keeps when there is too much, when clocks are wrong, and when somebody floods it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from execaudit.cli.run import doctor
from execaudit.config import load
from execaudit.daemon import retention
from execaudit.daemon.backlog import Finished
from execaudit.daemon.budget import Budget
from execaudit.daemon.retention import Retention
from execaudit.database import files
from execaudit.enums import Ended, GapReason, Kind, Truncated
from execaudit.errors import DamagedStoreError
from execaudit.event import End, ExecEvent, Gap, Hole, Nanoseconds
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.store import limits, prune, prune_plan
from execaudit.store.limits import Disk, Limits
from execaudit.store.writer import Run, Store
from tests.commands import execaudit
from tests.histories import (
    BOOT_ID,
    HOST,
    at,
    begin_run,
    make_event,
    make_exit,
    make_history,
    now_at,
    set_clock,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_DAY = 86_400
_HOUR = 3600
_EARLIER_BOOT = "99999999-2222-4333-8444-555555555555"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the history is."""
    return tmp_path / "h.db"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the recorder warns of, in order."""
    words: list[str] = []
    monkeypatch.setattr(retention.log, "warning", lambda word, **_: words.append(word))
    return words


def opened(path: Path) -> closing[sqlite3.Connection]:
    """The database, in autocommit mode."""
    return closing(sqlite3.connect(path, isolation_level=None))


def ended(numbers: Iterable[int], *, text: bytes = b"", step: float = 1, **values: Any) -> list[ExecEvent]:  # noqa: ANN401  # any field
    """Returns the execs of numbers, each its own pid, so many seconds after another."""
    return [make_event(b"%d" % n, text, seconds=n * step, **{"pid": n, **values}) for n in numbers]


def stored(path: Path, events: list[ExecEvent], gaps: Iterable[Gap] = ()) -> None:
    """Adds execs that have all ended."""
    with Store(path) as store:
        begin_run(store)
        store.append(
            events, list(gaps), [make_exit(e.key, 10**6) for e in events if e.kind is not Kind.FAILED]
        )


def pids(path: Path) -> list[int]:
    """Returns the pids in the order of recording."""
    with opened(path) as connection:
        return [row[0] for row in connection.execute("SELECT pid FROM exec ORDER BY id")]


def prunings(path: Path) -> int:
    """Returns how often it was pruned."""
    with opened(path) as connection:
        return int(connection.execute("SELECT count(*) FROM pruned").fetchone()[0])


def pruned(path: Path, wanted: Limits, seconds: float) -> None:
    """Prunes at a moment, as a person does, until nothing more may go."""
    with opened(path) as connection:
        now = now_at(seconds)
        while (plan := prune_plan.plan(connection, wanted, now)) is not None:
            list(prune.prune(connection, plan, now))


def worked(path: Path, wanted: Limits, turns: int = 20) -> Retention:
    """Lets a recorder look so often, each time as if it were time to."""
    with Store(path) as store:
        begin_run(store)
        kept = Retention(path, BOOT_ID, wanted, host=HOST)
        for _ in range(turns):
            kept._next_look = 0
            kept.work(store)
    return kept


def days(number: float) -> Nanoseconds:
    """Returns a length of time."""
    return Nanoseconds(round(number * _DAY * 10**9))


def test_an_exec_of_a_wrong_time_keeps_nothing_else(path: Path) -> None:
    """One of the year 2099, of a boot of which nothing else is known: all others go by their age."""
    with Store(path) as store:
        store.begin_run(Run(boot_id=_EARLIER_BOOT, host=HOST, version="0", started_ns=at(0)))
        wrong = make_event(pid=7777, seconds=2_300_000_000, boot_id=_EARLIER_BOOT)
        store.append(ended(range(1, 51), boot_id=_EARLIER_BOOT))
        store.append([wrong])
        store.append(ended(range(60, 90), boot_id=_EARLIER_BOOT))
    stored(path, ended([100, 101], step=_DAY))
    pruned(path, Limits(max_age_ns=days(30)), 100 * _DAY)

    assert [7777, 100, 101] == pids(path)
    with opened(path) as connection:
        until = connection.execute("SELECT max(ts_to) FROM pruned").fetchone()[0]
    assert until == at(70 * _DAY)
    # For its size it goes like others, and says nothing of how far the history is pruned.
    with opened(path) as connection:
        plan = prune_plan.by_size(connection, 1, 0, now_at(102 * _DAY))
    assert plan is not None
    assert plan.until_ns <= at(102 * _DAY)


def test_a_step_of_the_clock_does_not_make_the_running_boot_old(path: Path) -> None:
    """100 days forward: the boot clock still says how old execs are."""
    stored(path, ended(range(1, 100)))
    wall_ns, boot_ns = now_at(200 + 100 * _DAY).wall_ns, now_at(200).boot_ns
    with opened(path) as connection:
        now = prune_plan.Now(BOOT_ID, wall_ns, boot_ns)
        assert prune_plan.by_age(connection, days(30), now) is None
        assert prune_plan.is_time_doubtful(connection, now)


@pytest.mark.parametrize("back", [False, True])
def test_ages_are_not_acted_on_for_a_day_after_a_step(
    path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str], *, back: bool
) -> None:
    """It is said once; a day later the new time is believed."""
    between = (at(100 * _DAY), at(200 * _DAY))
    stored(path, ended(range(1, 100)), [Gap(HOST, *between, GapReason.CLOCK, 0)])
    now = 100 if back else 200
    stored(path, ended(range(now * 10, now * 10 + 50), step=_DAY / 10))
    wanted = Limits(max_age_ns=days(30))
    set_clock(monkeypatch, (now + 0.5) * _DAY)
    worked(path, wanted)
    assert 149 == len(pids(path))
    assert ["not_pruned"] == said

    set_clock(monkeypatch, (now + 1.5) * _DAY)
    worked(path, wanted)
    assert 50 == len(pids(path))


def test_nearly_all_is_not_deleted_unasked(
    path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    """A recorder that would delete all but what it has just seen says so; a person may."""
    stored(path, ended(range(1, 200)))
    stored(path, ended([1000, 1001], step=_DAY))
    set_clock(monkeypatch, 1001 * _DAY)
    worked(path, Limits(max_age_ns=days(30)))
    assert 201 == len(pids(path))
    assert ["not_pruned"] == said

    pruned(path, Limits(max_age_ns=days(30)), 1001 * _DAY)
    assert [1000, 1001] == pids(path)


def test_nothing_young_goes_for_its_size(
    path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    """What is older goes; then it says once that the limit cannot be kept, and waits until it can."""
    stored(path, ended(range(1, 200)))
    young = [
        event._replace(argv=event.argv + b"%d" % event.pid * 4000 + b"\0")
        for event in ended(range(8000, 8200))
    ]
    stored(path, young)
    set_clock(monkeypatch, 9000)
    wanted = Limits(max_bytes=files.size_of(path) - 200_000)
    worked(path, wanted, turns=60)
    assert list(range(8000, 8200)) == pids(path)
    assert ["limit_not_kept"] == said
    assert 10 >= prunings(path)

    before = prunings(path)
    worked(path, wanted, turns=60)
    assert before == prunings(path)
    set_clock(monkeypatch, 8000 + 2 * _HOUR)
    worked(path, wanted, turns=60)
    assert 0 < len(pids(path)) < 200


def test_far_above_the_limit_the_young_stay_too(
    path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    """Only root can come so far, and what it did in the last hour is kept; later it is deleted."""
    stored(path, [e._replace(argv=b"%d" % e.pid * 4000 + b"\0") for e in ended(range(8000, 8300))])
    set_clock(monkeypatch, 9000)
    worked(path, Limits(max_bytes=limits.LEAST_BYTES), turns=60)
    assert list(range(8000, 8300)) == pids(path)
    assert ["limit_not_kept"] == said

    set_clock(monkeypatch, 8000 + 2 * _HOUR)
    worked(path, Limits(max_bytes=limits.LEAST_BYTES), turns=60)
    assert 0 < len(pids(path)) < 200


def test_a_limit_that_cannot_be_kept_does_not_loop(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """100 KB: less than an empty history has."""
    stored(path, ended(range(1, 300)))
    set_clock(monkeypatch, 1000)
    worked(path, Limits(max_bytes=100_000, min_age_ns=Nanoseconds(0)), turns=50)

    assert 299 == len(pids(path))
    assert 0 == prunings(path)


def chain(count: int, size: int) -> list[ExecEvent]:
    """Returns execs of one process, each of which replaced the one before."""
    events: list[ExecEvent] = []
    for n in range(count):
        argv = b"head%d\0" % n + b"%d," % n * (size // 4) + b"\0tail%d\0" % n
        before = events[-1] if events else None
        events.append(
            make_event(seconds=n, pid=66, uid=65_534)._replace(
                argv=argv, argc=3, argv_bytes=len(argv),
                parent=None if before is None else before.key, replaces=before is not None,
            )
        )  # fmt: skip
    return events


def test_ancestors_stay_without_their_megabytes(path: Path) -> None:
    """A chain of programs in one process that lives stays, its arguments as heads and tails, and is found."""
    events = chain(40, 100_000)
    with Store(path) as store:
        begin_run(store)
        store.append(events)
        while store.index():
            pass
    pruned(path, Limits(max_bytes=1_000_000, min_age_ns=Nanoseconds(0)), 10_000)

    with open_history(path) as connection:
        found = [each.event for each in find.find(connection, Filter())]
        assert [e.key for e in found] == [e.key for e in events]
        shortened = [(before, after) for before, after in zip(events, found, strict=True) if after.truncated]
        assert 20 < len(shortened)
        for before, after in shortened:
            assert (3, len(before.argv), Truncated.LIMIT) == (after.argc, after.argv_bytes, after.truncated)
            [hole] = after.holes
            assert hole == Hole(hole.at, len(before.argv) - len(after.argv))
            assert before.argv.startswith(after.argv[: hole.at])
            assert before.argv.endswith(after.argv[hole.at :])
            assert len(after.argv) <= 4096
        assert 256 == len(found[0].argv)
        [again] = find.find(connection, Filter(args=(b"tail17",)))
        assert again.event.key == events[17].key
    assert files.size_of(path) < 1_000_000


def test_the_writer_goes_on_after_lines_were_shortened(path: Path) -> None:
    """The numbers that it gives to lines are no others'."""
    with Store(path) as store:
        begin_run(store)
        store.append(chain(30, 50_000))
        pruned(path, Limits(max_bytes=500_000, min_age_ns=Nanoseconds(0)), 10_000)
        store.append(ended(range(100, 200)))
    with open_history(path) as connection:
        found = [each.event.argv for each in find.find(connection, Filter())]
    assert found[30:] == [event.argv for event in ended(range(100, 200))]


def test_room_is_given_back_by_the_thousand_pages(path: Path) -> None:
    """Not page by page: each step is a transaction."""
    stored(path, [e._replace(argv=b"%d" % e.pid * 10_000 + b"\0") for e in ended(range(1, 200))])
    with opened(path) as connection:
        now = now_at(10**6)
        plan = prune_plan.by_age(connection, 1, now)
        assert plan is not None
        list(prune.prune(connection, plan, now, shrink=False))
        pages = prune_plan.free_bytes(connection) // 4096
        assert 1000 < pages
        assert len(list(prune.tidy(connection))) <= pages // 1000 + 2
        assert 0 == prune_plan.free_bytes(connection)


def test_a_damaged_database_is_not_a_warning(path: Path) -> None:
    """The recorder ends, and says so."""
    with Store(path) as store:
        begin_run(store)
        kept = Retention(path, BOOT_ID, Limits(max_age_ns=days(1)))

        def refuse(_work: object) -> None:
            raise DamagedStoreError("malformed")

        store.maintain = refuse  # type: ignore[method-assign,assignment]
        with pytest.raises(DamagedStoreError):
            kept.work(store)
        with pytest.raises(DamagedStoreError):
            kept.make_room(store)


def test_room_is_made_in_steps(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The storing thread is not held: each call does one step, and the next one goes on."""
    stored(path, [e._replace(argv=b"%d" % e.pid * 3000 + b"\0") for e in ended(range(1, 3000))])
    set_clock(monkeypatch, 100_000)
    monkeypatch.setattr(retention, "_WORK_SECONDS", 0)
    with Store(path) as store:
        begin_run(store)
        kept = Retention(path, BOOT_ID, Limits())
        assert kept.make_room(store)
        assert kept.is_busy()
        monkeypatch.setattr(retention, "_WORK_SECONDS", 0.01)
        turns = 0
        while kept.is_busy():
            assert kept.make_room(store)
            turns += 1
        assert turns > 1
        # What is free within the database suffices: nothing more is deleted.
        left = len(pids(path))
        for _ in range(20):
            kept.make_room(store)
        assert left - 600 < len(pids(path)) <= left < 2999


@pytest.mark.parametrize(
    ("whole", "most"),
    [(10**13, 4 * 10**9), (20 * 10**9, 2 * 10**9), (400 * 10**6, 64 * 10**6), (60 * 10**6, 30 * 10**6)],
)
def test_the_default_is_a_part_of_the_file_system(whole: int, most: int) -> None:
    """A tenth, at most 4 GB; on a small one enough to be useful."""
    assert most == Disk(whole, whole).default_bytes


def test_limits_are_said(path: Path, tmp_path: Path) -> None:
    """By `db info` and by `doctor`, with where they come from."""
    make_history(path, [make_event()])
    [facts] = execaudit("--db", path, "db", "info", "--format", "json").rows()
    assert (facts["max_size"], facts["max_age"], facts["min_age"]) == (
        limits.disk_of(path).default_bytes, None, "1h",
    )  # fmt: skip
    config = tmp_path / "c.toml"
    config.write_text("[retention]\nmax_size = '300MB'\nmax_age = '30d'\nmin_age = '10min'\n")
    [facts] = execaudit("--config", config, "--db", path, "db", "info", "--format", "json").rows()
    assert (300_000_000, "30d", "10min") == (facts["max_size"], facts["max_age"], facts["min_age"])
    check = doctor._limits(path, load(config))
    assert check.ok
    assert "at most 300.0 MB (configured), at most 30d old; nothing younger than 10min" in check.detail


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
    steady.seconds = 2 * _HOUR
    both = Finished([*batch_of(65_534, 2, 10).events, *batch_of(1000, 9, 10).events], [], [], at(0))
    assert {65_534} == {event.account for event in budget.admit(both, 0.1).events}


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


def test_equal_long_lines_are_stored_once(path: Path) -> None:
    """In a batch, in another, after a restart; and read back exactly."""
    long = [b"%d" % n * 3000 for n in range(4)]
    events = [make_event(long[n % 3], seconds=n, pid=n + 1) for n in range(30)]
    for start in (0, 20):
        with Store(path) as store:
            begin_run(store)
            for batch in range(start, start + 10, 5):
                store.append(events[batch : batch + 5])
    with open_history(path) as connection:
        found = [each.event.argv for each in find.find(connection, Filter())]
    assert [event.argv for event in [*events[:10], *events[20:]]] == found
    with opened(path) as connection:
        assert (3, 3) == connection.execute(
            "SELECT (SELECT count(*) FROM argv), (SELECT count(*) FROM long_argv)"
        ).fetchone()


def test_long_lines_come_again_after_they_were_pruned(path: Path) -> None:
    """Their digests go with them."""
    first, again = make_event(b"x" * 5000, pid=1), make_event(b"x" * 5000, pid=2, seconds=50)
    with Store(path) as store:
        begin_run(store)
        store.append([first], [], [make_exit(first.key, 5)])
        pruned(path, Limits(max_age_ns=Nanoseconds(1)), 20)
        assert [] == pids(path)
        store.append([again])
        store.append([again._replace(pid=3)])
    with open_history(path) as connection:
        assert [again.argv] * 2 == [each.event.argv for each in find.find(connection, Filter())]
    with opened(path) as connection:
        assert (1,) == connection.execute("SELECT count(*) FROM argv WHERE v != x''").fetchone()


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
