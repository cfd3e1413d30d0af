"""What a recorder keeps when there is too much, and when clocks are wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from execaudit.cli.run import doctor
from execaudit.config import load
from execaudit.daemon import retention
from execaudit.daemon.retention import Retention
from execaudit.database import files
from execaudit.enums import GapReason
from execaudit.errors import DamagedStoreError
from execaudit.event import Gap, Nanoseconds
from execaudit.store import limits, prune, prune_plan
from execaudit.store.limits import Disk, Limits
from execaudit.store.sealing import Sealer
from execaudit.store.writer import Run, Store
from tests.commands import execaudit
from tests.daemon.retaining import DAY, HOUR, days, ended, opened, pids, pruned, prunings, stored, worked
from tests.histories import BOOT_ID, HOST, at, begin_run, make_event, make_history, now_at, set_clock

if TYPE_CHECKING:
    from pathlib import Path

_EARLIER_BOOT = "99999999-2222-4333-8444-555555555555"


def test_an_exec_of_a_wrong_time_keeps_nothing_else(path: Path) -> None:
    """One of the year 2099, of a boot of which nothing else is known: all others go by their age."""
    with Store(path) as store:
        store.begin_run(Run(boot_id=_EARLIER_BOOT, host=HOST, version="0", started_ns=at(0)))
        wrong = make_event(pid=7777, seconds=2_300_000_000, boot_id=_EARLIER_BOOT)
        store.append(ended(range(1, 51), boot_id=_EARLIER_BOOT))
        store.append([wrong])
        store.append(ended(range(60, 90), boot_id=_EARLIER_BOOT))
    stored(path, ended([100, 101], step=DAY))
    pruned(path, Limits(max_age_ns=days(30)), 100 * DAY)

    assert [7777, 100, 101] == pids(path)
    with opened(path) as connection:
        until = connection.execute("SELECT max(ts_to) FROM pruned").fetchone()[0]
    assert until == at(70 * DAY)
    # For its size it goes like others, and says nothing of how far the history is pruned.
    with opened(path) as connection:
        plan = prune_plan.by_size(connection, 1, 0, now_at(102 * DAY))
    assert plan is not None
    assert plan.until_ns <= at(102 * DAY)


def test_a_step_of_the_clock_does_not_make_the_running_boot_old(path: Path) -> None:
    """100 days forward: the boot clock still says how old execs are."""
    stored(path, ended(range(1, 100)))
    wall_ns, boot_ns = now_at(200 + 100 * DAY).wall_ns, now_at(200).boot_ns
    with opened(path) as connection:
        now = prune_plan.Now(BOOT_ID, wall_ns, boot_ns)
        assert prune_plan.by_age(connection, days(30), now) is None
        assert prune_plan.is_time_doubtful(connection, now)


@pytest.mark.parametrize("back", [False, True])
def test_ages_are_not_acted_on_for_a_day_after_a_step(
    path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str], *, back: bool
) -> None:
    """It is said once; a day later the new time is believed."""
    between = (at(100 * DAY), at(200 * DAY))
    stored(path, ended(range(1, 100)), [Gap(HOST, *between, GapReason.CLOCK, 0)])
    now = 100 if back else 200
    stored(path, ended(range(now * 10, now * 10 + 50), step=DAY / 10))
    wanted = Limits(max_age_ns=days(30))
    set_clock(monkeypatch, (now + 0.5) * DAY)
    worked(path, wanted)
    assert 149 == len(pids(path))
    assert ["not_pruned"] == said

    set_clock(monkeypatch, (now + 1.5) * DAY)
    worked(path, wanted)
    assert 50 == len(pids(path))


def test_nearly_all_is_not_deleted_unasked(
    path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    """A recorder that would delete all but what it has just seen says so; a person may."""
    stored(path, ended(range(1, 200)))
    stored(path, ended([1000, 1001], step=DAY))
    set_clock(monkeypatch, 1001 * DAY)
    worked(path, Limits(max_age_ns=days(30)))
    assert 201 == len(pids(path))
    assert ["not_pruned"] == said

    pruned(path, Limits(max_age_ns=days(30)), 1001 * DAY)
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
    set_clock(monkeypatch, 8000 + 2 * HOUR)
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

    set_clock(monkeypatch, 8000 + 2 * HOUR)
    worked(path, Limits(max_bytes=limits.LEAST_BYTES), turns=60)
    assert 0 < len(pids(path)) < 200


def test_a_limit_that_cannot_be_kept_does_not_loop(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """100 KB: less than an empty history has."""
    stored(path, ended(range(1, 300)))
    set_clock(monkeypatch, 1000)
    worked(path, Limits(max_bytes=100_000, min_age_ns=Nanoseconds(0)), turns=50)

    assert 299 == len(pids(path))
    assert 0 == prunings(path)


def test_room_is_given_back_by_the_thousand_pages(path: Path) -> None:
    """Not page by page: each step is a transaction."""
    stored(path, [e._replace(argv=b"%d" % e.pid * 10_000 + b"\0") for e in ended(range(1, 200))])
    with opened(path) as connection:
        now = now_at(10**6)
        plan = prune_plan.by_age(connection, 1, now)
        assert plan is not None
        list(prune.prune(connection, plan, now, Sealer(path), shrink=False))
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
