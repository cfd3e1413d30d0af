"""Read a central database in ClickHouse."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from execaudit.central.clickhouse_schema import DAY_NS, REVISION
from execaudit.fleet.conditions import Conditions
from execaudit.fleet.days import ANY_TIME
from execaudit.fleet.dialects import ClickHouse
from execaudit.fleet.engine import Select
from execaudit.fleet.walk import source_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from execaudit.central.clickhouse import Session
    from execaudit.fleet.engine import Row

_SIZE = "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase()"
# More are in most granules of a day: to read these all is faster than to look for each key.
_MOST_NAMED = 250


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
        """Returns the first rows.

        Their keys are read first, so that few rows are read whole; and the lengths of lines, because old
        servers cannot add them up.
        """
        first = (
            f'SELECT e."ts", e."stream", e."seq", length(e."argv") FROM {select.source}'  # noqa: S608  # ours
            f" ORDER BY {select.order} LIMIT {select.most}"
        )
        left, keys = most_bytes, []
        for ts, stream, seq, size in self.rows(first, parameters):
            if left <= 0:
                break
            left -= size
            keys.append((ts, stream, seq))
        if len(keys) > _MOST_NAMED:
            return self.rows(select._replace(most=len(keys)).text(columns), parameters)
        found: list[Row] = []
        # Of each day alone: all columns of all parts of a month are more than a server's memory.
        for _, of_day in groupby(keys, key=lambda key: key[0] // DAY_NS):
            some = [*of_day]
            conditions = Conditions(self.dialect)
            times = [ts for ts, _, _ in some]
            said = [
                self.dialect.keys(('e."stream"', 'e."seq"'), [key[1:] for key in some], conditions.bind),
                f'e."ts" >= {conditions.bind(min(times))}',
                f'e."ts" <= {conditions.bind(max(times))}',
            ]
            chosen = Select(source_of(self, said, conditions, ANY_TIME), select.order, len(some))
            found += self.rows(chosen.text(columns), conditions.parameters)
        return found

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
