"""Choose what writes into a central database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.database.url import Engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from execaudit.database.url import Central
    from execaudit.forward.target import Target


def open_target(location: Central, password: Callable[[], str | None]) -> Target:
    """Returns what ships there; `password` is asked for each connection. Nothing is connected yet."""
    if location.engine is Engine.POSTGRESQL:
        from execaudit.forward.postgresql_target import PostgresTarget  # noqa: PLC0415  # of its engine alone

        return PostgresTarget(location, password)
    from execaudit.forward.clickhouse_target import ClickHouseTarget  # noqa: PLC0415  # as above

    return ClickHouseTarget(location, password)
