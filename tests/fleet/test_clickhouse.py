"""Connections to ClickHouse, its tables, and what goes wrong: one line each."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.central import clickhouse_admin
from execaudit.central.clickhouse import Session, check_revision, session
from execaudit.central.clickhouse_schema import group_of, literal
from execaudit.central.tables import EXEC, EXIT, HIT
from execaudit.database.url import Central, location_of
from execaudit.errors import ConfigError, ExecauditError, StoreError
from execaudit.forward.clickhouse_target import ClickHouseTarget
from tests.fleet.clickhouse_servers import CLUSTER, ModernClickHouse
from tests.fleet.proxies import Proxy
from tests.fleet.servers import free_port, running
from tests.fleet.shipping import made, shipped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from tests.fleet.clickhouse_servers import ClickHouse, Shards
    from tests.fleet.proxies import Authority

_PAGE = Path(__file__).parents[2] / "docs/fleet.md"
_DAY = 86_400_000_000_000
_INT64 = st.integers(-(2**63), 2**63 - 1)


def central(url: str) -> Central:
    """Returns what a URL of --db names."""
    location = location_of(url)
    assert isinstance(location, Central)
    return location


def clickhouse_of(url: str) -> AbstractContextManager[Session]:
    """Returns what opens a connection."""
    return session(central(url))


def said(error: ExecauditError) -> str:
    """Returns an error's line."""
    assert "\n" not in str(error)
    assert error.fix
    return str(error)


@given(st.lists(st.binary(), max_size=5), st.lists(_INT64, min_size=1, max_size=5))
def test_any_value_is_exact_in_a_statement(
    clickhouse_session: Session, texts: list[bytes], numbers: list[int]
) -> None:
    """Quotes, zeros, braces and what is not UTF-8 are only values."""
    names = {f"t{n}": text for n, text in enumerate(texts)} | {
        f"n{n}": each for n, each in enumerate(numbers)
    }
    shown = ", ".join(f"{{{name}}} AS {name}" for name in names)
    inside = f"{{first}} IN {{every}} AS inside, {shown}"
    values = clickhouse_session.execute(
        f"SELECT {inside}",
        {**names, "first": numbers[0], "every": numbers},
    )[0]

    assert values[0] == 1
    assert list(names.values()) == list(values[1:])


@pytest.fixture(scope="module")
def clickhouse_session(modern_clickhouse: ClickHouse) -> Iterator[Session]:
    """Returns a connection to the modern server."""
    with session(central(modern_clickhouse.url())) as opened:
        yield opened


def test_what_no_table_has_is_no_value() -> None:
    """A text, for one: it would have to be escaped."""
    with pytest.raises(TypeError):
        literal("text")


_FAR_NS = [-(2**63), -1, 0, 1, 946_684_800_000_000_000, 4_102_444_800_000_000_000, 2**63 - 1]


def test_partitions_are_days(clickhouse: ClickHouse, clickhouse_database: str) -> None:
    """As who ships them counts them; what mad clocks say is together, whatever they say, by when it came."""
    clickhouse_admin.upgrade(central(clickhouse_database), None, None, None)
    name, now_ns = central(clickhouse_database).database or "", time.time_ns()
    times = [*_FAR_NS, *(now_ns - days * _DAY for days in range(-2000, 2000, 50)), now_ns + _DAY]
    today = now_ns // _DAY
    groups = [group_of(each, today) for each in times]
    clickhouse.execute(
        "INSERT INTO hit (stream, seq, ts) VALUES", [(1, n, ts) for n, ts in enumerate(times)], name
    )
    partitions: dict[int, bytes] = dict(clickhouse.execute("SELECT seq, _part FROM hit", database=name))

    assert {b"%d-1" % today} == {
        partitions[seq].partition(b"_")[0] for seq, group in enumerate(groups) if group is None
    }
    known = {seq: group for seq, group in enumerate(groups) if group is not None}
    assert {seq: b"%d-0" % group for seq, group in known.items()} == {
        seq: partitions[seq].partition(b"_")[0] for seq in known
    }
    assert 10 == len(known)


def test_upgrading_again_changes_nothing(clickhouse: ClickHouse, clickhouse_database: str) -> None:
    """It says so; and a server without the database gets one."""
    location = central(clickhouse_database)
    assert "now (before: none)" in clickhouse_admin.upgrade(location, None, None, None)
    assert "already" in clickhouse_admin.upgrade(location, None, None, None)
    other = location._replace(database="not `there`")
    with pytest.raises(StoreError, match="db upgrade"):
        clickhouse_admin.content(other, None)
    clickhouse_admin.upgrade(other, None, None, None)
    assert 0 == clickhouse_admin.content(other, None).execs
    clickhouse.execute("DROP DATABASE `not \\`there\\``")


@pytest.mark.long_fleet
def test_old_days_are_dropped_and_counted(clickhouse: ClickHouse, clickhouse_database: str) -> None:
    """Whole days, of execs and of what belongs to them; the rest stays."""
    location = central(clickhouse_database)
    clickhouse_admin.upgrade(location, None, None, None)
    host = made(600, days=6)
    shipped(ClickHouseTarget(location, lambda: None), host, 600)
    before_ns = host.tables[EXEC][300][2]
    kept = [row for row in host.tables[EXEC] if row[2] // _DAY >= before_ns // _DAY]
    assert 0 < len(kept) < 600
    tried = clickhouse_admin.prune(location, None, before_ns, dry_run=True)
    assert 600 == clickhouse_admin.content(location, None).execs

    assert tried == clickhouse_admin.prune(location, None, before_ns)
    assert 600 - len(kept) == tried.execs
    assert tried.size > 0
    content = clickhouse_admin.content(location, None)
    assert (len(kept), kept[0][2], 1, 1, 1) == (
        content.execs, content.first_ns, content.hosts, content.streams, content.servers,
    )  # fmt: skip
    for table in ("exit", "hit"):
        times = clickhouse.execute(f"SELECT min(ts) AS t FROM {table}", database=location.database or "")
        assert times[0][0] // _DAY >= before_ns // _DAY
    # What was dropped had arrived: it does not come again.
    shipped(ClickHouseTarget(location, lambda: None), host, 600)
    assert len(kept) == clickhouse_admin.content(location, None).execs


def test_modern_servers_delete_by_themselves(modern_clickhouse: ClickHouse) -> None:
    """After so many days."""
    name = modern_clickhouse.new_database()
    clickhouse_admin.upgrade(central(modern_clickhouse.url(name)), None, None, 90)
    definition = modern_clickhouse.execute(f"SHOW CREATE TABLE {name}.exec")[0][0].decode()
    modern_clickhouse.drop_database(name)

    assert "toIntervalDay(90)" in definition


def test_old_days_expire(modern_clickhouse: ClickHouse) -> None:
    """When parts are merged; what a mad clock said stays as long, from when it came. Nothing comes again."""
    name, now_ns = modern_clickhouse.new_database(), time.time_ns()
    location = central(modern_clickhouse.url(name))
    clickhouse_admin.upgrade(location, None, None, 90)
    host, place = made(30), EXEC.names.index("ts")
    times = [5, *(now_ns - 10 * days * _DAY for days in range(28, -1, -1))]
    rows = [(*row[:place], ts, *row[place + 1 :]) for row, ts in zip(host.tables[EXEC], times, strict=True)]
    host = host._replace(tables={**host.tables, EXEC: rows, EXIT: [], HIT: []})

    def kept() -> list[int]:
        shipped(ClickHouseTarget(location, lambda: None), host, 10)
        modern_clickhouse.execute("OPTIMIZE TABLE exec FINAL", database=name)
        found = modern_clickhouse.execute("SELECT ts FROM exec FINAL", database=name)
        return sorted(ts for (ts,) in found)

    assert [ts for ts in times if ts == 5 or ts > now_ns - 90 * _DAY] == kept() == kept()
    clickhouse_admin.prune(location, None, now_ns - 50 * _DAY)
    assert [ts for ts in times if ts == 5 or ts >= now_ns - 50 * _DAY] == kept()
    clickhouse_admin.prune(location, None, now_ns + 2 * _DAY)
    assert [] == kept()
    modern_clickhouse.drop_database(name)


@pytest.mark.long_fleet
def test_old_servers_say_that_they_cannot(old_clickhouse: ClickHouse) -> None:
    """With what to do instead."""
    with pytest.raises(ConfigError, match="db prune"):
        clickhouse_admin.upgrade(central(old_clickhouse.url("never")), None, None, 90)


@pytest.mark.long_fleet
def test_a_cluster_has_its_tables_on_all_servers(shards: Shards) -> None:
    """Each can be asked; and what is pruned is pruned on all."""
    location = central(shards.first.url("fleet"))
    with pytest.raises(ConfigError, match="knows no cluster"):
        clickhouse_admin.upgrade(location, None, "nothing", None)
    clickhouse_admin.upgrade(location, None, CLUSTER, None)
    assert "already" in clickhouse_admin.upgrade(location, None, None, None)
    with pytest.raises(ConfigError, match="new database"):
        clickhouse_admin.upgrade(location, None, "other", None)
    hosts = [made(200, place=place, days=3) for place in range(4)]
    for host in hosts:
        shipped(ClickHouseTarget(location, lambda: None), host, 100)
    for server in shards:
        content = clickhouse_admin.content(central(server.url("fleet")), None)
        assert (800, 4, 2, CLUSTER) == (content.execs, content.hosts, content.servers, content.cluster)
    clickhouse_admin.prune(location, None, 1_800_000_000 * 10**9)
    assert 0 == clickhouse_admin.content(location, None).execs
    shards.servers[1].kill()
    with pytest.raises(StoreError):
        clickhouse_admin.content(location, None)


def test_what_goes_wrong_is_one_line(clickhouse: ClickHouse, clickhouse_database: str) -> None:
    """With the next step."""
    lines = {
        f"clickhouse://127.0.0.1:{free_port()}/x": "nobody listens",
        "clickhouse://nowhere.invalid:9000/x?secure=0": "no host of this name",
        clickhouse.url("nothing"): "db upgrade",
        clickhouse_database: "no central database",
        clickhouse_database + "?secure=1": "TLS",
    }
    for url, expected in lines.items():
        with pytest.raises(StoreError) as caught, clickhouse_of(url) as opened:
            check_revision(opened)
        assert expected in said(caught.value), url
    for url in (clickhouse_database + "?secure=maybe", clickhouse_database + "?connect_timeout=x"):
        with pytest.raises(ConfigError):
            Session(central(url))


def test_tables_of_another_version_are_left_alone(clickhouse: ClickHouse, clickhouse_database: str) -> None:
    """Of a newer one, and of an older one."""
    location = central(clickhouse_database)
    clickhouse_admin.upgrade(location, None, None, None)
    for revision, expected in (("99", "newer"), ("0", "older"), ("x", "newer")):
        clickhouse.execute(
            f"INSERT INTO execaudit_schema (one, revision, cluster) SELECT 1, '{revision}', ''",
            database=location.database or "",
        )
        with pytest.raises(StoreError) as caught, clickhouse_of(clickhouse_database) as opened:
            check_revision(opened)
        assert expected in said(caught.value)


def test_tls_is_verified(modern_clickhouse: ClickHouse, authority: Authority) -> None:
    """The authority and the name count; no option is needed for that off this host."""
    with Proxy(modern_clickhouse.port, tls=authority.context_for("localhost")).serving() as port:
        url = f"clickhouse://localhost:{port}/default?secure=1&ca_certs={authority.certificate}"
        with clickhouse_of(url) as opened:
            assert [(1,)] == opened.execute("SELECT 1 AS one")
        with pytest.raises(StoreError) as caught, clickhouse_of(url.replace("//localhost", "//127.0.0.1")):
            pass
        assert "not who it should be" in said(caught.value)
        with pytest.raises(StoreError) as caught, clickhouse_of(url.partition("&")[0]):
            pass
        assert "not who it should be" in said(caught.value)


def test_a_server_that_dies_is_one_line() -> None:
    """In the middle of a question, too."""
    server = ModernClickHouse()
    with running(server), clickhouse_of(server.url()) as opened:
        assert [(1,)] == opened.execute("SELECT 1 AS one")
        server.kill()
        with pytest.raises(StoreError) as caught:
            opened.execute("SELECT 1 AS one")
    assert said(caught.value)


def test_the_roles_of_the_page_are_statements(modern_clickhouse: ClickHouse) -> None:
    """Whether they allow what they should cannot be tried: the engine knows no users."""
    (block,) = re.findall(r"```text\n-- roles of ClickHouse(.*?)```", _PAGE.read_text(), re.DOTALL)
    statements = [each.strip() for each in block.partition("\n")[2].split(";") if each.strip()]
    assert len(statements) > 10
    for statement in statements:
        modern_clickhouse.execute(f"EXPLAIN AST {statement}")


def test_a_missing_driver_is_one_line() -> None:
    """It says what to install."""
    program = (
        "import sys; sys.modules['clickhouse_driver'] = None\n"
        "from execaudit.database.url import location_of\n"
        "from execaudit.central import clickhouse\n"
        "try:\n    clickhouse.Session(location_of('clickhouse://h/x'))\n"
        "except Exception as exc:\n    print(exc)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert 'pip install "execaudit[clickhouse]"' in done.stdout
    assert not done.stderr
