"""What is shipped into ClickHouse is there exactly once, whatever ends in between."""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from execaudit.central import clickhouse, clickhouse_admin
from execaudit.central.tables import EXEC, PROGRAM
from execaudit.database.url import Central, location_of
from execaudit.errors import StoreError
from execaudit.forward.clickhouse_target import ClickHouseTarget
from execaudit.forward.target import MovedError, RefusedError
from tests.fleet.clickhouse_servers import CLUSTER, USERS, OldClickHouse
from tests.fleet.proxies import Proxy
from tests.fleet.servers import running
from tests.fleet.shipping import NUMBERED, Rows, made, shipped, sorted_rows

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fleet.clickhouse_servers import ClickHouse, Shards


def central(url: str) -> Central:
    """Returns what a URL of --db names."""
    location = location_of(url)
    assert isinstance(location, Central)
    return location


def target_of(url: str, password: str | None = None) -> ClickHouseTarget:
    """Returns what ships into a database."""
    return ClickHouseTarget(central(url), lambda: password)


def assert_same(server: ClickHouse, database: str, *hosts: Rows) -> None:
    """Asserts that the rows of these hosts are there, each once, and no others."""
    for table in NUMBERED:
        columns = ", ".join(f"`{name}`" for name in table.names)
        expected = sorted_rows([row for host in hosts for row in host.tables[table]])
        # Of execs and hits there is no row too many for a moment either.
        final = "" if table.name in {"exec", "exit", "hit"} else "FINAL"
        there = server.execute(f"SELECT {columns} FROM `{table.name}` {final}", database=database)
        assert expected == sorted_rows(there), table.name


@pytest.fixture
def central_database(clickhouse_database: str) -> str:
    """Returns the URL of a database with empty tables."""
    clickhouse_admin.upgrade(central(clickhouse_database), None, None, None)
    return clickhouse_database


def test_what_is_shipped_is_there(clickhouse: ClickHouse, central_database: str) -> None:
    """All tables, all columns, of two hosts; and nothing is shipped again."""
    hosts = [made(1500), made(300, place=1)]
    for each in hosts:
        assert 1 == shipped(target_of(central_database), each, 400)
        assert 1 == shipped(target_of(central_database), each, 400)

    assert_same(clickhouse, central(central_database).database or "", *hosts)


def test_a_connection_may_be_closed_between_batches(clickhouse: ClickHouse, central_database: str) -> None:
    """What has arrived is not asked anew."""
    rows, target, before = made(100), target_of(central_database), None
    while (batch := rows.batch(before, 40)) is not None:
        target.send(batch)
        target.rest()
        before = batch.stream.cursors
    target.close()

    assert_same(clickhouse, central(central_database).database or "", rows)


def test_programs_have_the_time_when_they_were_first_seen(
    clickhouse: ClickHouse, central_database: str
) -> None:
    """The least, also when the same come again."""
    host = made(2000)
    at, exe = EXEC.names.index("ts"), EXEC.names.index("exe")
    first: dict[bytes, int] = {}
    for row in host.tables[EXEC]:
        first[row[exe]] = min(row[at], first.get(row[exe], row[at]))
    shipped(target_of(central_database), host, 300)
    name = central(central_database).database or ""
    columns = ", ".join(PROGRAM.names)
    clickhouse.execute("OPTIMIZE TABLE program FINAL", database=name)

    assert sorted((path, host.number, ts) for path, ts in first.items()) == sorted(
        clickhouse.execute(f"SELECT {columns} FROM program FINAL", database=name)
    )


@pytest.mark.long_fleet
@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.long_fleet) for n in (1, 2))])
def test_a_connection_that_breaks_anywhere_loses_and_doubles_nothing(
    clickhouse: ClickHouse, central_database: str, seed: int
) -> None:
    """In a block, before the server's answer, and in the middle of it."""
    chance = random.Random(seed)
    host = made(900)
    # After so many pieces, of the client or of the server, the wire is cut.
    pauses = [chance.randrange(3, 45) for _ in range(12)]

    def watch(_is_client: object, _piece: bytes) -> bool:
        if not pauses:
            return True
        pauses[0] -= 1
        if pauses[0]:
            return True
        del pauses[0]
        return False

    failures: list[StoreError] = []
    with Proxy(clickhouse.port, watch=watch).serving() as port:
        through = central_database.replace(str(clickhouse.port), str(port))
        shipped(target_of(through), host, 150, failed=failures.append)

    assert len(failures) > 3
    assert all("\n" not in str(each) and "\n" not in (each.fix or "") for each in failures)
    assert_same(clickhouse, central(central_database).database or "", host)


def test_a_killed_forwarder_goes_on_where_the_server_is(
    clickhouse: ClickHouse, central_database: str
) -> None:
    """SIGKILL, at whatever moment."""
    chance = random.Random(1)
    host = made(3000)
    for _ in range(6):
        child = os.fork()
        if child == 0:
            try:
                shipped(target_of(central_database), host, 100)
            finally:
                os._exit(0)
        time.sleep(chance.uniform(0.02, 0.3))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    shipped(target_of(central_database), host, 100)

    assert_same(clickhouse, central(central_database).database or "", host)


@pytest.mark.long_fleet
def test_two_that_ship_the_same_history_stop_each_other(central_database: str) -> None:
    """A copy of the file, or two units: said in one line."""
    host = made(400)
    one, other = target_of(central_database), target_of(central_database)
    first = host.batch(None, 100)
    assert first is not None
    one.streams(host.stream_id)
    one.send(first)
    other.streams(host.stream_id)
    second = host.batch(first.stream.cursors, 100)
    assert second is not None
    one.send(second)
    with pytest.raises(MovedError):
        other.send(second)
    third = target_of(central_database)
    with pytest.raises(MovedError):
        third.send(first)
    for each in (one, other, third):
        each.close()


@pytest.mark.long_fleet
def test_what_arrived_of_a_batch_counts(clickhouse: ClickHouse, central_database: str) -> None:
    """Its stream's row is missing, its execs are there: the next one must give higher numbers."""
    host = made(200)
    target = target_of(central_database)
    first = host.batch(None, 100)
    assert first is not None
    target.send(first)
    target.close()
    name = central(central_database).database or ""
    columns = ", ".join(f"`{each}`" for each in EXEC.names)
    clickhouse.execute(f"INSERT INTO exec ({columns}) VALUES", host.tables[EXEC][100:130], database=name)

    assert [130] == [stream.cursors.exec_seq for stream in target.streams(host.stream_id)]
    last = host.tables[EXEC][129]
    assert {130: (last[2], last[EXEC.names.index("pid")])} == target.signatures(EXEC, host.number, [130, 131])
    target.close()
    shipped(target_of(central_database), host, 60)
    assert_same(clickhouse, name, host)


def test_a_value_that_no_column_has_is_refused_and_costs_nothing_else(
    clickhouse: ClickHouse, central_database: str
) -> None:
    """Whoever ships may try again without it."""
    host = made(100)
    rows = [list(row) for row in host.tables[EXEC]]
    rows[50][EXEC.names.index("kind")] = 40_000
    bad = host._replace(tables={**host.tables, EXEC: [tuple(row) for row in rows]})
    target = target_of(central_database)
    with pytest.raises(RefusedError):
        shipped(target, bad, 100)
    target.close()
    shipped(target, host, 100)

    assert_same(clickhouse, central(central_database).database or "", host)


@pytest.mark.long_fleet
def test_a_server_that_lost_blocks_gets_them_again(tmp_path: Path) -> None:
    """A power cut takes any of those that were not on the disk yet."""
    host = made(1000, days=0.2)
    server = OldClickHouse()
    with running(server):
        url = server.url("default")
        clickhouse_admin.upgrade(central(url), None, None, None)
        shipped(target_of(url), host, 100)
        server.stop()
        parts = sorted(
            path for path in (server.folder / "data/data/default/exec").iterdir() if "_" in path.name
        )
        assert len(parts) > 1
        for lost in parts[1::2]:
            shutil.move(lost, tmp_path / lost.name)
        server.start()
        shipped(target_of(url), host, 100)

        columns = ", ".join(f"`{name}`" for name in EXEC.names)
        assert sorted_rows(host.tables[EXEC]) == sorted_rows(server.execute(f"SELECT {columns} FROM exec"))


@pytest.mark.long_fleet
@pytest.mark.parametrize("seed", range(3))
def test_shards_that_are_killed_lose_and_double_nothing(shards: Shards, seed: int) -> None:
    """The one that is spoken to, and the other."""
    chance = random.Random(seed)
    hosts = [made(900), made(900, place=1), made(900, place=2)]
    url = shards.first.url("fleet")
    clickhouse_admin.upgrade(central(url), None, CLUSTER, None)
    failures: list[StoreError] = []
    shipping = [
        threading.Thread(target=shipped, args=(target_of(url), host, 60), kwargs={"failed": failures.append})
        for host in hosts
    ]
    for each in shipping:
        each.start()
    # In this thread: a server ends with the thread that started it.
    for _ in range(5):
        time.sleep(chance.uniform(0.05, 0.5))
        victim = chance.choice(shards.servers)
        victim.kill()
        time.sleep(chance.uniform(0.0, 0.2))
        victim.start()
    for each in shipping:
        each.join()

    assert failures
    assert_same(shards.first, "fleet", *hosts)
    both = [server.execute("SELECT count() FROM exec_local", database="fleet")[0][0] for server in shards]
    assert 2700 == sum(both)


@pytest.mark.long_fleet
def test_users_may_do_no_more_than_they_must(old_clickhouse: ClickHouse) -> None:
    """As docs/fleet.md has them: who forwards drops nothing, who asks changes nothing."""
    url = old_clickhouse.url("least")
    clickhouse_admin.upgrade(central(url), None, None, None)
    host = made(100)
    forwarder, reader = (central(old_clickhouse.url("least", user)) for user in ("forwarder", "reader"))
    shipped(ClickHouseTarget(forwarder, lambda: USERS["forwarder"]), host, 50)
    with (
        clickhouse.session(forwarder, USERS["forwarder"]) as session,
        pytest.raises(StoreError, match="change"),
    ):
        session.execute("DROP TABLE exec")
    with clickhouse.session(reader, USERS["reader"]) as session:
        assert [(100,)] == session.execute("SELECT count() AS n FROM exec FINAL")
    with clickhouse.session(reader, USERS["reader"]) as session, pytest.raises(StoreError, match="only read"):
        session.execute("INSERT INTO program (exe, stream, first_ts) SELECT 'x', 1, 1")
    with pytest.raises(StoreError, match="password"):
        clickhouse.Session(reader, "wrong")
    old_clickhouse.drop_database("least")
