"""The servers of these tests do what the tests take for granted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from clickhouse_driver.errors import ServerException

from tests.fleet.clickhouse_servers import CLUSTER, ModernClickHouse
from tests.fleet.proxies import Proxy
from tests.fleet.servers import ordinary_user, running

if TYPE_CHECKING:
    from tests.fleet.clickhouse_servers import ClickHouse, Shards
    from tests.fleet.proxies import Authority
    from tests.fleet.servers import PostgresServer


def test_postgres_runs_as_an_ordinary_user_and_only_on_loopback(postgres: PostgresServer) -> None:
    """Nobody outside of this machine can reach it."""
    assert postgres.process is not None
    assert ordinary_user() == Path(f"/proc/{postgres.process.pid}").stat().st_uid
    with postgres.connect() as connection:
        assert ("127.0.0.1",) == connection.execute("SHOW listen_addresses").fetchone()


def test_databases_are_apart(postgres: PostgresServer, postgres_database: str) -> None:
    """Each test has its own."""
    with psycopg.connect(postgres_database) as connection:
        connection.execute("CREATE TABLE x (a int)")
    other = postgres.new_database()
    with postgres.connect(other) as connection:
        assert (None,) == connection.execute("SELECT to_regclass('x')").fetchone()
    postgres.drop_database(other)


def test_a_killed_postgres_has_what_was_committed_and_can_be_put_back(
    own_postgres: PostgresServer, tmp_path: Path
) -> None:
    """Its data are where they were."""
    with own_postgres.connect() as connection:
        connection.execute("CREATE TABLE x AS SELECT 1 AS a")
        connection.execute("CHECKPOINT")
    own_postgres.kill()
    own_postgres.start()
    own_postgres.stop()
    own_postgres.save(tmp_path / "copy")
    own_postgres.start()
    with own_postgres.connect() as connection:
        assert 1 == connection.execute("INSERT INTO x VALUES (2)").rowcount
    own_postgres.stop()
    own_postgres.put_back(tmp_path / "copy")
    own_postgres.start()
    with own_postgres.connect() as connection:
        assert [(1,)] == connection.execute("SELECT a FROM x").fetchall()


def test_some_users_need_a_password(postgres: PostgresServer) -> None:
    """Those of one role."""
    postgres.add_user("shy", "x")
    with pytest.raises(psycopg.OperationalError, match="no password"):
        postgres.connect(user="shy")
    psycopg.connect(postgres.url(user="shy"), password="x").close()


def test_tls_is_verified(postgres: PostgresServer, authority: Authority) -> None:
    """The authority and the name count."""
    options = f"?sslmode=verify-full&sslrootcert={authority.certificate}"
    with Proxy(postgres.port, tls=authority.context_for("localhost"), is_postgres=True).serving() as port:
        psycopg.connect(f"postgresql://postgres@localhost:{port}/postgres{options}").close()
        with pytest.raises(psycopg.OperationalError, match="does not match host name"):
            psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres{options}")
        with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
            psycopg.connect(
                f"postgresql://postgres@localhost:{port}/postgres?sslmode=verify-full&sslrootcert=system"
            )


def test_clickhouse_takes_and_gives_any_bytes(clickhouse: ClickHouse, clickhouse_database: str) -> None:
    """With the types that the tables need."""
    name = clickhouse_database.rpartition("/")[2]
    clickhouse.execute(
        f"CREATE TABLE {name}.x (a Int64, b Nullable(Int16), c String, d Nullable(String)) ENGINE = MergeTree ORDER BY a"
    )
    rows = [(-5, None, bytes(range(256)), None), (2**63 - 1, -7, b"", b"\xff\0")]
    clickhouse.execute(f"INSERT INTO {name}.x (a, b, c, d) VALUES", rows)

    assert rows == clickhouse.execute(f"SELECT * FROM {name}.x ORDER BY a")
    assert [(2,)] == clickhouse.execute(f"SELECT count() AS c FROM {name}.x")


def test_clickhouse_says_what_is_wrong(clickhouse: ClickHouse, clickhouse_database: str) -> None:
    """With the same numbers, whatever its age; then it goes on."""
    with pytest.raises(ServerException) as caught:
        clickhouse.execute("SELECT * FROM nothing", database=clickhouse_database.rpartition("/")[2])
    assert 60 == caught.value.code
    assert [(1,)] == clickhouse.execute("SELECT 1")


def test_a_killed_modern_clickhouse_has_what_was_inserted() -> None:
    """Its data are where they were."""
    server = ModernClickHouse()
    with running(server):
        server.execute("CREATE TABLE x (a Int64) ENGINE = MergeTree ORDER BY a")
        server.execute("INSERT INTO x (a) VALUES", [(1,)])
        server.kill()
        server.start()
        assert [(1,)] == server.execute("SELECT a FROM x")


@pytest.mark.long_fleet
def test_shards_see_each_other_also_after_a_kill(shards: Shards) -> None:
    """What is written through one is on the other, and stays there."""
    for server in shards:
        server.execute("CREATE TABLE here (a Int64) ENGINE = MergeTree ORDER BY a")
        server.execute(f"CREATE TABLE x AS here ENGINE = Distributed({CLUSTER}, default, here, a)")
    shards.first.execute(
        "INSERT INTO x (a) VALUES", [(each,) for each in range(10)], insert_distributed_sync=1
    )
    for server in shards:
        server.kill()
        server.start()

    assert [(10,)] == shards.servers[1].execute("SELECT count() FROM x")
    assert [5, 5] == [server.execute("SELECT count() FROM here")[0][0] for server in shards]


@pytest.mark.long_fleet
def test_debians_servers_run_as_an_ordinary_user(shards: Shards) -> None:
    """Never as root."""
    for server in shards:
        assert server.process is not None
        assert ordinary_user() == Path(f"/proc/{server.process.pid}").stat().st_uid
