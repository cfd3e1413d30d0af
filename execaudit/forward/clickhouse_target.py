"""Ship batches into ClickHouse, which has no transactions: exactly once all the same.

An insert of one block, of one day and one stream, is there as a whole or not at all. So a batch is some of
these, execs in the order of their numbers, and the stream's row comes last. When it begins, it asks:

- Inserts of a connection that was lost may still run: wait for them.
- Execs are there up to the greatest number, because the next block is only sent when this one is there. Where
  a host's clock jumps to and fro that would be a block for each exec: then each day is one block, and the
  batch is noted before as sent lately, so its rows are counted.
- Of later ends and hits those that are there are left out.
- A server that lost its last seconds in a power cut lacks any of the last blocks: see recent_blocks.

What still came twice (an insert that the server had received, and not begun, when it was asked) has the same
key, and modern servers know the block again by its name.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from array import array
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, NamedTuple

from execaudit.central.clickhouse import Session, check_revision
from execaudit.central.clickhouse_schema import (
    DAY_NS,
    Layout,
    columns_of,
    group_of,
    insert_statement,
    quoted,
)
from execaudit.central.tables import EXEC, EXIT, GAP, HIT, PROGRAM, RULE, STREAM
from execaudit.errors import StoreError
from execaudit.forward import recent_blocks
from execaudit.forward.recent_blocks import Range
from execaudit.forward.target import SIGNATURES, Cursors, LastSeal, MovedError, RefusedError, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from execaudit.central.tables import Table
    from execaudit.database.url import Central
    from execaudit.forward.target import Batch, Row

_QUERY_ID = "execaudit-{stream}-"
_RUNNING_SECONDS = 60.0
_PAUSE_SECONDS = 0.05
_DAY_SECONDS = 86_400
_MOST_PROGRAMS = 50_000
_MOST_NUMBERS = 5000
# Each block is a part, which the server merges.
_MOST_BLOCKS = 20
_OF_EXECS = frozenset({EXEC, EXIT, HIT})
_SEQ, _TS, _EXE = (EXEC.names.index(name) for name in ("seq", "ts", "exe"))
_SEALS = (
    "SELECT `id`, `number`, `last_epoch`, `hash`, `shifts` FROM `seal` FINAL WHERE `stream` = {stream}"  # noqa: S608  # ours
    f" ORDER BY `id` DESC LIMIT {_MOST_NUMBERS}"
)

# The number of a row, and the cursor up to which all are there.
_NUMBERED = {
    EXEC.name: ("seq", "exec_seq"),
    EXIT.name: ("id", "exit_id"),
    HIT.name: ("seq", "hit_seq"),
    GAP.name: ("id", "gap_id"),
    RULE.name: ("id", "rule_id"),
}


class _Known(NamedTuple):
    """What is at the centre of a stream."""

    stored: Stream
    """Its row."""
    said: Cursors
    """What whoever ships was told."""
    recent: Mapping[str, Sequence[Range]]


class ClickHouseTarget:
    """A central database in ClickHouse. See target.Target."""

    def __init__(self, location: Central, password: Callable[[], str | None]) -> None:
        """Takes where it is, and what returns the password, which may change."""
        self._location, self._password = location, password
        self._session: Session | None = None
        self._layout = Layout((0, 0), "")
        self._server_s = 0.0
        """The server's clock minus monotonic time."""
        self._known: dict[int, _Known] = {}
        self._programs: dict[tuple[int, bytes], int] = {}

    def rest(self) -> None:
        """Closes the connection."""
        if self._session is not None:
            self._session.close()
        self._session = None

    def close(self) -> None:
        """Closes the connection, and forgets what was there."""
        self.rest()
        self._known.clear()
        self._programs.clear()

    def streams(self, stream_id: bytes) -> Sequence[Stream]:
        """Returns the streams with this id, and how far each has arrived. Raises StoreError."""
        found = []
        for row in self._rows("`stream_id` = {id}", {"id": stream_id}):
            stream, recent = Stream.from_row(row[:-1]), recent_blocks.from_json(row[-1])
            self._wait_for_inserts(stream.number)
            arrived = self._arrived(stream, recent)
            self._known[stream.number] = _Known(stream, arrived, recent)
            found.append(stream._replace(cursors=arrived))
        return found

    def signatures(self, table: Table, stream: int, numbers: Sequence[int]) -> Mapping[int, tuple[int, ...]]:
        """Returns what tells rows apart, of those with these numbers that are there. Raises StoreError."""
        if not numbers:
            return {}
        names = SIGNATURES[table.name]
        rows = self._ask(
            f"SELECT {', '.join(map(quoted, names))} FROM {quoted(table.name)}"  # noqa: S608  # ours
            f" WHERE `stream` = {{stream}} AND {quoted(names[0])} IN {{numbers}}",
            {"stream": stream, "numbers": list(numbers)},
        )
        return {row[0]: tuple(row[1:]) for row in rows}

    def last_seal(self, stream: int) -> LastSeal | None:
        """Returns the last piece of seals before the first that is not there. Raises StoreError."""
        rows = self._ask(_SEALS, {"stream": stream})
        if not rows:
            return None
        # What a power cut took comes again. Of long ago nothing is missing, but for days that were dropped.
        place = next((at for at, (one, other) in enumerate(pairwise(rows), 1) if one[0] - other[0] > 1), 0)
        return LastSeal(rows[0][0] + 1, *rows[place][1:])._replace(is_whole=not place)

    def send(self, batch: Batch) -> None:
        """Ships a batch. Raises StoreError: MovedError, RefusedError, or what keeps it from the server."""
        number = batch.stream.number
        known = self._expected(batch)
        if batch.before is None:
            # Whoever reads finds no exec of a stream that it does not know.
            self._insert_stream(known)
        self._insert_programs(batch, number)
        # First what execs refer to.
        for table in sorted(batch.rows, key=lambda table: table in _OF_EXECS):
            rows = self._missing(table, number, batch.rows[table])
            noted = self._noted(known, table, rows)
            blocks = [*_blocks(table, rows, self._today())]
            if table is EXEC and len(blocks) > _MOST_BLOCKS:
                self._insert_stream(self._announced(known, table, rows))
                blocks = [*_blocks(table, rows, self._today(), in_order=False)]
            for block in blocks:
                self._insert(table, block, number)
            known = noted
        known = _Known(batch.stream, batch.stream.cursors, known.recent)
        self._insert_stream(known)
        self._known[number] = known

    def _noted(self, known: _Known, table: Table, rows: Sequence[Row]) -> _Known:
        """Returns what is known with rows as sent lately."""
        if table.name not in _NUMBERED:
            return known
        now_s = int(time.time())
        sent = _numbers_and_days(table, rows, self._today(), now_s)
        ranges = recent_blocks.with_block(known.recent.get(table.name, ()), sent, now_s)
        return known._replace(recent={**known.recent, table.name: ranges})

    def _announced(self, known: _Known, table: Table, rows: Sequence[Row]) -> _Known:
        """Returns what is known with rows that are about to be sent: what lacks then was never there."""
        numbers, now_s = [row[_SEQ] for row in rows], int(time.time())
        each = Range(numbers[0], numbers[-1], len(numbers), now_s, now_s // _DAY_SECONDS)
        ranges = [*known.recent.get(table.name, ()), each]
        return known._replace(recent={**known.recent, table.name: ranges})

    def _insert_stream(self, known: _Known) -> None:
        row = (*known.stored.row(), recent_blocks.to_json(known.recent))
        self._insert(STREAM, [row], known.stored.number)

    def _today(self) -> int:
        """Returns the server's day, since 1970."""
        self._opened()
        return int(self._server_s + time.monotonic()) // _DAY_SECONDS

    def _opened(self) -> Session:
        if self._session is None:
            opened = Session(self._location, self._password())
            try:
                cluster = check_revision(opened)
            except StoreError:
                opened.close()
                raise
            self._layout = Layout(opened.version, opened.location.database or "default", cluster)
            self._server_s = opened.execute("SELECT toUInt32(now()) AS `now`")[0][0] - time.monotonic()
            self._session = opened
        return self._session

    def _ask(self, statement: str, parameters: Mapping[str, object], **settings: object) -> list[Row]:
        # Of replicas always the same is asked: another one may not have the last block yet.
        return self._opened().execute(statement, parameters, load_balancing="in_order", **settings)

    def _rows(self, condition: str, parameters: Mapping[str, object]) -> list[Row]:
        columns = ", ".join(map(quoted, columns_of(STREAM)))
        return self._ask(f"SELECT {columns} FROM `stream` FINAL WHERE {condition}", parameters)  # noqa: S608  # ours

    def _expected(self, batch: Batch) -> _Known:
        """Returns what is known of the batch's stream. Raises MovedError if that is not what is there."""
        number = batch.stream.number
        rows = self._rows("`stream` = {stream}", {"stream": number})
        if batch.before is None:
            if rows:
                raise MovedError("the stream is at the centre already: somebody else shipped it")
            return _Known(batch.stream._replace(cursors=Cursors()), Cursors(), {})
        known = self._known.get(number)
        if known is None or known.said != batch.before or not rows:
            raise MovedError("the centre has other rows than was said: it was put back")
        if Stream.from_row(rows[0][:-1]).cursors != known.stored.cursors:
            raise MovedError("the centre has other rows than was said: somebody else ships this history too")
        return known

    def _wait_for_inserts(self, stream: int) -> None:
        """Returns when no insert of an earlier connection runs any more. Raises StoreError if one goes on."""
        cluster = self._cluster()
        source = "system.processes" if cluster is None else "cluster({cluster}, system, processes)"
        statement = f"SELECT count() AS `n` FROM {source} WHERE startsWith(`initial_query_id`, {{begin}})"  # noqa: S608  # ours
        parameters: dict[str, object] = {"begin": _QUERY_ID.format(stream=stream).encode()}
        if cluster is not None:
            statement = statement.replace("{cluster}", quoted(cluster))
        last = time.monotonic() + _RUNNING_SECONDS
        # Nothing runs on a shard that is not there.
        while self._ask(statement, parameters, skip_unavailable_shards=1)[0][0]:
            if time.monotonic() > last:
                raise StoreError(
                    "an earlier insert still runs at the centre", fix="look at system.processes there"
                )
            time.sleep(_PAUSE_SECONDS)

    def _cluster(self) -> str | None:
        self._opened()
        return self._layout.cluster

    def _arrived(self, stream: Stream, recent: Mapping[str, Sequence[Range]]) -> Cursors:
        """Returns up to which numbers all rows of a stream are there."""
        cursors = stream.cursors
        top = self._ask(
            "SELECT max(`seq`) AS `n` FROM `exec` WHERE `stream` = {stream}", {"stream": stream.number}
        )
        # Days that were dropped at the centre had arrived.
        cursors = cursors._replace(exec_seq=max(cursors.exec_seq, top[0][0]))
        for name, ranges in recent.items():
            if name not in _NUMBERED:
                continue
            column, cursor = _NUMBERED[name]
            now_s = int(time.time())
            for each in recent_blocks.to_count(ranges, now_s):
                if self._count(name, column, stream.number, each) < each.rows:
                    if recent_blocks.may_be_dropped(each, now_s) and not self._has_day(name, each.day):
                        continue
                    lower = min(getattr(cursors, cursor), each.first - 1)
                    cursors = cursors._replace(**{cursor: lower})
                    break
        return cursors

    def _count(self, name: str, column: str, stream: int, each: Range) -> int:
        rows = self._ask(
            f"SELECT uniqExact({quoted(column)}) AS `n` FROM {quoted(name)}"  # noqa: S608  # ours
            f" WHERE `stream` = {{stream}} AND {quoted(column)} BETWEEN {{first}} AND {{last}}",
            {"stream": stream, "first": each.first, "last": each.last},
        )
        return int(rows[0][0])

    def _has_day(self, name: str, day: int) -> bool:
        """Says whether any stream has rows of a day."""
        rows = self._ask(
            f"SELECT `ts` FROM {quoted(name)} WHERE `ts` >= {{first}} AND `ts` < {{end}} LIMIT 1",  # noqa: S608  # ours
            {"first": day * DAY_NS, "end": (day + 1) * DAY_NS},
        )
        return bool(rows)

    def _missing(self, table: Table, stream: int, rows: Sequence[Row]) -> Sequence[Row]:
        """Returns the rows that are not there yet. Those of tables that change are all sent."""
        if table not in _OF_EXECS or not rows:
            return rows
        key = [table.names.index(name) for name in table.key[1:]]
        columns = ", ".join(map(quoted, table.key[1:]))
        numbers = [row[_SEQ] for row in rows]
        asked: list[tuple[str, dict[str, object]]] = [
            ("`seq` BETWEEN {first} AND {last}", {"first": min(numbers), "last": max(numbers)})
        ]
        if table is EXIT:
            pieces = (numbers[at : at + _MOST_NUMBERS] for at in range(0, len(numbers), _MOST_NUMBERS))
            asked = [("`seq` IN {numbers}", {"numbers": some}) for some in pieces]
        sql = f"SELECT {columns} FROM {quoted(table.name)} WHERE `stream` = {{stream}} AND "  # noqa: S608  # ours
        found = [row for said, values in asked for row in self._ask(sql + said, {"stream": stream, **values})]
        there = {tuple(each) for each in found}
        return [row for row in rows if tuple(row[each] for each in key) not in there] if there else rows

    def _insert_programs(self, batch: Batch, stream: int) -> None:
        """Says which programs the execs are. Before them, so none is unknown that is there."""
        first: dict[bytes, int] = {}
        for row in batch.rows.get(EXEC, ()):
            if row[_EXE] is not None:
                first[row[_EXE]] = min(row[_TS], first.get(row[_EXE], row[_TS]))
        fresh = [
            (exe, stream, ts) for exe, ts in first.items() if ts < self._programs.get((stream, exe), ts + 1)
        ]
        if not fresh:
            return
        self._insert(PROGRAM, fresh, stream)
        if len(self._programs) > _MOST_PROGRAMS:
            self._programs.clear()
        self._programs.update(((stream, exe), ts) for exe, _, ts in fresh)

    def _insert(self, table: Table, rows: Sequence[Row], stream: int) -> None:
        session = self._opened()
        query_id = _QUERY_ID.format(stream=stream) + secrets.token_hex(8)
        settings: dict[str, object] = {}
        if self._layout.is_modern and table in _OF_EXECS:
            settings["insert_deduplication_token"] = _name_of(table, rows)
        try:
            session.insert(insert_statement(table, columns_of(table)), rows, query_id, **settings)
        except ValueError as exc:
            raise RefusedError(
                f"the table {table.name} has no room for a value", fix="report this as a bug"
            ) from exc


def _blocks(
    table: Table, rows: Sequence[Row], today: int, *, in_order: bool = True
) -> Iterator[Sequence[Row]]:
    """Yields rows in blocks of one partition each; `today` is the server's.

    Execs stay in order, if that is wanted. The order of other rows does not matter.
    """
    if table.day is None:
        if rows:
            yield rows
        return
    column = table.names.index(table.day)

    def group(row: Row) -> int:
        found = group_of(row[column], today)
        return -1 if found is None else found

    sorted_ = rows if table is EXEC and in_order else sorted(rows, key=group)
    for _, block in groupby(sorted_, key=group):
        yield list(block)


def _numbers_and_days(table: Table, rows: Sequence[Row], today: int, now_s: int) -> Iterator[tuple[int, int]]:
    """Yields the numbers of a host's own rows, and their days; of what is never dropped, today."""
    column = table.names.index(_NUMBERED[table.name][0])
    time_column = None if table.day is None else table.names.index(table.day)
    for row in rows:
        if row[column] > 0:
            day = None if time_column is None else group_of(row[time_column], today)
            yield row[column], now_s // _DAY_SECONDS if day is None else day


def _name_of(table: Table, rows: Sequence[Row]) -> str:
    """Returns the name of a block: of its rows' keys, which stand for all that is in them."""
    key = [table.names.index(name) for name in table.key]
    numbers = array("q", (row[each] for row in rows for each in key))
    digest = hashlib.blake2b(numbers.tobytes(), digest_size=16).hexdigest()
    return f"{table.name}:{rows[0][0]}:{rows[0][_SEQ]}-{rows[-1][_SEQ]}:{digest}"
