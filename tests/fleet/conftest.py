"""Servers for the tests of central databases."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.fleet.centre import Centre, make_central
from tests.fleet.clickhouse_servers import ClickHouse, ModernClickHouse, OldClickHouse, Shards
from tests.fleet.proxies import Authority
from tests.fleet.servers import PostgresServer, debian_postgres, running

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONG = pytest.mark.long_fleet


_POSTGRES = ["18", pytest.param("15", marks=_LONG)]


def _new_postgres(request: pytest.FixtureRequest) -> PostgresServer:
    return PostgresServer(programs=debian_postgres() if request.param == "15" else None)


@pytest.fixture(scope="session", params=_POSTGRES)
def postgres(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """Returns a PostgreSQL server that all tests share: to be left running."""
    server = _new_postgres(request)
    with running(server):
        yield server


@pytest.fixture
def postgres_database(postgres: PostgresServer) -> Iterator[str]:
    """Returns the URL of an empty database of PostgreSQL, its owner's."""
    name = postgres.new_database()
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def _made_centre(postgres: PostgresServer) -> str:
    name = postgres.new_database()
    make_central(postgres.url(name))
    return name


@pytest.fixture
def centre(postgres: PostgresServer, _made_centre: str) -> Iterator[Centre]:
    """Returns a central database in PostgreSQL to which nothing was forwarded."""
    name = postgres.new_database(like=_made_centre)
    yield Centre(postgres.url(name))
    postgres.drop_database(name)


@pytest.fixture(params=_POSTGRES)
def own_postgres(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """Returns a PostgreSQL server of the test's own: to be stopped, killed and put back."""
    server = _new_postgres(request)
    with running(server):
        yield server


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Returns an authority for certificates."""
    return Authority(tmp_path_factory.mktemp("authority"))


def pytest_configure(config: pytest.Config) -> None:
    """Names the marker."""
    config.addinivalue_line(
        "markers", "long_fleet: takes long, or needs servers that only `make test-fleet` installs"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what only `make test-fleet` runs."""
    if config.getoption("--all-servers"):
        return
    left_out = [item for item in items if item.get_closest_marker(_LONG.name)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def modern_clickhouse() -> Iterator[ClickHouse]:
    """Returns a server with a modern engine that all tests share: to be left running."""
    server = ModernClickHouse()
    with running(server):
        yield server


@pytest.fixture(scope="session")
def old_clickhouse() -> Iterator[ClickHouse]:
    """Returns Debian's ClickHouse that all tests share: to be left running."""
    server = OldClickHouse()
    with running(server):
        yield server


@pytest.fixture(params=["modern", pytest.param("old", marks=_LONG)])
def clickhouse(request: pytest.FixtureRequest) -> ClickHouse:
    """Returns a server of ClickHouse that all tests share: to be left running."""
    server: ClickHouse = request.getfixturevalue(f"{request.param}_clickhouse")
    return server


@pytest.fixture
def clickhouse_database(clickhouse: ClickHouse) -> Iterator[str]:
    """Returns the URL of an empty database of ClickHouse."""
    name = clickhouse.new_database()
    yield clickhouse.url(name)
    clickhouse.drop_database(name)


@pytest.fixture
def shards() -> Iterator[Shards]:
    """Returns two servers as shards, of the test's own. For tests marked long_fleet."""
    both = Shards()
    with ExitStack() as stack:
        for server in both:
            stack.enter_context(running(server))
        yield both
