"""Read a central database in ClickHouse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from execaudit.central.clickhouse_schema import REVISION
from execaudit.fleet.dialects import ClickHouse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from execaudit.central.clickhouse import Session
    from execaudit.fleet.engine import Row, Select

_SIZE = "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase()"


class ClickHouseReader:
    """Reads over an open session."""

    dialect = ClickHouse()

    def __init__(self, session: Session) -> None:
        self._session = session

    def rows(self, sql: str, parameters: Mapping[str, object]) -> list[Row]:
        """Returns the rows of a statement. When Ctrl-C closes the connection, the server ends it."""
        return self._session.execute(sql, parameters)

    def page(
        self, select: Select, columns: Sequence[str], most_bytes: int, parameters: Mapping[str, object]
    ) -> list[Row]:
        """Returns the first rows. The lengths of lines are read first: old servers cannot add them up."""
        first = f'SELECT length(e."argv") FROM {select.source} ORDER BY {select.order} LIMIT {select.most}'  # noqa: S608  # ours
        left, most = most_bytes, 0
        for (size,) in self.rows(first, parameters):
            if left <= 0:
                break
            left -= size
            most += 1
        return self.rows(select._replace(most=most).text(columns), parameters) if most else []

    def accounts(self, name: bytes) -> set[int | None]:
        """Returns the uids of users that have a name; None is among them for the user who logged in."""
        rows = self.rows('SELECT DISTINCT "uid" FROM "exec" WHERE "user" = {name}', {"name": name})
        logged_in = self.rows('SELECT 1 FROM "exec" WHERE "login_user" = {name} LIMIT 1', {"name": name})
        return {row[0] for row in rows} | ({None} if logged_in else set())

    def schema(self) -> str:
        """Returns the revision of the tables: this version's."""
        return REVISION

    def size(self) -> int:
        """Returns how many bytes the tables have on the disks of the server that is asked."""
        found: Any = self.rows(_SIZE, {})
        return int(found[0][0] or 0)

    def about_how_many(self) -> int:
        """Returns about how many execs there are: what arrived twice counts until it is merged."""
        return int(self.rows('SELECT count() FROM "exec"', {})[0][0])
