"""Forward to a real PostgreSQL: each row arrives once, whatever is killed, lost, put back or pruned."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from execaudit.central.tables import GAP, STREAM
from execaudit.errors import StoreError
from execaudit.store.writer import Store
from tests.events import Batch, events, lineages
from tests.examples import examples
from tests.fleet.centre import Centre, assert_same, forwarding, make_central, ship
from tests.fleet.proxies import Proxy
from tests.fleet.recording import appended, execs
from tests.histories import (
    HOST,
    at,
    begin_run,
    make_event,
    make_exit,
    make_hit,
)

if TYPE_CHECKING:
    from tests.fleet.servers import PostgresServer

_KILLS = int(os.environ.get("EXECAUDIT_TEST_KILLS", "6"))


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


def test_ends_and_hits_that_come_later_all_arrive(centre: Centre, tmp_path: Path) -> None:
    """In as many batches as they need, when no exec comes with them."""
    path = tmp_path / "x.db"
    found = execs(1, 100)
    with Store(path) as store:
        begin_run(store)
        store.begin_hunting()
        store.append(found, ())
    ship(path, centre.url)
    with Store(path) as store:
        begin_run(store)
        store.append((), (), [make_exit(each.key, 200) for each in found])
        store.append_hits([make_hit(number) for number in range(1, 101)], 100)
    ship(path, centre.url, batch=7)

    assert_same(path, centre)


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


@pytest.mark.long_fleet
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
