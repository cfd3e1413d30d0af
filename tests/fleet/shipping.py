"""Rows that a host ships, and one who ships them until all have arrived: for tests of targets."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.fleet_hosts import DAY_NS, hosts
from execaudit.central.numbering import NOT_SHIFTED
from execaudit.central.tables import EXEC, EXIT, GAP, HIT, RULE, RUN
from execaudit.errors import StoreError
from execaudit.forward.target import Batch, Cursors, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from execaudit.central.tables import Table
    from execaudit.forward.target import Target

    _Row = tuple[Any, ...]

_PAUSE_SECONDS = 0.02
_START_NS = 1_790_000_000_000_000_000
# The column with the number of a row, and the cursor.
NUMBERED = {
    EXEC: ("seq", "exec_seq"),
    EXIT: ("id", "exit_id"),
    HIT: ("seq", "hit_seq"),
    RUN: ("id", "run_id"),
    GAP: ("id", "gap_id"),
    RULE: ("id", "rule_id"),
}


class Rows(NamedTuple):
    """All that one host ships, in the order of the numbers."""

    stream_id: bytes
    number: int
    host: bytes
    tables: dict[Table, list[_Row]]

    def after(self, cursors: Cursors, most: int) -> dict[Table, list[_Row]]:
        """Returns the next rows of each table."""
        found = {}
        for table, (column, cursor) in NUMBERED.items():
            at = table.names.index(column)
            rows = [row for row in self.tables[table] if row[at] > getattr(cursors, cursor)][:most]
            if rows:
                found[table] = rows
        return found

    def stream(self, cursors: Cursors) -> Stream:
        """Returns the row of STREAM when so much has arrived."""
        last = self.tables[EXEC][-1][1]
        return Stream(
            self.number, self.stream_id, self.host, b"1", 0, _START_NS, _START_NS, last, cursors, 1, None, b"[]",
            NOT_SHIFTED,
        )  # fmt: skip

    def batch(self, before: Cursors | None, most: int) -> Batch | None:
        """Returns the next batch; None: there is nothing more."""
        begin = before or Cursors()
        rows = self.after(begin, most)
        if not rows:
            return None
        moved = {
            NUMBERED[table][1]: each[-1][table.names.index(NUMBERED[table][0])]
            for table, each in rows.items()
        }
        return Batch(self.stream(begin._replace(**moved)), before, rows)


def made(execs: int, *, place: int = 0, days: float = 2.0) -> Rows:
    """Returns what a host ships that has so many execs, over some days, with hits, rules and gaps."""
    host = hosts(place + 1, execs * (place + 1), _START_NS, int(days * DAY_NS))[place]
    host.execs = execs
    batch = host.batch(execs)
    batches = [batch, host.batch(0)]
    stream = batch.stream
    tables: dict[Table, list[_Row]] = {table: [] for table in NUMBERED}
    for each in batches:
        for table, rows in each.rows.items():
            tables[table] += rows
    # A recorder that goes on is there with its newest row.
    tables[RUN] = list({row[1]: row for row in tables[RUN]}.values())
    tables[RULE] = [(stream.number, n, None, b"rule \xff", b"high", b"[]", b"x.yml") for n in (1, 2)]
    tables[HIT] = [
        (stream.number, row[1], row[2], rule, 0)
        for row in tables[EXEC]
        if row[1] % 50 == 0
        for rule in (1, 2)
    ]
    tables[GAP] = [
        (stream.number, n, stream.host, _START_NS + n, _START_NS + n + 1, b"clock", None, 0, None)
        for n in range(1, 4)
    ]
    return Rows(stream.stream_id, stream.number, stream.host, tables)


def shipped(
    target: Target, rows: Rows, most: int, *, failed: Callable[[StoreError], None] | None = None
) -> int:
    """Ships until all has arrived. Returns how often it began anew. `failed` is told of each error.

    Without `failed`, an error is raised.
    """
    beginnings = 0
    while True:
        try:
            beginnings += 1
            known = {stream.number: stream.cursors for stream in target.streams(rows.stream_id)}
            before = known.get(rows.number)
            while (batch := rows.batch(before, most)) is not None:
                target.send(batch)
                before = batch.stream.cursors
        except StoreError as exc:
            if failed is None:
                raise
            failed(exc)
            target.close()
            time.sleep(_PAUSE_SECONDS)
        else:
            with contextlib.suppress(StoreError):
                target.close()
            return beginnings


def sorted_rows(rows: Sequence[Sequence[object]]) -> list[tuple[object, ...]]:
    """Returns rows in an order that any have."""
    return sorted(map(tuple, rows), key=repr)
