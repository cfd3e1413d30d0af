"""Read a central database in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from execaudit.central.postgresql import translated
from execaudit.central.revision import check_revision
from execaudit.database.revision import REVISION
from execaudit.fleet.dialects import PostgreSQL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import sqlalchemy

    from execaudit.database.url import Central
    from execaudit.fleet.engine import Row, Select

_ACCOUNTS = 'SELECT DISTINCT "uid" FROM "account" WHERE sha256("name") = sha256(%(name)s::bytea) AND "name" = %(name)s'
_SIZE = "SELECT pg_database_size(current_database())"
# Of each partition the planner knows about how many rows it has; -1: it was never looked at.
_ABOUT = "SELECT sum(c.reltuples), min(c.reltuples) FROM pg_partition_tree('exec') AS t JOIN pg_class AS c ON c.oid = t.relid WHERE t.isleaf"  # fmt: skip


class PostgresReader:
    """Reads a central database in PostgreSQL."""

    dialect = PostgreSQL()

    def __init__(self, connection: sqlalchemy.Connection, location: Central) -> None:
        """Raises StoreError if it is no central database of this version."""
        self._connection, self._location = connection, location
        check_revision(location, lambda sql: self.rows(sql, {}))

    def rows(self, sql: str, parameters: Mapping[str, object]) -> list[Row]:
        """Returns the rows of a statement, which psycopg cancels on the server when Ctrl-C interrupts it."""
        with translated(self._location):
            found: Any = self._connection.exec_driver_sql(sql, dict(parameters)).all()
        return found  # type: ignore[no-any-return]  # rows are tuples

    def page(
        self, select: Select, columns: Sequence[str], most_bytes: int, parameters: Mapping[str, object]
    ) -> list[Row]:
        """Returns the first rows. How long a line is stands beside it, so none is read for that."""
        shown, order, size = (
            ", ".join(f'e."{name}"' for name in columns),
            select.order,
            'octet_length(e."argv")',
        )
        before = f'sum({size}) OVER (ORDER BY {order}) - {size} AS "before"'
        sql = (
            f"SELECT {shown} FROM (SELECT e.*, {before} FROM ({select.text(columns)}) AS e) AS e"  # noqa: S608  # ours
            f' WHERE e."before" < {int(most_bytes)} ORDER BY {order}'
        )
        return self.rows(sql, parameters)

    def accounts(self, name: bytes) -> set[int | None]:
        """Returns the uids of users that have a name; None is among them for the user who logged in."""
        return {row[0] for row in self.rows(_ACCOUNTS, {"name": name})}

    def schema(self) -> str:
        """Returns the revision of the schema: this version's."""
        return REVISION

    def size(self) -> int:
        """Returns how many bytes the database has on the server's disks."""
        return int(self.rows(_SIZE, {})[0][0])

    def about_how_many(self) -> int:
        """Returns about how many execs there are."""
        every, least = self.rows(_ABOUT, {})[0]
        if least is not None and least >= 0:
            return int(every)
        return int(self.rows('SELECT count(*) FROM "exec"', {})[0][0])
