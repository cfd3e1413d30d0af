"""Read rows of a local history with the values that were hashed, for who proves them elsewhere."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit.database.id_list import json_ids
from execaudit.fields import LAUNCH_FIELDS, ORIGIN_FIELDS
from execaudit.seal import codec
from execaudit.seal.changes import Change, or_null
from execaudit.seal.rows import LAUNCH, NUMBER, ORIGIN, TABLES

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from execaudit.database.sealed_streams import Stream
    from execaudit.seal.codec import Value

_GIVEN = "IN (SELECT value FROM json_each(?))"
_EXECS = (
    "SELECT e.id, e.ts, e.clock_id, e.kind, e.pid, e.tid, e.ppid, e.errno, e.parent_id, e.duration_ns, e.status,"  # noqa: S608  # ours
    " e.replaced_by, e.launch_id, e.origin_id, e.truncated, a.v"
    f" FROM exec AS e LEFT JOIN argv AS a ON a.id = e.argv_id WHERE e.id {_GIVEN} ORDER BY e.id"
)
_NO_LAUNCH, _NO_ORIGIN = (None,) * len(LAUNCH_FIELDS), (None,) * len(ORIGIN_FIELDS)
_CLOCK = "SELECT offset_ns, run_id FROM clock WHERE id = ?"
_CUTS = f"SELECT exec_id, argc, argv_bytes, holes, redacted FROM argv_cut WHERE exec_id {_GIVEN}"  # noqa: S608  # ours
_CHANGES = f"SELECT exec_id, parent_was, parent_now, line_was, line_now FROM seal_change WHERE exec_id {_GIVEN} ORDER BY id"  # noqa: S608  # ours
# A launch has several paths.
_REMEMBERED = 10_000


class ExecValues(NamedTuple):
    """An exec, as it was sealed, and the command line as it is now."""

    numbers: tuple[int, ...]
    """As codec.EXEC_NUMBERS."""
    launch: tuple[Value, ...]
    origin: tuple[Value, ...]
    argv: bytes
    cut: tuple[Value, ...] | None
    """As of codec.line()."""
    line: bytes
    """The bytes for the line, as they were before a pruning shortened it."""


class RowValues:
    """The rows of a history, in one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute
        self._clock = lru_cache(_REMEMBERED)(lambda number: self._one(_CLOCK, number))
        self._launch = lru_cache(_REMEMBERED)(lambda number: self._shared(LAUNCH, number, _NO_LAUNCH))
        self._origin = lru_cache(_REMEMBERED)(lambda number: self._shared(ORIGIN, number, _NO_ORIGIN))

    def execs(self, numbers: Sequence[int]) -> Iterator[ExecValues]:
        """Yields the execs of these numbers, in order.

        Raises LookupError or codec.PackError for one that makes no sense.
        """
        given = (json_ids(numbers),)
        cuts = {number: tuple(cut) for number, *cut in self._execute(_CUTS, given)}
        changes: dict[int, Change] = {}
        for number, *change in self._execute(_CHANGES, given):
            changes.setdefault(number, Change()).add(*change)
        for row in self._execute(_EXECS, given).fetchall():
            (
                number, ts, clock_id, kind, pid, tid, ppid, errno, parent, duration, status, replaced_by, launch_id,
                origin_id, truncated, argv,
            ) = row  # fmt: skip
            if argv is None:
                raise LookupError("there is no such command line")
            offset_ns, run_id = self._clock(clock_id)
            cut = None if truncated is None else (truncated, *cuts[number])
            change = changes.get(number, _NO_CHANGE)
            yield ExecValues(
                (
                    number, ts, ts - offset_ns, run_id, kind, pid, pid if tid is None else tid,
                    *map(or_null, (ppid, errno)), change.parent(or_null(parent)),
                    *map(or_null, (duration, status, replaced_by)),
                ),
                self._launch(launch_id),
                self._origin(origin_id),
                argv,
                cut,
                change.line(codec.line(argv, cut)),
            )  # fmt: skip

    def others(self, stream: Stream, numbers: Sequence[int]) -> list[tuple[Value, ...]]:
        """Returns the rows of another stream that have these numbers: the columns that are sealed."""
        table, columns = TABLES[stream]
        number = NUMBER.get(stream, "id")
        sql = f"SELECT {columns} FROM {table} AS t WHERE t.{number} {_GIVEN} ORDER BY t.{number}"  # noqa: S608  # ours
        return self._execute(sql, (json_ids(numbers),)).fetchall()

    def _one(self, sql: str, number: object) -> tuple[Any, ...]:
        row: tuple[Any, ...] | None = self._execute(sql, (number,)).fetchone()
        if row is None:
            raise LookupError("a part of it is missing")
        return row

    def _shared(self, sql: str, number: int | None, nothing: tuple[Value, ...]) -> tuple[Value, ...]:
        return nothing if number is None else self._one(sql, json_ids([number]))[1:]


_NO_CHANGE = Change()
