"""`execaudit forward` itself, into ClickHouse: each row is there once, whatever is killed."""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

import pytest

from execaudit.central import clickhouse_admin
from execaudit.central.tables import EXEC
from tests.commands import PATIENCE, execaudit, line_of
from tests.commands import running as command
from tests.fleet.centre import APPENDED, central, flat
from tests.fleet.clickhouse_servers import CLUSTER, ModernClickHouse, OldClickHouse
from tests.fleet.recording import appended
from tests.fleet.servers import running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fleet.clickhouse_servers import ClickHouse, Shards

_KILLS = int(os.environ.get("EXECAUDIT_TEST_KILLS", "6"))


def assert_same(path: Path, server: ClickHouse, database: str) -> None:
    """Asserts that whoever asks finds all that the history has, and nothing else."""
    expected = flat(path)
    for table in APPENDED:
        columns = ", ".join(f"`{name}`" for name in table.names)
        there = server.execute(f"SELECT {columns} FROM `{table.name}` FINAL", database=database)
        assert expected[table.name] == sorted(there), table.name
    ((last,),) = server.execute("SELECT exec_seq FROM stream FINAL", database=database)
    assert last == max(row[1] for row in expected[EXEC.name])


def await_all(server: ClickHouse, database: str, last: int) -> None:
    """Waits until the exec of this number has arrived."""
    end = time.monotonic() + PATIENCE
    while server.execute("SELECT max(exec_seq) FROM stream", database=database) != [(last,)]:
        assert time.monotonic() < end, "they do not arrive"
        time.sleep(0.1)


def _killed(path: Path, url: str, servers: list[ClickHouse], rounds: int, seed: int) -> int:
    """Kills the forwarder, and now and then a server, while a recorder writes. Returns the last exec."""
    chance = random.Random(seed)
    last = 1  # there is one before the first forwarder
    for _ in range(rounds):
        batch = str(chance.choice((1, 7, 50, 400)))
        with command("--db", path, "forward", "--to", url, "--every=1s", "--batch", batch) as forwarder:
            assert b'"forwarding"' in line_of(forwarder.stderr)
            appended(path, last + 1, last := last + chance.randint(1, 400))
            time.sleep(chance.uniform(0, 0.5))
            if chance.random() < 1 / 2:
                victim = chance.choice(servers)
                victim.kill()
                time.sleep(chance.uniform(0, 0.3))
                victim.start()
                time.sleep(chance.uniform(0, 1.5))
    with command("--db", path, "forward", "--to", url, "--every=1s") as forwarder:
        await_all(servers[0], central(url).database or "", last)
        forwarder.terminate()
        assert 0 == forwarder.wait(PATIENCE)
    return last


@pytest.mark.parametrize(
    "kind", [ModernClickHouse, pytest.param(OldClickHouse, marks=pytest.mark.long_fleet)]
)
def test_a_killed_forwarder_and_a_killed_server_lose_and_double_nothing(
    tmp_path: Path, kind: type[ClickHouse]
) -> None:
    """With SIGKILL, at any moment."""
    server, path = kind(), tmp_path / "x.db"
    appended(path, 1, 1)
    with running(server):
        url = server.url("one")
        clickhouse_admin.upgrade(central(url), None, None, None)
        _killed(path, url, [server], max(_KILLS // 2, 1), 1)
        assert_same(path, server, "one")


@pytest.mark.long_fleet
@pytest.mark.parametrize("seed", range(3))
def test_shards_under_a_killed_forwarder_lose_and_double_nothing(
    tmp_path: Path, shards: Shards, seed: int
) -> None:
    """The one that is spoken to, and the other."""
    url = shards.first.url("one")
    clickhouse_admin.upgrade(central(url), None, CLUSTER, None)
    path = tmp_path / "x.db"
    appended(path, 1, 1)
    last = _killed(path, url, [*shards.servers], 2 * _KILLS, seed)
    assert_same(path, shards.first, "one")

    assert f"{last}\n".encode() == execaudit("--db", url, "query", "--count").out
