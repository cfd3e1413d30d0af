"""What a host cannot ship any more, or the centre cannot take, is said there. What was read must be right."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from execaudit.central.tables import EXEC, GAP, PRUNED, STREAM
from execaudit.database import files
from execaudit.errors import StoreError
from execaudit.event import Nanoseconds
from execaudit.forward.forwarder import Forwarder
from execaudit.forward.postgresql_target import PostgresTarget
from execaudit.forward.source import Source
from execaudit.query.connection import open_history
from execaudit.store.writer import Run, Store
from tests.fleet.centre import Centre, central, flat, forwarding, ship
from tests.fleet.recording import appended, execs, pruned
from tests.histories import (
    BOOT_ID,
    HOST,
    at,
    begin_run,
    make_event,
    make_history,
)

if TYPE_CHECKING:
    from pathlib import Path

_KILLS = int(os.environ.get("EXECAUDIT_TEST_KILLS", "6"))


def test_what_was_pruned_after_it_was_shipped_stays_at_the_centre(centre: Centre, tmp_path: Path) -> None:
    """And nothing is missing."""
    path = tmp_path / "x.db"
    appended(path, 1, 100)
    ship(path, centre.url)
    pruned(path, 5, 2000)
    appended(path, 101, 110)
    ship(path, centre.url)

    assert [*range(1, 111)] == centre.pids()
    assert "not_forwarded" not in centre.missing()
    assert 100 == sum(row[6] for row in centre.table(PRUNED))


@pytest.mark.parametrize("more", [True, False])
def test_what_was_pruned_before_it_was_shipped_is_a_gap(
    centre: Centre, tmp_path: Path, *, more: bool
) -> None:
    """With how many, and of which time."""
    path = tmp_path / "x.db"
    make_history(path, execs(1, 10))
    ship(path, centre.url)
    with Store(path) as store:
        begin_run(store)
        store.append(execs(11, 100))
        store.end_run(at(100))
    pruned(path, 5, 2000)
    if more:
        appended(path, 101, 110)
    for _ in range(2):
        ship(path, centre.url)

    assert [*range(1, 11), *range(101, 111)][: 20 if more else 10] == centre.pids()
    assert 90 == centre.missing()["not_forwarded"]
    (gap,) = [row for row in centre.table(GAP) if row[1] < 0]
    assert (at(10), True) == (gap[3], gap[4] >= at(100))


def test_kills_while_it_is_pruned_lose_nothing_without_a_gap(centre: Centre, tmp_path: Path) -> None:
    """What the centre has and what its gaps count are together all that was recorded."""
    rnd = random.Random(11)
    path, last = tmp_path / "x.db", 0
    for _ in range(_KILLS):
        appended(path, last + 1, last := last + rnd.randint(1, 300))
        child = forwarding(path, centre.url, batch=rnd.choice((5, 50)))
        time.sleep(rnd.uniform(0, 0.2))
        pruned(path, 5, 100_000)
        time.sleep(rnd.uniform(0, 0.1))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    ship(path, centre.url)

    found = centre.pids()
    assert sorted(set(found)) == found
    assert last == len(found) + centre.missing().get("not_forwarded", 0)


def test_an_exec_that_makes_no_sense_is_a_gap_and_holds_nothing_up(centre: Centre, tmp_path: Path) -> None:
    """One whose launch is gone, one of a kind that is none, one with a name that is too long for an index."""
    path = tmp_path / "x.db"
    appended(path, 1, 30)
    with Store(path) as store:
        begin_run(store)
        name = bytes(1 + n % 251 for n in random.Random(3).choices(range(255), k=9000))
        store.append([make_event(b"a", seconds=40, pid=40, comm=name), make_event(b"a", seconds=41, pid=41)])
    with closing(files.open_to_write(path, busy_seconds=5)) as connection:
        connection.execute("UPDATE exec SET launch_id = 77 WHERE id = 5")
        connection.execute("UPDATE exec SET kind = 70000 WHERE id = 7")
    ship(path, centre.url)

    assert [*(n for n in range(1, 31) if n not in {5, 7}), 41] == centre.pids()
    assert 3 == centre.missing()["unstorable"]
    assert {-5, -7, -31} == {row[1] for row in centre.table(GAP) if row[1] < 0}


def test_times_of_any_day_arrive(centre: Centre, tmp_path: Path) -> None:
    """A host's clock may say anything: most such execs share the default partition."""
    times = [0, 1, 2**62, at(0), time.time_ns(), time.time_ns() + 86_400_000_000_000]
    path = make_history(tmp_path / "x.db", [make_event(b"a", time_ns=Nanoseconds(ns), boot_ns=Nanoseconds(n)) for n, ns in enumerate(times)])  # fmt: skip
    ship(path, centre.url)

    assert sorted(times) == sorted(row[2] for row in centre.table(EXEC))
    assert 3 == centre.rows('SELECT count(*) FROM "exec_default"')[0][0]
    assert flat(path)["exec"] == centre.table(EXEC)


def test_a_copy_of_a_crashed_history_is_shipped(centre: Centre, tmp_path: Path) -> None:
    """With its WAL, and without a recorder: no file is made beside it, nor kept."""
    path, copy = tmp_path / "x.db", tmp_path / "copy.db"
    with Store(path) as store:
        begin_run(store)
        store.append(execs(1, 20))
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    before = sorted(each.name for each in tmp_path.iterdir())
    ship(copy, centre.url)

    assert [*range(1, 21)] == centre.pids()
    assert before == sorted(each.name for each in tmp_path.iterdir())


def test_what_is_read_while_a_recorder_begins_is_not_shipped(centre: Centre, tmp_path: Path) -> None:
    """Such a history is read without locks, so what was read may be half of something."""
    path = tmp_path / "x.db"
    make_history(path, execs(1, 20))
    target = PostgresTarget(central(centre.url), lambda: None)
    forwarder = Forwarder(target, most=100)
    with open_history(path) as connection, pytest.raises(StoreError, match="somebody began to write"):
        forwarder.ship(Source(connection, lambda: False), time.time_ns())
    target.close()

    assert [] == centre.pids()


def test_what_arrived_is_remembered_for_what_waits(centre: Centre, tmp_path: Path) -> None:
    """After a failure the centre is asked again; until it answers, what arrived does not count as waiting."""
    path = tmp_path / "x.db"
    make_history(path, execs(1, 20))
    target = PostgresTarget(central(centre.url), lambda: None)
    forwarder = Forwarder(target, most=100)
    with open_history(path) as connection:
        while forwarder.ship(source := Source(connection), time.time_ns()) is not None:
            pass
        forwarder.forget()

        assert (0, None) == forwarder.waiting(source)
    appended(path, 21, 23)
    with open_history(path) as connection:
        forwarder.forget()

        assert (3, at(21)) == forwarder.waiting(Source(connection))
    other = tmp_path / "other.db"
    make_history(other, execs(1, 5))
    with open_history(other) as connection:
        assert 5 == forwarder.waiting(Source(connection)).execs
    target.close()


def test_programs_run_as_long_as_their_ends_can_arrive(centre: Centre, tmp_path: Path) -> None:
    """What was recorded before something was pruned unshipped may have ended, and nobody knows."""
    path = tmp_path / "x.db"
    columns = [STREAM.names.index(name) for name in ("live_run", "lost_ns", "continued")]

    def live() -> list[object]:
        (stream,) = centre.table(STREAM)
        return [stream[at] for at in columns]

    with Store(path) as store:
        store.begin_run(Run(boot_id=BOOT_ID, host=HOST, version="0", started_ns=at(0)), (1,))
        store.append(execs(1, 10), (), (), seen_ns=at(10))
        ship(path, centre.url)
        assert [1, 0, b"[1]"] == live()
        store.append(execs(11, 20), (), (), seen_ns=at(20))
        pruned(path, 5, 2000)
        for _ in range(2):
            ship(path, centre.url)
            run, lost_ns, continued = live()
            assert (1, b"[]", True) == (run, continued, at(20) <= lost_ns)  # type: ignore[operator]  # a number
    ship(path, centre.url)

    assert [None, 0, b"[]"] == live()
