"""The connection of a reader: it keeps what our own SQL functions raise."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from execaudit.errors import ExecauditError


class Connection(sqlite3.Connection):
    """SQLite replaces what a function of ours raises by an error of its own, which says nothing."""

    failure: ExecauditError | None = None
    """What the statement was ended for."""
