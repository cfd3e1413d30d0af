"""Drop old days of a central database in PostgreSQL, and say what is there."""

from __future__ import annotations

import contextlib
import re
import time
from typing import TYPE_CHECKING, Any

from execaudit.central.content import Content, Pruned
from execaudit.central.postgresql import connected, failure
from execaudit.central.postgresql_functions import DAY_NS
from execaudit.central.postgresql_schema import quoted
from execaudit.central.revision import check_revision
from execaudit.central.tables import EXEC, NEWEST_DAYS, OLDEST_DAYS, TABLES
from execaudit.database.revision import REVISION

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from execaudit.database.url import Central

    _Cursor = psycopg.Cursor[tuple[Any, ...]]

_BY_DAY = tuple(table for table in TABLES if table.day is not None)
_PARTITIONS = (
    "SELECT c.relname, (substring(c.relname FROM '_([0-9]{8})$')::date - DATE '1970-01-01')::int8 FROM pg_inherits AS i"
    " JOIN pg_class AS c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass(%s)"
)
_NAME = re.compile(r"[a-z]+_[0-9]{8}")
_CONTENT = 'SELECT count(*), min("ts"), max("ts") FROM "exec"'
_STREAMS = 'SELECT count(*), count(DISTINCT "host") FROM "stream"'
_NOTE = 'INSERT INTO "dropped" ("stream", "at_ns", "before_ns", "keep_ns") VALUES (0, %s, %s, 0) ON CONFLICT DO NOTHING'
_WAIT = "SET lock_timeout = '20s'"


def add_days(location: Central, password: str | None) -> None:
    """Makes the partitions of yesterday and of the next days, and of those whose execs came before them.

    Each is a transaction: who ships into a default partition waits for one of them. Raises StoreError.
    """
    with _opened(location, password) as cursor:
        _add_days(cursor)


def _add_days(cursor: _Cursor) -> None:
    today = _number(cursor, "SELECT (now() AT TIME ZONE 'UTC')::date - DATE '1970-01-01'")
    wanted = set(range(today - 1, today + NEWEST_DAYS))
    for table in _BY_DAY:
        cursor.execute(
            f"SELECT d FROM generate_series({today - OLDEST_DAYS}, {today + NEWEST_DAYS}) AS d WHERE EXISTS"  # noqa: S608  # ours
            f' (SELECT FROM "{table.name}_default" AS r'
            f' WHERE r."ts" >= d * {DAY_NS} AND r."ts" < (d + 1) * {DAY_NS})'.encode()
        )
        wanted |= {day for (day,) in cursor.fetchall()}
    for day in sorted(wanted):
        cursor.execute("SELECT execaudit_make_day(DATE '1970-01-01' + %s::int4, NULL, NULL)", (day,))


def prune(location: Central, password: str | None, before_ns: int, *, dry_run: bool = False) -> Pruned:
    """Drops whole days before a time, and makes the next ones. Raises StoreError.

    What a mad clock said of 1970 stays.
    """
    before_day = before_ns // DAY_NS
    days: set[int] = set()
    execs = size = 0
    with _opened(location, password) as cursor:
        if not dry_run:
            # First, so that nobody takes it for something else.
            cursor.execute(_NOTE, (time.time_ns(), before_day * DAY_NS))
        for table in _BY_DAY:
            cursor.execute(_PARTITIONS, (quoted(table.name),))
            for name, day in cursor.fetchall():
                if day is None or day >= before_day or not _NAME.fullmatch(name):
                    continue
                days.add(day)
                size += _number(cursor, f"SELECT pg_total_relation_size('{quoted(name)}')")
                execs += _number(cursor, f"SELECT count(*) FROM {quoted(name)}") if table is EXEC else 0  # noqa: S608  # ours
                if not dry_run:
                    cursor.execute(f"DROP TABLE {quoted(name)}".encode())
            # Days that were never made, because they were too long ago, or had rows before.
            old = f'FROM "{table.name}_default" WHERE "ts" >= {DAY_NS} AND "ts" < {before_day * DAY_NS}'
            execs += _number(cursor, f"SELECT count(*) {old}") if table is EXEC else 0
            if not dry_run:
                cursor.execute(f"DELETE {old}".encode())
        if not dry_run:
            cursor.execute('DELETE FROM "gap" WHERE "ts_to" < %s', (before_ns,))
            cursor.execute('DELETE FROM "span" WHERE "day" > 0 AND "day" < %s', (before_day,))
            _add_days(cursor)
    return Pruned(len(days), execs, size)


def content(location: Central, password: str | None) -> Content:
    """Returns what the database has. Raises StoreError."""
    with _opened(location, password) as cursor:
        size = _number(cursor, "SELECT pg_database_size(current_database())")
        execs, first, last = cursor.execute(_CONTENT).fetchall()[0]
        streams, hosts = cursor.execute(_STREAMS).fetchall()[0]
    return Content(REVISION, None, 1, size, execs, first, last, hosts, streams)


def _number(cursor: _Cursor, sql: str) -> int:
    return int(cursor.execute(sql.encode()).fetchall()[0][0])


@contextlib.contextmanager
def _opened(location: Central, password: str | None) -> Iterator[_Cursor]:
    """Opens a database of this version's schema; each statement is a transaction. Raises StoreError."""
    import psycopg  # noqa: PLC0415  # heavy

    with connected(location, password=password, reads=False) as connection:
        driver: Any = connection.connection.driver_connection
        check_revision(location, lambda sql: driver.execute(sql).fetchall())
        try:
            driver.execute(_WAIT)
            with driver.cursor() as cursor:
                yield cursor
        except psycopg.Error as exc:
            raise failure(location, exc) from exc
