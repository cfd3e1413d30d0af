"""Read the rows of a local history as what was sealed of them: a hash for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit import native
from execaudit.database.field_columns import column_of, dictionary_of
from execaudit.database.sealed_streams import Stream
from execaudit.fields import LAUNCH_FIELDS, ORIGIN_FIELDS
from execaudit.seal import codec
from execaudit.seal.changes import Change, or_null

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence

    from execaudit.fields import Field

_MOST_REMEMBERED = 50_000


_EXECS = (
    # In the order of the table, which takes SQLite a fifth less time than another one.
    "SELECT e.id, e.ts, e.clock_id, e.kind, e.pid, e.tid, e.ppid, e.uid, e.comm_id, e.launch_id, e.origin_id, e.argv_id,"  # noqa: S608  # ours
    " e.errno, e.truncated, e.parent_id, e.duration_ns, e.status, e.replaced_by,"
    f" CASE WHEN length(a.v) <= {codec.LONGEST_INLINE} THEN a.v END"
    " FROM exec AS e LEFT JOIN argv AS a ON a.id = e.argv_id WHERE e.id BETWEEN ? AND ? ORDER BY e.id"
)
# Execs that are read at a time: their short lines are in memory, of long ones there is one at a time.
_AT_ONCE = 1024
_CUTS = "SELECT exec_id, argc, argv_bytes, holes, redacted FROM argv_cut WHERE exec_id BETWEEN ? AND ?"
_CHANGES = (
    "SELECT exec_id, parent_was, parent_now, line_was, line_now FROM seal_change"
    " WHERE exec_id BETWEEN ? AND ? ORDER BY id"
)
_LISTED = "IN (SELECT value FROM json_each(?))"
_CLOCKS = f"SELECT id, offset_ns, run_id FROM clock WHERE id {_LISTED}"  # noqa: S608  # ours
_COMMS = f"SELECT id, v FROM comm WHERE id {_LISTED}"  # noqa: S608  # as above
_LINES = f"SELECT id, v FROM argv WHERE id {_LISTED}"  # noqa: S608  # as above
_LINE = "SELECT v FROM argv WHERE id = ?"
_UNREADABLE = bytes(codec.BYTES)
"""The hash of a row that refers to what is not there, or has what no column has. No row has it."""
_NO_LINE = b"\3"


def _shared(table: str, fields: Sequence[Field]) -> str:
    """Returns the statement for launches or origins, with the values of dictionaries."""
    columns, joins = [], []
    for at, field in enumerate(fields):
        dictionary = dictionary_of(field)
        if dictionary is None:
            columns.append(f"s.{column_of(field)}")
        else:
            # A number that leads nowhere is not the same as NULL.
            columns.append(f"ifnull(d{at}.v, s.{column_of(field)})")
            joins.append(f" LEFT JOIN {dictionary} AS d{at} ON d{at}.id = s.{column_of(field)}")
    return f"SELECT s.id, {', '.join(columns)} FROM {table} AS s{''.join(joins)} WHERE s.id {_LISTED}"  # noqa: S608  # ours


LAUNCH, ORIGIN = _shared("launch", LAUNCH_FIELDS), _shared("origin", ORIGIN_FIELDS)
"""The statements for numbers and values of some, whose numbers are a JSON list."""
_UID, _COMM = (list(map(column_of, LAUNCH_FIELDS)).index(name) for name in ("uid", "comm_id"))

# Of each stream but execs and hits: the table, and the columns that are sealed. The first is the number.
TABLES: dict[Stream, tuple[str, str]] = {
    Stream.EXIT: ("exit", "t.id, t.exec_id, t.duration_ns, t.status, t.replaced_by"),
    Stream.RUN: ("run", "t.id, t.boot_id, t.host, t.version"),
    Stream.GAP: ("gap", "t.id, t.run_id, t.ts_from, t.ts_to, t.reason, t.count, t.exits, t.uid"),
    Stream.STRAY_EXIT: (
        "stray_exit",
        "t.id, (SELECT run_id FROM clock WHERE clock.id = t.clock_id), (SELECT offset_ns FROM clock WHERE clock.id = t.clock_id), t.ts, t.pid, t.duration_ns, t.status",
    ),
    Stream.RULE: ("rule", "t.id, t.uuid, t.title, t.level, t.tags, t.file"),
    Stream.HIT: ("hit", "t.exec_id, t.rule_id, t.left_out"),
    Stream.ARGV_GRAMS: ("argv_grams", "t.id, t.bits"),
    Stream.CHANGE: (
        "seal_change",
        "t.id, t.exec_id, t.parent_was, t.parent_now, t.line_was, t.line_now",
    ),
    Stream.ACT: ("seal_act", "t.id, t.at_ns, t.reason, t.execs, t.pruned, t.parts"),
}
NUMBER = {Stream.HIT: "exec_id"}
"""The column with a row's number, where it is not `id`."""


class Shared(NamedTuple):
    """A launch, by its number."""

    hash: bytes
    uid: int | None
    comm: bytes | None


class Execs(NamedTuple):
    """Execs, and what was sealed of each, in order."""

    numbers: list[int]
    hashes: list[bytes]
    """As they were sealed, before a pruning gave them another parent or shortened their lines."""
    times: list[int]
    """Their columns `ts`."""
    problems: list[tuple[int, str]]
    """Of which a hash is right, but something does not agree with the rest; and in which table."""


class _Known(NamedTuple):
    """Rows that many execs refer to, by number."""

    clocks: dict[object, tuple[int, int]]
    """Offset and run."""
    launches: dict[object, Shared]
    origins: dict[object, bytes]
    """Their hashes."""
    lines: dict[object, bytes]
    """Of long lines that are whole: what enters for them."""
    comms: dict[object, bytes | None]


class Rows:
    """The rows of a history. It remembers some of what many refer to."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute
        self._generation: object = None
        self._known = _Known({}, {}, {}, {}, {})

    def begin(self) -> None:
        """To be called in each transaction: after a pruning, other rows may have the numbers of old ones."""
        row = self._execute("SELECT value FROM meta WHERE key = 'generation'").fetchone()
        if row != self._generation:
            self._generation = row
            for known in self._known:
                known.clear()

    def hashes(self, stream: Stream, first: int, last: int, most: int = -1) -> list[tuple[int, bytes]]:
        """Returns numbers and hashes of the rows between two numbers, at most so many of them."""
        if stream is Stream.EXEC:
            last = last if most < 0 else min(last, first + most - 1)
            execs = self.execs(first, last)
            return [*zip(execs.numbers, execs.hashes, strict=True)]
        table, columns = TABLES[stream]
        number = NUMBER.get(stream, "id")
        order = "exec_id, rule_id" if stream is Stream.HIT else "id"
        rows = self._execute(
            f"SELECT {columns} FROM {table} AS t WHERE t.{number} BETWEEN ? AND ? ORDER BY {order} LIMIT ?",  # noqa: S608  # ours
            (first, last, most),
        )
        return [(row[0], _readable(codec.row_hash, row)) for row in rows]

    def execs(self, first: int, last: int) -> Execs:
        """Returns the execs between two numbers."""
        found = Execs([], [], [], [])
        cursor = self._execute(_EXECS, (first, last))
        while rows := cursor.fetchmany(_AT_ONCE):
            self._learn(rows)
            self._add(rows, found)
        return found

    def _add(self, rows: list[tuple], found: Execs) -> None:  # type: ignore[type-arg]  # of SQLite
        between = rows[0][0], rows[-1][0]
        cuts = {row[0]: row[1:] for row in self._execute(_CUTS, between)}
        changes: dict[int, Change] = {}
        for number, *change in self._execute(_CHANGES, between):
            changes.setdefault(number, Change()).add(*change)

        def in_python(row: tuple) -> bytes:  # type: ignore[type-arg]  # as above
            digest, problem = self._exec(row, cuts, changes.get(row[0]))
            if problem is not None:
                found.problems.append((row[0], problem))
            return digest

        found.numbers.extend([row[0] for row in rows])
        found.times.extend([row[1] for row in rows])
        if native.fast is not None:
            odd = cuts | changes
            found.hashes.extend(
                native.fast.sealed_execs(rows, *self._known, odd, in_python, codec.EMPTY_EXEC)
            )
        else:
            found.hashes.extend(map(in_python, rows))

    def _exec(
        self,
        row: tuple,  # type: ignore[type-arg]  # of SQLite
        cuts: dict[int, tuple],  # type: ignore[type-arg]  # as above
        change: Change | None,
    ) -> tuple[bytes, str | None]:
        """Returns what was sealed of an exec, and in which table something else is wrong."""
        (
            number, ts, clock_id, kind, pid, tid, ppid, uid, comm_id, launch_id, origin_id, line_id, errno, truncated,
            parent, duration, status, replaced_by, argv,
        ) = row  # fmt: skip
        problem = None
        try:
            offset_ns, run_id = self._known.clocks[clock_id]
            launch, origin = self._known.launches[launch_id], self._known.origins[origin_id]
            parent = or_null(parent)
            line = self._line(argv, line_id, None if truncated is None else (truncated, *cuts[number]))
            if truncated is None and number in cuts:
                problem = "argv_cut"
            if change is not None:
                if not change.fits(parent, line, truncated) or self._are_there(change.parents):
                    problem = "seal_change"
                parent, line = change.parent(parent), change.line(line)
            numbers = codec.pack_exec(
                number, ts, ts - offset_ns, run_id, kind, pid, pid if tid is None else tid,
                *map(or_null, (ppid, errno)), parent, *map(or_null, (duration, status, replaced_by)),
            )  # fmt: skip
        except (LookupError, ValueError, TypeError, OverflowError, codec.PackError):
            return _UNREADABLE, None
        if launch.uid != uid or launch.comm != self._known.comms.get(comm_id):
            problem = "exec"
        return codec.exec_hash(numbers, launch.hash, origin, line), problem

    def _line(self, argv: bytes | None, number: object, cut: Sequence[Any] | None) -> bytes:
        """Returns what enters for a line, which is only given if it is short."""
        if argv is None and cut is None:
            return self._known.lines.get(number, _NO_LINE)
        if argv is None:
            found = self._execute(_LINE, (number,)).fetchone()
            return _NO_LINE if found is None else codec.line(found[0], cut)
        return codec.line(argv, cut)

    def _are_there(self, execs: Iterable[int | None]) -> bool:
        """Says whether one of these execs was not deleted: then nothing replaces it as a parent."""
        return any(
            self._execute("SELECT 1 FROM exec WHERE id = ?", (number,)).fetchone() is not None
            for number in execs
        )

    def _learn(self, rows: list[tuple]) -> None:  # type: ignore[type-arg]  # of SQLite
        """Reads what execs refer to. What is not there stays unknown."""
        known = self._known
        for clock, offset_ns, run_id in self._new({row[2] for row in rows}, known.clocks, _CLOCKS):
            known.clocks[clock] = offset_ns, run_id
        for number, *launch in self._new({row[9] for row in rows}, known.launches, LAUNCH):
            known.launches[number] = Shared(_readable(codec.group_hash, launch), launch[_UID], launch[_COMM])
        for number, *origin in self._new({row[10] for row in rows}, known.origins, ORIGIN):
            known.origins[number] = _readable(codec.group_hash, origin)
        known.comms.update(self._new({row[8] for row in rows}, known.comms, _COMMS))
        # Not at the import: a question that seals nothing does not load the compiled functions.
        known.launches[None] = Shared(codec.group_hash((None,) * len(LAUNCH_FIELDS)), None, None)
        known.origins[None] = codec.group_hash((None,) * len(ORIGIN_FIELDS))
        known.comms[None] = None
        long = {row[11] for row in rows if row[18] is None}
        for number, argv in self._new(long, known.lines, _LINES):
            if isinstance(argv, bytes):
                known.lines[number] = codec.line(argv, None)

    def _new(self, numbers: set[object], known: dict[object, Any], statement: str) -> sqlite3.Cursor:
        """Returns the rows of those of these numbers that are not known."""
        new = [number for number in numbers if number not in known and isinstance(number, int)]
        if new and len(known) > _MOST_REMEMBERED:
            known.clear()
            new = [number for number in numbers if isinstance(number, int)]
        return self._execute(statement, (f"[{','.join(map(str, new))}]",))


def _readable(hashed: Callable[[Iterable[Any]], bytes], row: Iterable[Any]) -> bytes:
    """Returns the hash of a row, which may have what no column has."""
    try:
        return hashed(row)
    except (TypeError, codec.PackError):
        return _UNREADABLE
