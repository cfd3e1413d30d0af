"""Warn about connections to SQLite that nobody closes, as Python itself does from 3.13 on."""

from __future__ import annotations

import functools
import sqlite3
import sys
import warnings
from typing import Any

_FACTORY = 5
"""The position of the connection's class in the arguments of connect()."""


def watch() -> None:
    """Watches each connection that this process opens from now on."""
    connect = sqlite3.connect

    @functools.wraps(connect)
    def watched(*arguments: Any, **named: Any) -> sqlite3.Connection:  # noqa: ANN401  # its own
        before, factory, after = (
            arguments[:_FACTORY],
            arguments[_FACTORY : _FACTORY + 1],
            arguments[_FACTORY + 1 :],
        )
        if factory:
            arguments = (*before, _watched(*factory), *after)
        else:
            named["factory"] = _watched(named.get("factory", sqlite3.Connection))
        connection: sqlite3.Connection = connect(*arguments, **named)
        return connection

    # SQLAlchemy imports connect() from the module in which it is defined.
    for module in ("sqlite3", "sqlite3.dbapi2"):
        vars(sys.modules[module])["connect"] = watched


@functools.cache
def _watched(kind: type[sqlite3.Connection]) -> type[sqlite3.Connection]:
    class Watched(kind):  # type: ignore[misc, valid-type]  # whichever it is
        is_open = False

        def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401  # its own
            super().__init__(*arguments, **named)
            self.is_open = True

        def close(self) -> None:
            super().close()
            self.is_open = False

        def __del__(self) -> None:
            if self.is_open:
                warnings.warn(f"unclosed database in {self!r}", ResourceWarning, source=self, stacklevel=2)

    return Watched
