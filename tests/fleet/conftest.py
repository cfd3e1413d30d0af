"""Servers for the tests of central databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fleet.proxies import Authority
from tests.fleet.servers import PostgresServer, running

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Returns a PostgreSQL server that all tests share: to be left running."""
    server = PostgresServer()
    with running(server):
        yield server


@pytest.fixture
def postgres_database(postgres: PostgresServer) -> Iterator[str]:
    """Returns the URL of an empty database of PostgreSQL, its owner's."""
    name = postgres.new_database()
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """Returns a PostgreSQL server of the test's own: to be stopped, killed and put back."""
    server = PostgresServer()
    with running(server):
        yield server


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Returns an authority for certificates."""
    return Authority(tmp_path_factory.mktemp("authority"))
