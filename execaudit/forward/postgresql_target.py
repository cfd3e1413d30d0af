"""Ship batches into PostgreSQL: each is a transaction that also says what has arrived."""

from __future__ import annotations

import contextlib
import math
import time
from typing import TYPE_CHECKING, Any

from execaudit.central import postgresql
from execaudit.central.postgresql import connected, failure
from execaudit.central.postgresql_functions import DAY_NS
from execaudit.central.postgresql_schema import PROGRAM_KEY, TYPES, quoted
from execaudit.central.revision import check_revision
from execaudit.central.tables import EXEC, NEWEST_DAYS, STREAM
from execaudit.errors import StoreError
from execaudit.forward.target import SIGNATURES, Cursors, LastSeal, MovedError, RefusedError, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import psycopg

    from execaudit.central.tables import Table
    from execaudit.database.url import Central
    from execaudit.forward.target import Batch, Row

    _Cursor = psycopg.Cursor[tuple[Any, ...]]

_DATA_ERRORS = ("22", "23514", "54")
"""SQLSTATEs of a value that the server does not take, a CHECK refuses, or an index cannot hold."""
# The longest that a statement takes, and that the server waits for the next one in a transaction: a host that
# went without a word holds up who comes after it, for its row of `stream` is locked.
_STATEMENT_MS, _SILENT_MS = 600_000, 60_000
# Times of other days stay in the default partition. A host's clock may have any number of them.
_MOST_DAYS = 1000
# A day that got no partition is asked for again: what held it up may be over.
_AGAIN_SECONDS = 600.0
# The server looks as well whether the host is there; 0 on a Unix socket, which has no such thing.
_ALIVE = "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"
_LATEST = 2**63 - 1
_DAYS_OF = (
    'SELECT DISTINCT s."day" FROM unnest(%s::int8[]) AS n JOIN "span" AS s'
    ' ON s."first_seq" <= n AND s."last_seq" >= n WHERE s."stream" = %s ORDER BY 1'
)
_SELECT_STREAMS = f'SELECT {quoted(*STREAM.names)} FROM "stream" WHERE "stream_id" = %s'  # noqa: S608  # ours

_LAST_SEAL = (
    'SELECT "id", "number", "last_epoch", "hash", "shifts" FROM "seal" WHERE "stream" = %s'
    ' ORDER BY "id" DESC LIMIT 1'
)


def _insert(table: Table, source: str) -> str:
    """Returns the statement that takes rows: an append-only one stays, another is replaced."""
    columns = quoted(*table.names)
    start = f'INSERT INTO "{table.name}" ({columns}) {source}'
    if table.is_append_only:
        # Without naming the key: so it may be inserted without the right to read.
        return f"{start} ON CONFLICT DO NOTHING"
    replaced = ", ".join(f'"{name}" = excluded."{name}"' for name in table.names if name not in table.key)
    return f"{start} ON CONFLICT ({quoted(*table.key)}) DO UPDATE SET {replaced}"


_MOVE = (
    f'UPDATE "stream" SET {", ".join(f"{quoted(name)} = %s" for name in STREAM.names[1:])} WHERE "stream" = %s AND '  # noqa: S608  # ours
    + " AND ".join(f'"{name}" = %s' for name in Cursors._fields)
)
_BEGIN = (
    f'INSERT INTO "stream" ({quoted(*STREAM.names)}) VALUES ({", ".join(["%s"] * len(STREAM.names))})'  # noqa: S608  # ours
    " ON CONFLICT DO NOTHING"
)
# The earliest time counts. Sorted, so that two hosts do not wait for each other.
_PROGRAMS = (
    'INSERT INTO "program" ("exe", "stream", "first_ts") SELECT "exe", "stream", min("ts") FROM "new_exec"'  # noqa: S608  # ours
    f' WHERE "exe" IS NOT NULL GROUP BY "exe", "stream" ORDER BY "stream", "exe" ON CONFLICT ({PROGRAM_KEY})'
    ' DO UPDATE SET "first_ts" = excluded."first_ts" WHERE "program"."first_ts" > excluded."first_ts"'
)


class PostgresTarget:
    """A central database in PostgreSQL."""

    def __init__(self, location: Central, password: Callable[[], str | None]) -> None:
        """Takes where it is, and what returns the password, which may change."""
        self._location, self._password = location, password
        self._open: contextlib.ExitStack | None = None
        self._driver: psycopg.Connection[tuple[Any, ...]] | None = None
        self._days: dict[int, float] = {}
        """Which days were asked for, and the monotonic time when they are asked for again."""

    def rest(self) -> None:
        """Closes the connection, which is a process of the server."""
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        opened, self._open, self._driver = self._open, None, None
        self._days = {}
        if opened is not None:
            # It may be broken.
            with contextlib.suppress(StoreError):
                opened.close()

    def streams(self, stream_id: bytes) -> Sequence[Stream]:
        """Returns the streams of a history."""
        with self._cursor() as cursor:
            return [Stream.from_row(row) for row in cursor.execute(_SELECT_STREAMS, (stream_id,))]

    def signatures(self, table: Table, stream: int, numbers: Sequence[int]) -> Mapping[int, tuple[int, ...]]:
        """Returns what tells rows apart, by their numbers."""
        number, *others = SIGNATURES[table.name]
        sql = (
            f"SELECT {quoted(number, *others)} FROM {quoted(table.name)}"  # noqa: S608  # ours
            f" WHERE {quoted('stream')} = %s AND {quoted(number)} = ANY(%s)"
        )
        found: dict[int, tuple[int, ...]] = {}
        with self._cursor() as cursor:
            if table is not EXEC:
                cursor.execute(sql.encode(), (stream, [*numbers]))
                return {row[0]: row[1:] for row in cursor}
            # Only these days are planned.
            for (day,) in cursor.execute(_DAYS_OF.encode(), ([*numbers], stream)).fetchall():
                low = day * DAY_NS
                of_day = f'{sql} AND "ts" >= {low} AND "ts" <= {min(low + DAY_NS - 1, _LATEST)}'
                cursor.execute(of_day.encode(), (stream, [*numbers]))
                found.update((row[0], row[1:]) for row in cursor)
        return found

    def last_seal(self, stream: int) -> LastSeal | None:
        """Returns the piece of seals that arrived last."""
        with self._cursor() as cursor:
            row = cursor.execute(_LAST_SEAL, (stream,)).fetchone()
        return None if row is None else LastSeal(row[0] + 1, *row[1:])

    def send(self, batch: Batch) -> None:
        """Ships a batch in one transaction."""
        with self._cursor() as cursor:
            self._add_days(cursor, batch)
            with cursor.connection.transaction():
                _move(cursor, batch)
                for table, rows in batch.rows.items():
                    _write(cursor, table, rows)

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[_Cursor]:
        """Opens a connection if there is none. Raises StoreError, also for the body."""
        import psycopg  # noqa: PLC0415  # heavy

        try:
            if self._driver is None:
                self._connect()
            if self._driver is None:
                raise AssertionError("a connection was opened")
            with self._driver.cursor() as cursor:
                yield cursor
        except psycopg.Error as exc:
            state = exc.sqlstate or ""
            # A number that is too large is found by the client.
            if state.startswith(_DATA_ERRORS) or (isinstance(exc, psycopg.DataError) and not state):
                raise RefusedError(str(failure(self._location, exc))) from exc
            raise failure(self._location, exc) from exc

    def _connect(self) -> None:
        with contextlib.ExitStack() as opened:
            connection = opened.enter_context(
                connected(self._location, password=self._password(), reads=False)
            )
            driver: Any = connection.connection.driver_connection
            check_revision(self._location, lambda sql: driver.execute(sql).fetchall())
            driver.execute(
                f"SET statement_timeout = {_STATEMENT_MS}; SET lock_timeout = '{postgresql.LOCK_SECONDS}s';"
                f" SET idle_in_transaction_session_timeout = {_SILENT_MS}; {_ALIVE}"
            )
            self._driver, self._open = driver, opened.pop_all()

    def _add_days(self, cursor: _Cursor, batch: Batch) -> None:
        """Has partitions made for the days of a batch, in transactions of their own."""
        found = {
            row[place] // DAY_NS
            for table, rows in batch.rows.items()
            if table.day is not None
            for place in (table.names.index(table.day),)
            for row in rows
        }
        today = time.time_ns() // DAY_NS
        if today in found:
            # So a day is there before all hosts come with its first exec.
            found |= set(range(today, today + NEWEST_DAYS))
        if len(self._days) >= _MOST_DAYS:
            self._days = {}
        now = time.monotonic()
        for day in sorted(day for day in found if self._days.get(day, now) <= now):
            self._days[day] = now + _AGAIN_SECONDS
            # Of days that have no name in SQL there are no partitions.
            if 0 <= day < _MOST_DAYS * 1000:
                cursor.execute("SELECT execaudit_add_day(DATE '1970-01-01' + %s::int4)", (day,))
                if cursor.fetchall()[0][0]:
                    self._days[day] = math.inf


def _move(cursor: _Cursor, batch: Batch) -> None:
    """Moves the cursors of the stream. Nobody else writes to it until the end of the transaction."""
    row = batch.stream.row()
    if batch.before is None:
        cursor.execute(_BEGIN.encode(), row)
    else:
        cursor.execute(_MOVE.encode(), (*row[1:], row[0], *batch.before))
    if cursor.rowcount != 1:
        raise MovedError(
            "the central database has other rows of this host than it had",
            fix="it is asked again; if this comes again and again, two hosts forward copies of one history,"
            " or another user of the database shipped it before: see docs/fleet.md",
        )


def _write(cursor: _Cursor, table: Table, rows: Sequence[Row]) -> None:
    """Writes rows through a temporary table: COPY alone knows no conflicts."""
    new = f"new_{table.name}"
    columns = ", ".join(f'"{column.name}" {TYPES[column.type]}' for column in table.columns)
    cursor.execute(f'CREATE TEMP TABLE "{new}" ({columns}) ON COMMIT DROP'.encode())
    with cursor.copy(f'COPY "{new}" FROM STDIN WITH (FORMAT BINARY)'.encode()) as copy:
        copy.set_types([TYPES[column.type] for column in table.columns])
        for row in rows:
            copy.write_row(row)
    cursor.execute(_insert(table, f'SELECT * FROM "{new}"').encode())  # noqa: S608  # ours
    if table is EXEC:
        cursor.execute(_PROGRAMS.encode())
