"""A history in ClickHouse answers as the file of its host does; in the engine of 2018 and in a modern one."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from execaudit.central.tables import EXEC
from execaudit.database.url import Central, location_of
from execaudit.fleet.central import open_central
from execaudit.query.connection import Reading
from execaudit.query.local_history import LocalHistory
from tests.commands import execaudit
from tests.examples import examples
from tests.families import make_family
from tests.fleet.centre import make_central, ship
from tests.fleet.test_central_history import Asked, questions, same_answers
from tests.query.filter_model import histories, stored

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from execaudit.query.history import History
    from tests.events import Batch
    from tests.fleet.clickhouse_servers import ClickHouse


@contextlib.contextmanager
def opened(url: str) -> Iterator[History]:
    """Opens the central database."""
    location = location_of(url)
    assert isinstance(location, Central)
    with open_central(location, Reading(lambda: None, lambda _reading: None)) as central:
        yield central


def _compare(folder: Path, clickhouse: ClickHouse, batches: list[Batch], asked: Asked) -> None:
    database = clickhouse.new_database()
    url = make_central(clickhouse.url(database))
    with stored(folder, batches) as (connection, _):
        ship(folder / "history.db", url)
        local = LocalHistory(connection)
        with opened(url) as central:
            same_answers(local, central, asked)
    clickhouse.drop_database(database)


@pytest.mark.long_fleet
@examples(20)
@given(histories, questions)
def test_a_modern_engine_gives_the_same_answers(
    tmp_path_factory: pytest.TempPathFactory,
    modern_clickhouse: ClickHouse,
    batches: list[Batch],
    asked: Asked,
) -> None:
    """To filters and expressions of each kind, of counts and of relatives."""
    _compare(tmp_path_factory.mktemp("history"), modern_clickhouse, batches, asked)


@pytest.mark.long_fleet
@examples(20)
@given(histories, questions)
def test_the_server_of_2018_gives_the_same_answers(
    tmp_path_factory: pytest.TempPathFactory, old_clickhouse: ClickHouse, batches: list[Batch], asked: Asked
) -> None:
    """Without joins, recursion and window functions."""
    _compare(tmp_path_factory.mktemp("history"), old_clickhouse, batches, asked)


_COMMANDS = (
    ("query", "--format", "table"),
    ("query", "--format", "csv", "--limit", "4"),
    ("query", "--args-regex", "gcc|ls", "--user", "alice"),
    ("query", "--where", "duration > 10s or exit_code != 0"),
    ("query", "--ok", "--count"),
    ("query", "--user", "alice", "--count"),
    ("query", "--not-under", "pid:910"),
    ("show", "pid:910"),
    ("tree",),
)


_OLD = pytest.mark.long_fleet


@pytest.fixture(scope="module", params=["modern", pytest.param("old", marks=_OLD)])
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A history, and the URL of where it was shipped to. There each exec arrived three times."""
    server: ClickHouse = request.getfixturevalue(f"{request.param}_clickhouse")
    path = make_family(tmp_path_factory.mktemp("family") / "db").path
    database = server.new_database()
    url = make_central(server.url(database))
    ship(path, url)
    _arrive_again(server, database)
    return path, url


def _arrive_again(server: ClickHouse, database: str) -> None:
    """Inserts all execs as they were before they ended, and then as they are."""
    ends = ("duration_ns", "status", "replaced_by")
    running = ", ".join("NULL" if name in ends else f"`{name}`" for name in EXEC.names)
    for statement in (
        "CREATE TABLE kept AS exec",
        "INSERT INTO kept SELECT * FROM exec",
        f"INSERT INTO exec SELECT {running} FROM kept",
        "INSERT INTO exec SELECT * FROM kept",
    ):
        server.execute(statement, database=database)


@pytest.mark.parametrize("words", _COMMANDS, ids=" ".join)
def test_the_same_is_written(family: tuple[Path, str], words: tuple[str, ...]) -> None:
    """Each command, from the file and from the central database, where what came twice counts once."""
    local, central = (execaudit("--db", where, *words) for where in family)

    assert local == central
