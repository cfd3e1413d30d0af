"""Make more days of a fleet in ClickHouse, on the server itself, where shipping would take too long.

`python -m bench.fleet_days clickhouse://default@127.0.0.1/whole day 10` fills `whole`, which `db upgrade`
has made, with ten days of the execs of the database `day`, which bench.fleet has filled with one day. Of each
exec the time, the number and the parent's are another one each day. Its command line is the same.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from bench.fleet_hosts import DAY_NS
from execaudit.central.clickhouse import session
from execaudit.central.clickhouse_schema import columns_of, quoted
from execaudit.central.tables import EXEC, EXIT, GAP, PROGRAM, RUN, STREAM
from execaudit.database.url import Central, location_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from execaudit.central.tables import Table

# More than any host has in a day, in the sizes that were measured.
_EACH_DAY = 10_000_000
_BLOCK: dict[str, object] = {"max_threads": 1, "max_insert_block_size": 1_048_576}


def _copied(table: Table, source: str, moved: Mapping[str, int]) -> str:
    """Returns the statement that copies all rows of a table, with numbers added to some columns."""
    columns = columns_of(table)
    values = ", ".join(quoted(name) + (f" + {moved[name]}" if name in moved else "") for name in columns)
    into = f"{quoted(table.name)} ({', '.join(map(quoted, columns))})"
    return f"INSERT INTO {into} SELECT {values} FROM {quoted(source)}.{quoted(table.name)}"  # noqa: S608  # ours


def main() -> None:
    """Prints how long each day takes."""
    url, source, days = sys.argv[1], sys.argv[2], int(sys.argv[3])
    location = location_of(url)
    if not isinstance(location, Central):
        raise SystemExit(__doc__)
    with session(location) as opened:
        for table in (STREAM, RUN, GAP):
            opened.execute(_copied(table, source, {}))
        opened.execute(_copied(PROGRAM, source, {"first_ts": -(days - 1) * DAY_NS}))
        for day in range(days):
            begun = time.perf_counter()
            number = day * _EACH_DAY
            moved = {"ts": (day + 1 - days) * DAY_NS, "seq": number, "parent": number, "replaced_by": number}
            opened.execute(_copied(EXEC, source, moved), None, **_BLOCK)
            opened.execute(_copied(EXIT, source, {**moved, "id": number}), None, **_BLOCK)
            count = opened.execute("SELECT count() FROM exec")[0][0]
            print(f"{count:>11} execs  {time.perf_counter() - begun:>6.1f} s for this day", flush=True)


if __name__ == "__main__":
    main()
