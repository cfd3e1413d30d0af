"""What goes wrong with a central database is said in one line, which has no password in it."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.commands import PATIENCE, execaudit, running
from tests.families import make_family
from tests.fleet.centre import make_central, ship
from tests.fleet.proxies import Proxy
from tests.fleet.servers import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fleet.proxies import Authority
    from tests.fleet.servers import PostgresServer


def _refused(url: str, *words: str, status: int = 1, **env: str) -> str:
    done = execaudit("--db", url, *(words or ("query",)), env=env)
    assert (status, True) == (done.status, done.failed_in_one_line()), done
    return done.err.decode()


def test_nobody_listens() -> None:
    """The server does not run, or the port is wrong."""
    assert "nobody listens at" in _refused(f"postgresql://somebody@127.0.0.1:{free_port()}/fleet")


def test_the_password_is_wrong_or_missing(postgres: PostgresServer, tmp_path: Path) -> None:
    """It is taken from libpq's file of passwords."""
    postgres.add_user("guarded", "right one")
    url = postgres.url(user="guarded")
    file = tmp_path / "passwords"
    for line, said in (("", "wants a password"), ("wrong one", "refuses the password")):
        file.write_text(f"*:*:*:*:{line}\n" if line else "")
        file.chmod(0o600)
        err = _refused(url, PGPASSFILE=str(file))
        assert said in err
        assert "wrong one" not in err
    file.write_text("*:*:*:*:right one\n")
    assert "is no central database" in _refused(url, PGPASSFILE=str(file))


def test_a_password_in_the_url_is_refused() -> None:
    """And not repeated."""
    assert "hunter2" not in _refused("postgresql://a:hunter2@127.0.0.1/fleet", status=2)


def test_there_is_no_such_database(postgres: PostgresServer) -> None:
    """Of that name."""
    assert "there is no such database" in _refused(postgres.url("nowhere"))


def test_it_is_no_central_database(postgres_database: str) -> None:
    """Its tables are not there."""
    assert "is no central database" in _refused(postgres_database)


@pytest.mark.parametrize(("revision", "said"), [("0001", "an older schema"), ("9999", "a newer execaudit")])
def test_the_schema_is_of_another_version(postgres_database: str, revision: str, said: str) -> None:
    """With what to do."""
    make_central(postgres_database)
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = %s", (revision,))
    assert said in _refused(postgres_database)


def test_the_server_ends_what_takes_too_long(postgres_database: str, tmp_path: Path) -> None:
    """By its statement_timeout."""
    make_central(postgres_database)
    ship(make_family(tmp_path / "db").path, postgres_database)
    _make_slow(postgres_database)
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute("DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET statement_timeout = 200'; END $$")  # fmt: skip
    assert "ended the statement" in execaudit("--db", postgres_database, "query").err.decode()


def test_ctrl_c_ends_the_statement_on_the_server(postgres_database: str, tmp_path: Path) -> None:
    """And the command, with 130."""
    make_central(postgres_database)
    ship(make_family(tmp_path / "db").path, postgres_database)
    _make_slow(postgres_database)
    active = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND application_name = 'execaudit'"  # fmt: skip
    with (
        psycopg.connect(postgres_database, autocommit=True) as connection,
        running("--db", postgres_database, "query") as process,
    ):
        deadline = time.monotonic() + PATIENCE
        while connection.execute(active).fetchone() != (1,):
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGINT)
        assert 130 == process.wait(PATIENCE)
        while connection.execute(active).fetchone() != (0,):
            assert time.monotonic() < deadline


def test_nothing_is_written(postgres_database: str, tmp_path: Path) -> None:
    """The connection of who asks cannot."""
    make_central(postgres_database)
    ship(make_family(tmp_path / "db").path, postgres_database)
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION wrote() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN DELETE FROM run; RETURN 0; END $$"
        )
        connection.execute("ALTER TABLE stream RENAME TO streams")
        names = "stream, stream_id, host, version, contact_ns, live_run, lost_ns, continued"
        connection.execute(f"CREATE VIEW stream AS SELECT {names} FROM streams WHERE wrote() = 0".encode())
    assert "only reads" in _refused(postgres_database)


def test_the_server_has_to_prove_who_it_is(
    postgres: PostgresServer, postgres_database: str, authority: Authority, tmp_path: Path
) -> None:
    """If it is not on this host, unless the URL says otherwise."""
    make_central(postgres_database)
    ship(make_family(tmp_path / "db").path, postgres_database)
    name = postgres_database.rpartition("/")[2]
    # A name that is not of the loopback for execaudit, and is for the resolver.
    with Proxy(postgres.port, tls=authority.context_for("localhost"), is_postgres=True).serving() as port:
        url = f"postgresql://postgres@localhost:{port}/{name}"
        strict = "?sslmode=verify-full"
        assert "TLS" in (said := _refused(url + strict)) or "who it should be" in said
        known = f"{strict}&sslrootcert={authority.certificate}"
        assert 0 == execaudit("--db", url + known, "query").status


def _make_slow(url: str) -> None:
    """Has each look at the execs take longer than anybody waits."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER TABLE exec RENAME TO execs")
        connection.execute("CREATE VIEW exec AS SELECT e.* FROM execs AS e, pg_sleep(100)")


def test_what_needs_a_file_says_so(postgres_database: str) -> None:
    """It is done with the history of this host."""
    assert "postgresql://..." in _refused(postgres_database, "query", "--follow", status=2)
    assert "postgresql://..." in _refused(postgres_database, "top", status=2)
