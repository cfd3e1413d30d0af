"""Forward to a real PostgreSQL: each row arrives once, whatever is killed, lost, put back or pruned."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from execaudit.database import files
from execaudit.errors import StoreError
from execaudit.event import ExecEvent, Nanoseconds
from execaudit.fleet.forwarder import Forwarder
from execaudit.fleet.postgresql_target import PostgresTarget
from execaudit.fleet.source import Source
from execaudit.fleet.tables import EXEC, GAP, PRUNED, STREAM
from execaudit.query.connection import open_history
from execaudit.store import prune, prune_plan
from execaudit.store.limits import Limits
from execaudit.store.writer import Run, Store
from tests.events import Batch, events, lineages
from tests.examples import examples
from tests.fleet.centre import Centre, assert_same, central, flat, forwarding, make_central, ship
from tests.fleet.proxies import Proxy
from tests.histories import (
    BOOT_ID,
    HOST,
    at,
    begin_run,
    make_event,
    make_exit,
    make_gap,
    make_history,
    make_hit,
    now_at,
)

if TYPE_CHECKING:
    from tests.fleet.servers import PostgresServer

_KILLS = int(os.environ.get("EXECAUDIT_TEST_KILLS", "6"))


def execs(first: int, last: int) -> list[ExecEvent]:
    """Returns execs of which each has its number as pid, and happens that many seconds after the start."""
    return [make_event(b"a", b"%d" % n, seconds=n, pid=n, tid=n) for n in range(first, last + 1)]


def appended(path: Path, first: int, last: int) -> None:
    """Appends execs to a history, and ends of some that are there."""
    with Store(path) as store:
        begin_run(store)
        found = execs(first, last)
        store.append(found, [make_gap(first, last)])
        store.append((), (), [make_exit(each.key, last + 1) for each in found[::3]])
        store.append_hits([make_hit(last)], last)
        store.end_run(at(last))


def test_all_arrives_and_what_comes_later_too(centre: Centre, tmp_path: Path) -> None:
    """Execs, ends, hits, rules, runs and gaps; again and again it changes nothing."""
    path, state = tmp_path / "x.db", tmp_path / "state"
    appended(path, 1, 250)
    with Store(path) as store:
        store.begin_hunting()
    for last in (250, 251, 600):
        if last > 250:
            appended(path, len(centre.pids()) + 1, last)
        for _ in range(2):
            ship(path, centre.url, state=state)
            assert_same(path, centre)
    (stream,) = centre.table(STREAM)
    assert f'{{"stream": "{stream[1].decode()}", "seq": 600}}\n' == state.read_text()


@examples(15)
@given(lineages({HOST: events(), "db1": events(host="db1")}))
def test_any_history_arrives_as_it_is(shared_centre: Centre, batches: list[Batch]) -> None:
    """Whatever bytes and numbers are in it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.db"
        with Store(path) as store:
            for batch in batches:
                begin_run(store, batch.host)
                store.append(batch.events, (), batch.exits)
        shared_centre.empty()
        ship(path, shared_centre.url, batch=3)
        assert_same(path, shared_centre)


@pytest.fixture(scope="module")
def shared_centre(postgres: PostgresServer) -> Centre:
    """A central database that several examples use, one after the other."""
    return Centre(make_central(postgres.url(postgres.new_database())))


def test_kills_of_the_forwarder_lose_and_double_nothing(centre: Centre, tmp_path: Path) -> None:
    """With SIGKILL at any moment, while a recorder writes."""
    rnd = random.Random(7)
    path, last = tmp_path / "x.db", 0
    for _ in range(_KILLS):
        appended(path, last + 1, last := last + rnd.randint(1, 400))
        child = forwarding(path, centre.url, batch=rnd.choice((1, 7, 50, 400)))
        time.sleep(rnd.uniform(0, 0.4))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    ship(path, centre.url)

    assert_same(path, centre)
    assert [*range(1, last + 1)] == centre.pids()


def test_lost_answers_and_cut_connections_cost_nothing(
    centre: Centre, postgres: PostgresServer, tmp_path: Path
) -> None:
    """After any piece that the client or the server sends: what has arrived does not come twice."""
    path = tmp_path / "x.db"
    appended(path, 1, 60)
    left = 0

    def watch(_is_client: bool, _piece: bytes) -> bool:  # noqa: FBT001  # as Proxy calls it
        nonlocal left
        left -= 1
        return left != 0

    with Proxy(postgres.port, watch=watch).serving() as port:
        url = centre.url.replace(f":{postgres.port}/", f":{port}/")
        for pieces in range(3, 60, max(1, 24 // _KILLS)):
            left = pieces
            with suppress(StoreError):
                ship(path, url, batch=25)
            found = centre.pids()
            assert found == [*range(1, len(found) + 1)]
    ship(path, centre.url)

    assert_same(path, centre)


def test_a_killed_server_has_all_that_it_had_said(own_postgres: PostgresServer, tmp_path: Path) -> None:
    """The forwarder goes on by itself when the server is there again."""
    centre = Centre(make_central(own_postgres.url(own_postgres.new_database())))
    path = tmp_path / "x.db"
    appended(path, 1, 2000)
    child = forwarding(path, centre.url, batch=20)
    try:
        centre.await_execs(100)
        own_postgres.kill()
        appended(path, 2001, 2100)
        own_postgres.start()
        centre.await_execs(2100)
    finally:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
    ship(path, centre.url)

    assert_same(path, centre)


def test_a_server_that_was_put_back_gets_what_it_lacks(own_postgres: PostgresServer, tmp_path: Path) -> None:
    """As after a failover that lost the last second."""
    centre = Centre(make_central(own_postgres.url(own_postgres.new_database())))
    path = tmp_path / "x.db"
    appended(path, 1, 300)
    ship(path, centre.url)
    own_postgres.stop()
    own_postgres.save(tmp_path / "copy")
    own_postgres.start()
    appended(path, 301, 500)
    ship(path, centre.url)
    own_postgres.stop()
    own_postgres.put_back(tmp_path / "copy")
    own_postgres.start()
    appended(path, 501, 510)
    ship(path, centre.url)

    assert_same(path, centre)


def test_a_history_that_was_put_back_replaces_nothing(centre: Centre, tmp_path: Path) -> None:
    """What was shipped stays, what both have comes once, and the same numbers mean other execs now."""
    path, copy = tmp_path / "x.db", tmp_path / "copy.db"
    appended(path, 1, 300)
    ship(path, centre.url)
    shutil.copy(path, copy)
    appended(path, 301, 420)
    ship(path, centre.url)
    shutil.copy(copy, path)
    for first, last in ((1001, 1050), (1051, 1400)):
        appended(path, first, last)
        for _ in range(2):
            ship(path, centre.url)
    assert [*range(1, 421), *range(1001, 1401)] == centre.pids()
    # Once more, and to before what came after the first time.
    shutil.copy(copy, path)
    appended(path, 2001, 2010)
    ship(path, centre.url)

    assert [*range(1, 421), *range(1001, 1401), *range(2001, 2011)] == centre.pids()
    rows = centre.rows(
        'SELECT e."pid", x."duration_ns" / 1000000000 FROM "exit" AS x JOIN "exec" AS e USING ("stream", "seq") ORDER BY 1'
    )
    ended = [(first + n, last + 1 - first - n) for first, last in ((1, 300), (301, 420), (1001, 1050), (1051, 1400), (2001, 2010)) for n in range(0, last - first + 1, 3)]  # fmt: skip
    assert ended == rows
    gaps = [row[3] for row in sorted(centre.table(GAP), key=lambda row: row[1])]
    assert [at(n) for n in (1, 301, 1001, 1051, 2001)] == gaps
    (stream,) = centre.table(STREAM)
    runs = centre.rows(
        'SELECT e."pid", r."started_ns" FROM "exec" AS e JOIN "run" AS r ON r."stream" = e."stream" AND r."id" = e."run"'
    )
    assert len(centre.pids()) == len(runs)
    assert 5 == stream[STREAM.names.index("run_id")]


def test_a_history_that_lost_its_end_goes_on(centre: Centre, tmp_path: Path) -> None:
    """As after a power cut: nothing was recorded since, so far."""
    path, copy = tmp_path / "x.db", tmp_path / "copy.db"
    appended(path, 1, 30)
    shutil.copy(path, copy)
    appended(path, 31, 40)
    ship(path, centre.url)
    shutil.copy(copy, path)
    ship(path, centre.url)
    assert [*range(1, 41)] == centre.pids()
    appended(path, 51, 60)
    ship(path, centre.url)

    assert [*range(1, 41), *range(51, 61)] == centre.pids()


def test_another_history_of_the_host_is_another_stream(centre: Centre, tmp_path: Path) -> None:
    """A database that was deleted and made anew: the same numbers, and nothing is mixed."""
    path = tmp_path / "x.db"
    appended(path, 1, 30)
    ship(path, centre.url)
    path.unlink()
    appended(path, 101, 120)
    ship(path, centre.url)

    assert {*range(1, 31), *range(101, 121)} == {*centre.pids()}
    assert 50 == len(centre.pids())
    assert 2 == len(centre.table(STREAM))


def test_a_copy_on_another_host_is_another_stream(centre: Centre, tmp_path: Path) -> None:
    """Both go on, and each has all that its file has."""
    one, other = tmp_path / "one.db", tmp_path / "other.db"
    appended(one, 1, 30)
    ship(one, centre.url)
    shutil.copy(one, other)
    appended(one, 31, 40)
    with Store(other) as store:
        begin_run(store, "db9")
        store.append([make_event(b"b", seconds=50, pid=50, host="db9")])
    for _ in range(2):
        for path in (one, other):
            ship(path, centre.url)

    found = centre.rows('SELECT "stream", count(*)::int FROM "exec" GROUP BY 1 ORDER BY 2')
    assert [31, 40] == [count for _, count in found]


def pruned(path: Path, keep_seconds: float, now: float) -> None:
    """Deletes what is older at a moment of a later boot: then nothing runs any more."""
    moment = now_at(now, "99999999-2222-4333-8444-555555555555")
    limits = Limits(max_age_ns=Nanoseconds(int(keep_seconds * 1e9)))
    with closing(files.open_to_write(path, busy_seconds=5)) as connection:
        while (wanted := prune_plan.plan(connection, limits, moment)) is not None:
            for _ in prune.prune(connection, wanted, moment):
                pass


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
