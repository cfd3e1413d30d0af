"""The grants that docs/fleet.md has for ClickHouse are enough for what forwarders and readers ask."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from execaudit.central.clickhouse import Session
from execaudit.central.clickhouse_schema import IS_SANE, RECENT, VERSION_TABLE
from execaudit.central.tables import TABLES
from execaudit.fleet.central import open_engine
from execaudit.fleet.heard import heard
from execaudit.forward.clickhouse_target import ClickHouseTarget
from execaudit.query.filter import Filter
from tests.fleet.centre import central, make_central, ship
from tests.fleet.recording import appended
from tests.fleet.test_central_clickhouse import opened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.fleet.clickhouse_servers import ClickHouse

_PAGE = Path(__file__).parents[2] / "docs/fleet.md"
_GRANT = re.compile(r"GRANT (\w+)(?:\(([^)]*)\))? ON ([\w.*]+) TO (\w+)")
_COLUMNS = {
    **{table.name: {*table.names, RECENT, IS_SANE} for table in TABLES},
    VERSION_TABLE: {"revision", "cluster"},
}
_TABLE = re.compile(r"(?:FROM|JOIN|INTO)\s+[`\"]?([\w.]+)[`\"]?")


def _granted(role: str) -> dict[tuple[str, str], set[str]]:
    """Returns the columns that a role may have of each table, by what it may do; an empty set is all."""
    (block,) = re.findall(r"```text\n-- roles of ClickHouse(.*?)```", _PAGE.read_text(), re.DOTALL)
    found: dict[tuple[str, str], set[str]] = {}
    for what, columns, table, whose in _GRANT.findall(block):
        if whose == role:
            name = table.removeprefix("execaudit.")
            found[what, name] = {*re.findall(r"\w+", columns)}
    return found


def _touched(statements: Sequence[str]) -> dict[tuple[str, str], set[str]]:
    """Returns the columns that statements name of each table, by what they do."""
    found: dict[tuple[str, str], set[str]] = {}
    for statement in statements:
        what = statement.split()[0]
        for table in _TABLE.findall(statement):
            names = {*re.findall(r"\w+", statement)} & _COLUMNS.get(table, set())
            found.setdefault((what, table), set()).update(names)
    return found


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collects all statements."""
    statements: list[str] = []
    execute, insert = Session.execute, Session.insert

    def _execute(self: Session, statement: str, *more: Any, **settings: Any) -> Any:  # noqa: ANN401
        statements.append(statement)
        return execute(self, statement, *more, **settings)

    def _insert(self: Session, statement: str, *more: Any, **settings: Any) -> Any:  # noqa: ANN401
        statements.append(statement)
        return insert(self, statement, *more, **settings)

    monkeypatch.setattr(Session, "execute", _execute)
    monkeypatch.setattr(Session, "insert", _insert)
    return statements


@pytest.fixture
def url(modern_clickhouse: ClickHouse) -> str:
    """Returns the URL of a database with empty tables."""
    return make_central(modern_clickhouse.url(modern_clickhouse.new_database()))


def _assert_enough(said: list[str], role: str) -> None:
    granted = _granted(role)
    for (what, table), columns in _touched(said).items():
        its = granted.get((what, table), granted.get((what, "*")) if "." not in table else None)
        assert its is not None, (what, table)
        assert not its or columns <= its, (what, table)


def test_a_forwarder_may_what_it_does(
    modern_clickhouse: ClickHouse, url: str, said: list[str], tmp_path: Path
) -> None:
    """First, again, after its file was put back, and after the server lost rows and days."""
    del said[:]
    path, copy = tmp_path / "x.db", tmp_path / "copy.db"
    appended(path, 1, 100)
    ship(path, url)
    shutil.copy(path, copy)
    appended(path, 101, 200)
    ship(path, url)
    shutil.copy(copy, path)
    appended(path, 1001, 1010)
    ship(path, url)
    for table in ("exec", "exit", "hit"):
        modern_clickhouse.execute(f"TRUNCATE TABLE {table}", database=central(url).database or "")
    ship(path, url)
    target = ClickHouseTarget(central(url), lambda: None)
    for table in ("exec", "exit", "hit"):
        target._has_day(table, 20_000)
    target.close()

    assert {"exec", "exit", "hit", "gap", "rule", "run", "stream", "pruned", "program"} <= {
        table for _, table in _touched(said)
    }
    _assert_enough(said, "execaudit_forward")


def test_a_reader_may_what_it_does(url: str, said: list[str], tmp_path: Path) -> None:
    """All questions of the commands."""
    path = tmp_path / "x.db"
    appended(path, 1, 100)
    ship(path, url)
    del said[:]
    with opened(url) as history:
        found = [*history.find(Filter())]
        numbers = [each.number for each in found]
        history.fetch(numbers)
        history.stats(Filter(), now_ns=0, top=5)
        history.by_host(Filter(hosts=("*",)))
        history.hits_of(numbers)
        history.count_hits(Filter())
        history.sightings(0)
        history.gaps(Filter())
        history.silences((), (), now_ns=0)
        history.complete_until((), now_ns=0, patience_ns=0)
        history.locate(found[0].event.key)
        history.users_of(numbers)
        assert [*history.lineage(numbers)]
        history.descendants(numbers)
        history.has_user(b"root")
        history.uids_of(b"root")
        history.size()
        history.about_how_many()
        history.versions(())
    with open_engine(central(url)) as engine:
        heard(engine, 0)

    _assert_enough(said, "execaudit_read")
