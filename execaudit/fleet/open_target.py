"""Choose what writes into a central database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.database.url import Engine
from execaudit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from execaudit.database.url import Central
    from execaudit.fleet.target import Target


def open_target(location: Central, password: Callable[[], str | None]) -> Target:
    """Returns what ships there; `password` is asked for each connection. Nothing is connected yet.

    Raises ConfigError for an engine that is not known.
    """
    if location.engine is Engine.POSTGRESQL:
        from execaudit.fleet.postgresql_target import PostgresTarget  # noqa: PLC0415  # of its engine alone

        return PostgresTarget(location, password)
    raise ConfigError(
        f"cannot forward to {location.engine.value}://...", fix="this version forwards to postgresql://..."
    )
