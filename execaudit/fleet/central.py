"""Open a central database."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from execaudit.central.password import password
from execaudit.database.url import Engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from execaudit.database.url import Central
    from execaudit.fleet.engine import Engine as Reader
    from execaudit.query.connection import Reading
    from execaudit.query.history import History


@contextlib.contextmanager
def open_central(location: Central, reading: Reading, password_file: Path | None = None) -> Iterator[History]:
    """Opens a central database for reading; `reading` is told how far a search is.

    `password_file`: see password.password(). Raises StoreError, also for what goes wrong while it is open.
    """
    from execaudit.fleet.central_history import CentralHistory  # noqa: PLC0415  # heavy

    with open_engine(location, password_file) as engine:
        yield CentralHistory(engine, reading)


@contextlib.contextmanager
def open_engine(location: Central, password_file: Path | None = None) -> Iterator[Reader]:
    """Opens a central database for statements that read. Raises StoreError as open_central()."""
    secret = password(password_file, os.environ)
    if location.engine is Engine.CLICKHOUSE:
        from execaudit.central import clickhouse  # noqa: PLC0415  # heavy
        from execaudit.fleet.clickhouse_reader import ClickHouseReader  # noqa: PLC0415

        with clickhouse.session(location, secret) as session:
            clickhouse.check_revision(session)
            yield ClickHouseReader(session)
        return
    from execaudit.central import postgresql  # noqa: PLC0415  # heavy
    from execaudit.fleet.postgresql_reader import PostgresReader  # noqa: PLC0415

    with postgresql.connected(location, password=secret, reads=True) as connection:
        yield PostgresReader(connection, location)
