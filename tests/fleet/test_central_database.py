"""The central database in PostgreSQL: its tables, its days, who may what, and each failure in one line."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from execaudit.central.postgresql_functions import DAY_NS
from execaudit.central.postgresql_schema import statements
from execaudit.central.tables import EXEC, TABLES
from execaudit.database.revision import REVISION
from execaudit.event import Nanoseconds
from tests.commands import Finished, execaudit, running
from tests.fleet.centre import Centre, assert_same, ship
from tests.fleet.proxies import Authority, Proxy
from tests.fleet.recording import appended
from tests.histories import make_event, make_history

if TYPE_CHECKING:
    from tests.fleet.servers import PostgresServer

CHECKOUT = Path(__file__).parents[2]
VERSIONS = CHECKOUT / "migrations" / "versions"


def now_ns() -> int:
    """Returns the wall clock."""
    return time.time_ns()


def history_of(path: Path, times: list[int]) -> Path:
    """Makes a history with an exec at each of these times."""
    return make_history(
        path,
        [
            make_event(b"a", time_ns=Nanoseconds(ns), boot_ns=Nanoseconds(n), pid=n + 1)
            for n, ns in enumerate(times)
        ],
    )


def forwarded(path: Path, url: str, *more: str | Path) -> Finished:
    """Forwards once, in a process of its own."""
    return execaudit(f"--db={path}", "forward", f"--to={url}", "--once", *more)


# What a schema has, but for the names of indexes and checks, which the server chooses.
CATALOGUE = (
    (
        "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid),"
        " c.relrowsecurity FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0"
        " LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')"
    ),
    (
        "SELECT conrelid::regclass::text, pg_get_constraintdef(oid), convalidated FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace AND conrelid <> 0"
    ),
    "SELECT tablename, substring(indexdef FROM ' USING .*'), indexdef ~ 'UNIQUE' FROM pg_indexes WHERE schemaname = 'public'",
    "SELECT tablename, policyname, cmd, qual, with_check, roles::text FROM pg_policies WHERE schemaname = 'public'",
    "SELECT proname, pg_get_functiondef(oid), proacl::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
)


def catalogue(url: str) -> list[str]:
    """Returns what the schema of a database has, but for partitions of days and what Alembic notes."""
    centre = Centre(url)
    rows = [str(row) for sql in CATALOGUE for row in centre.rows(sql)]
    return sorted(row for row in rows if not re.match(r"\('(\w+_\d{8}|alembic_version)'", row))


def test_the_migrations_make_the_declared_tables(postgres: PostgresServer, centre: Centre) -> None:
    """What they come to is what the tables say now."""
    declared = postgres.url(postgres.new_database())
    with psycopg.connect(declared, autocommit=True) as owner:
        for statement in statements():
            owner.execute(statement.replace("{schema}", "public").encode())
    expected = catalogue(declared)
    postgres.drop_database(declared.rpartition("/")[2])

    assert len(expected) > 150
    assert expected == catalogue(centre.url), "a new migration makes what differs"


def test_upgrade_takes_the_tables_of_any_version_on(postgres_database: str, centre: Centre) -> None:
    """What was shipped stays."""
    with psycopg.connect(postgres_database, autocommit=True) as owner:
        frozen = (VERSIONS / "0013_central.sql").read_text().replace("{schema}", "public")
        for statement in frozen.split(";;\n"):
            owner.execute(statement.encode())
        owner.execute("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
        owner.execute("INSERT INTO alembic_version VALUES ('0013')")
        owner.execute("INSERT INTO program VALUES ('x', 1, 2)")
    done = execaudit(f"--db={postgres_database}", "db", "upgrade")

    assert (0, f"{postgres_database} has schema {REVISION} now (before: 0013)\n") == (
        done.status,
        done.err.decode(),
    )
    assert catalogue(centre.url) == catalogue(postgres_database)
    assert [(b"x", 1, 2)] == Centre(postgres_database).rows("SELECT * FROM program")


def test_upgrade_makes_the_tables_and_the_next_days(postgres_database: str) -> None:
    """Once; then it says so."""
    url = postgres_database
    made, again = (execaudit(f"--db={url}", "db", "upgrade") for _ in range(2))

    assert (0, f"{url} has schema {REVISION} now (before: none)\n") == (made.status, made.err.decode())
    assert (0, f"{url} has schema {REVISION} already\n") == (again.status, again.err.decode())
    centre = Centre(url)
    for table in TABLES:
        assert [] == centre.table(table)
    days = centre.rows("SELECT count(*) FROM pg_inherits WHERE inhparent = 'exec'::regclass")
    assert [(10,)] == days  # yesterday, today, seven more, and the default


def test_a_day_has_its_partition_and_is_dropped_with_it(centre: Centre, tmp_path: Path) -> None:
    """Whole days, nothing younger, and of the default partition what is as old."""
    now = now_ns()
    times = [now, now - 1, now - 3 * DAY_NS, now - 40 * DAY_NS, now - 1000 * DAY_NS, now + 100 * DAY_NS, 5]
    path = history_of(tmp_path / "x.db", times)
    ship(path, centre.url)
    assert 3 == centre.rows('SELECT count(*) FROM "exec_default"')[0][0]
    dry = execaudit(f"--db={centre.url}", "db", "prune", "--older-than=2d", "--dry-run")
    assert sorted(times) == sorted(row[2] for row in centre.table(EXEC))
    done = execaudit(f"--db={centre.url}", "db", "prune", "--older-than=2d")

    assert b": 3 execs of 2 days would be deleted" in dry.err
    assert b": 3 execs of 2 days deleted" in done.err
    assert [5, now - 1, now, now + 100 * DAY_NS] == sorted(row[2] for row in centre.table(EXEC))
    # What was shipped is known, and does not come again.
    ship(path, centre.url)
    assert 4 == len(centre.table(EXEC))


def test_info_says_what_is_there(centre: Centre, tmp_path: Path) -> None:
    """For people and for scripts."""
    ship(history_of(tmp_path / "x.db", [1_000_000_000, 2_000_000_000]), centre.url)
    found = execaudit(f"--db={centre.url}", "db", "info", "--format=json")
    shown = execaudit(f"--db={centre.url}", "db", "info")

    facts = json.loads(found.out)
    assert facts.pop("size") > 0
    assert {
        "database": centre.url, "schema": REVISION, "cluster": None, "servers": 1, "execs": 2,
        "first": "1970-01-01T00:00:01.000000000Z", "last": "1970-01-01T00:00:02.000000000Z", "hosts": 1, "streams": 1,
    } == facts  # fmt: skip
    assert b"execs     2\n" in shown.out


def roles() -> list[str]:
    """Returns the statements of the page about roles."""
    text = (CHECKOUT / "docs" / "fleet.md").read_text()
    (block,) = re.findall(r"```postgresql\n-- roles: (.*?)```", text, re.DOTALL)
    return [each.strip() for each in block.partition("\n")[2].split(";") if each.strip()]


def test_roles_may_what_the_page_says_and_no_more(
    centre: Centre, postgres: PostgresServer, tmp_path: Path
) -> None:
    """A forwarder ships, and neither changes nor reads what was shipped; a reader reads."""
    suffix = centre.url.rpartition("_")[2]
    names = {"execaudit_forward": f"forward_{suffix}", "execaudit_read": f"read_{suffix}"}
    with psycopg.connect(centre.url, autocommit=True) as owner:
        for statement in roles():
            for name, other in names.items():
                statement = statement.replace(name, other)  # noqa: PLW2901  # step by step
            owner.execute(statement.encode())
        for name in names.values():
            owner.execute(f"CREATE ROLE {name}_user LOGIN IN ROLE {name}".encode())
        # It is allowed to connect, and to make temporary tables, as everybody is.
    database = centre.url.rpartition("/")[2]
    urls = [postgres.url(database, f"{name}_user") for name in names.values()]
    path = history_of(tmp_path / "x.db", [now_ns(), now_ns() - 12 * DAY_NS, 7])
    for _ in range(2):
        ship(path, urls[0])
    assert_same(path, centre)
    refused = {
        urls[0]: (
            'SELECT "argv" FROM "exec"', 'UPDATE "exec" SET "pid" = 1', 'DELETE FROM "exec"', 'DELETE FROM "gap"',
            'TRUNCATE "exec"', 'DROP TABLE "exec_default"', 'INSERT INTO "exec_default" SELECT * FROM "exec_default"',
            "CREATE TABLE x (a int)", 'SELECT "title" FROM "rule"', 'DO $$ BEGIN LOCK TABLE "stream" IN ACCESS EXCLUSIVE MODE; END $$',
            'DO $$ BEGIN LOCK TABLE "program" IN SHARE MODE; END $$', 'DO $$ BEGIN LOCK TABLE "exec" IN EXCLUSIVE MODE; END $$', 'UPDATE "stream" SET "stream" = 1',
            'UPDATE "span" SET "last_seq" = 0', "SELECT execaudit_make_day(now()::date, NULL, NULL)", 'SELECT FROM "account"',
            'SELECT "host" FROM "retired"',
            "INSERT INTO retired VALUES (1, 'x', 0, 0)",
        ),
        urls[1]: ('DELETE FROM "exec"', 'INSERT INTO "stream" SELECT * FROM "stream"', "SELECT execaudit_add_day(now()::date)",
            "INSERT INTO retired VALUES (1, 'x', 0, 0)"),
    }  # fmt: skip
    for url, statements_ in refused.items():
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements_:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement.encode())
    with psycopg.connect(urls[1]) as reader:
        assert 3 == len(reader.execute('SELECT "argv" FROM "exec"').fetchall())


def test_a_password_comes_from_a_file(centre: Centre, postgres: PostgresServer, tmp_path: Path) -> None:
    """Or a credential, or PGPASSFILE; a wrong one is refused, and none is repeated."""
    secret = "s3cret:'\\ "
    suffix = centre.url.rpartition("_")[2]
    postgres.add_user(f"keeper_{suffix}", secret, options="SUPERUSER")
    url = postgres.url(centre.url.rpartition("/")[2], f"keeper_{suffix}")
    path = history_of(tmp_path / "x.db", [now_ns()])
    right, wrong, open_, folder = (tmp_path / name for name in ("right", "wrong", "open", "credentials"))
    folder.mkdir()
    for file, content in ((right, secret), (wrong, "other"), (open_, secret), (folder / "password", secret)):
        file.write_text(f"{content}\n")
        file.chmod(0o600)
    open_.chmod(0o644)
    escaped = secret.replace("\\", "\\\\").replace(":", "\\:")
    (tmp_path / "pgpass").write_text(f"*:*:*:*:{escaped}\n")
    (tmp_path / "pgpass").chmod(0o600)

    assert 0 == forwarded(path, url, "--password-file", right).status
    by_credential = {"CREDENTIALS_DIRECTORY": str(folder)}
    assert 0 == execaudit(f"--db={path}", "forward", f"--to={url}", "--once", env=by_credential).status
    by_file = {"PGPASSFILE": str(tmp_path / "pgpass")}
    assert 0 == execaudit(f"--db={path}", "forward", f"--to={url}", "--once", env=by_file).status
    for arguments, said in (
        (("--password-file", wrong), "refuses the password"),
        (("--password-file", open_), "everybody may read"),
        (("--password-file", tmp_path / "none"), "cannot read the password"),
        ((), "password"),
    ):
        done = forwarded(path, url, *arguments)
        assert 1 == done.status
        assert done.failed_in_one_line()
        assert said in done.err.decode()
        assert b"s3cret" not in done.err
    assert_same(path, centre)
    for words in (("query", "--count"), ("stats",), ("fleet", "status", "--format", "json"), ("db", "info")):
        done, refused = (execaudit(f"--db={url}", *words, "--password-file", file) for file in (right, wrong))
        assert done.out, done.err
        assert refused.failed_in_one_line()
        assert b"refuses the password" in refused.err


@pytest.mark.long_fleet
def test_each_failure_is_one_line(centre: Centre, postgres: PostgresServer, tmp_path: Path) -> None:
    """And status 1, with the next step."""
    path = history_of(tmp_path / "x.db", [now_ns()])
    empty = postgres.url(postgres.new_database())
    place = f"127.0.0.1:{postgres.port}"

    def said(url: str) -> str:
        done = forwarded(path, url)
        assert 1 == done.status, done.err
        assert done.failed_in_one_line()
        return done.err.decode()

    assert "nobody listens" in said(centre.url.replace(place, "127.0.0.1:1"))
    assert "no host of this name" in said(centre.url.replace(place, "nowhere.invalid"))
    assert "no such database" in said(centre.url.rpartition("/")[0] + "/nowhere")
    assert "has no TLS" in said(f"{centre.url}?sslmode=verify-full&sslrootcert={__file__}")
    assert "db upgrade" in said(empty)
    with psycopg.connect(centre.url, autocommit=True) as owner:
        database = centre.url.rpartition("/")[2]
        for revision, words in (("0001", "older schema"), ("9999", "newer execaudit")):
            owner.execute("UPDATE alembic_version SET version_num = %s", (revision,))
            assert words in said(centre.url)
        owner.execute("UPDATE alembic_version SET version_num = %s", (REVISION,))
        owner.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on".encode())
        assert "only reads" in said(centre.url)
    assert "password" in forwarded(path, centre.url.replace("postgres@", "postgres:x@")).err.decode()
    assert [] == centre.table(EXEC)


@pytest.mark.long_fleet
def test_the_server_is_who_it_says(
    centre: Centre, postgres: PostgresServer, authority: Authority, tmp_path: Path
) -> None:
    """With the authority that is named, and the name; not with others."""
    path = history_of(tmp_path / "x.db", [now_ns()])
    for name, is_right in (("localhost", True), ("elsewhere.example", False)):
        tls = authority.context_for(name)
        with Proxy(postgres.port, tls=tls, is_postgres=True).serving() as port:
            url = centre.url.replace(f"127.0.0.1:{postgres.port}", f"localhost:{port}")
            known = f"{url}?sslmode=verify-full&sslrootcert={authority.certificate}"
            done = forwarded(path, known)
            assert (0 if is_right else 1) == done.status, done.err
            assert is_right or b"is not who it should be" in done.err
            other = forwarded(path, f"{url}?sslmode=verify-full")
            assert 1 == other.status
            assert b"is not who it should be" in other.err
            named = {"SSL_CERT_FILE": str(authority.certificate)}
            done = execaudit(
                f"--db={path}", "forward", f"--to={url}?sslmode=verify-full", "--once", env=named
            )
            assert (0 if is_right else 1) == done.status, done.err


def test_a_service_says_how_it_gets_on(centre: Centre, tmp_path: Path) -> None:
    """It waits for a history and a database that are not there yet, and ends at once when it is stopped."""
    path, metrics, state = tmp_path / "x.db", tmp_path / "m.prom", tmp_path / "arrived.json"
    from tests.commands import EXECAUDIT  # noqa: PLC0415  # beside its use

    service = subprocess.Popen(
        [*EXECAUDIT, f"--db={path}", "forward", f"--to={centre.url}", "--metrics", metrics, "--state", state],
        stderr=subprocess.PIPE,
    )
    assert service.stderr is not None
    lines = iter(service.stderr)
    assert b"forwarding" in next(lines)
    assert b"there is no history" in next(lines)
    history_of(path, [now_ns()])
    centre.await_execs(1)
    deadline = time.monotonic() + 60
    # What arrived is counted when the server's answer has come.
    while not metrics.exists() or "execaudit_forward_execs_total 1\n" not in metrics.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    service.terminate()
    assert 0 == service.wait(20)
    service.stderr.close()

    assert 1 == json.loads(state.read_text())["seq"]


def test_it_ships_as_often_as_is_said_or_when_a_batch_is_full(centre: Centre, tmp_path: Path) -> None:
    """So a host at rest makes few batches, and keeps no connection."""
    path = tmp_path / "x.db"
    connected = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    appended(path, 1, 5)
    with running("--db", path, "forward", f"--to={centre.url}", "--every=1h", "--batch=50") as service:
        centre.await_execs(5)
        appended(path, 6, 54)
        # It looks each second.
        time.sleep(3)
        assert 5 == len(centre.pids())
        assert [(0,)] == centre.rows(connected)
        appended(path, 55, 55)
        centre.await_execs(55)
        service.terminate()
        assert 0 == service.wait(20)


def test_what_waits_is_counted_while_nothing_arrives(tmp_path: Path) -> None:
    """So that an alert on the lag comes during an outage, and not after it."""
    from tests.commands import EXECAUDIT  # noqa: PLC0415  # beside its use

    path, metrics = history_of(tmp_path / "x.db", [now_ns() - 10**9] * 3), tmp_path / "m.prom"
    # A port that is bound, and where nobody listens.
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        to = f"postgresql://web1@127.0.0.1:{bound.getsockname()[1]}/execaudit"
        service = subprocess.Popen(
            [*EXECAUDIT, f"--db={path}", "forward", f"--to={to}", "--metrics", metrics],
            stderr=subprocess.PIPE,
        )
        assert service.stderr is not None
        assert b"forwarding" in next(service.stderr)
        assert b"nobody listens" in next(service.stderr)
        deadline = time.monotonic() + 60
        while not metrics.exists() or "waiting_execs 3\n" not in metrics.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        service.terminate()
        assert 0 == service.wait(20)
        service.stderr.close()
    values = dict(line.rsplit(" ", 1) for line in metrics.read_text().splitlines() if line[0] != "#")

    assert "3" == values["execaudit_forward_waiting_execs"]
    assert "0" == values["execaudit_forward_connected"]
    assert 1 <= float(values["execaudit_forward_lag_seconds"])
