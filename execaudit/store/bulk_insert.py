"""INSERT statements for some dozens of rows, which cost SQLite and its driver half for a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.store.engine import driver_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import sqlalchemy as sa

# So many rows a statement. The program of a larger one does not fit into the caches of a processor.
_ROWS = (32, 8)
NOTHING = -(2**63)
"""Stands for NULL in columns that are often NULL: the driver takes six times as long for None."""


class BulkInsert:
    """Inserts rows of one table."""

    def __init__(self, table: str, columns: Sequence[str], *, often_null: Collection[str] = ()) -> None:
        """Names a table and its columns, and those whose values may be NOTHING."""
        values = [f"nullif(?, {NOTHING})" if column in often_null else "?" for column in columns]
        row = f"({', '.join(values)})"
        self._width = len(columns)
        self._one = f"INSERT INTO {table} ({', '.join(columns)}) VALUES {row}"  # noqa: S608  # ours
        self._many = [(rows * self._width, self._one + f", {row}" * (rows - 1)) for rows in _ROWS]

    def insert(self, connection: sa.Connection, values: list[object]) -> None:
        """Inserts rows of short values: the driver copies all values of a statement.

        `values` has the rows one after the other: so no tuple is made for each.
        """
        execute, start = driver_of(connection).cursor().execute, 0
        for count, statement in self._many:
            while len(values) - start >= count:
                execute(statement, values[start : start + count])
                start += count
        if start < len(values):
            self.insert_each(connection, values[start:])

    def insert_each(self, connection: sa.Connection, values: list[object]) -> None:
        """Inserts rows one by one: a long value is in memory twice only while its own row is written."""
        rows = [tuple(values[at : at + self._width]) for at in range(0, len(values), self._width)]
        connection.exec_driver_sql(self._one, rows)
