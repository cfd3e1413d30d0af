"""The servers of these tests do what the tests take for granted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.fleet.proxies import Authority, Proxy
from tests.fleet.servers import ordinary_user

if TYPE_CHECKING:
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
    with postgres.connect() as connection:
        connection.execute("CREATE ROLE with_password")
        connection.execute("CREATE ROLE shy LOGIN PASSWORD 'x' IN ROLE with_password")
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
