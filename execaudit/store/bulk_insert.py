"""INSERT statements for many rows: a hundred rows each, which costs SQLite and its driver half for a row."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

# Of the widest table these are 1800 values; SQLite takes 32 766.
_ROWS = 100


class BulkInsert:
    """Inserts rows of one table."""

    def __init__(self, table: str, columns: Sequence[str]) -> None:
        """Names a table and its columns."""
        row = f"({', '.join('?' * len(columns))})"
        self._one = f"INSERT INTO {table} ({', '.join(columns)}) VALUES {row}"  # noqa: S608  # ours
        self._hundred = self._one + f", {row}" * (_ROWS - 1)

    def insert(self, connection: sa.Connection, rows: Sequence[tuple[object, ...]]) -> None:
        """Inserts rows of short values: the driver copies all values of a statement."""
        # exec_driver_sql, not insert(): half the CPU for a row, measured.
        whole = len(rows) - len(rows) % _ROWS
        for start in range(0, whole, _ROWS):
            connection.exec_driver_sql(self._hundred, tuple(chain.from_iterable(rows[start : start + _ROWS])))
        if whole < len(rows):
            self.insert_each(connection, rows[whole:])

    def insert_each(self, connection: sa.Connection, rows: Sequence[tuple[object, ...]]) -> None:
        """Inserts rows one by one: a long value is in memory twice only while its own row is written."""
        connection.exec_driver_sql(self._one, list(rows))
