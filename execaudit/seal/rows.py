"""Read the rows of a local history as what was sealed of them: a hash for each."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from execaudit.database.enum_codes import TRUNCATIONS
from execaudit.database.field_columns import column_of, dictionary_of
from execaudit.database.sealed_streams import Stream
from execaudit.enums import Truncated
from execaudit.fields import LAUNCH_FIELDS, ORIGIN_FIELDS
from execaudit.seal import codec

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from execaudit.fields import Field

_MOST_REMEMBERED = 50_000


def _number(column: str) -> str:
    """Returns the SQL for a number or NULL, as one number. NULL's own number is none that a column has."""
    return f"ifnull(max({column}, {codec.NULL} + 1), {codec.NULL})"


_EXECS = (
    "SELECT e.id, e.ts, e.clock_id, e.kind, e.pid, ifnull(e.tid, e.pid),"  # noqa: S608  # ours
    f" {', '.join(_number('e.' + name) for name in ('ppid', 'errno', 'parent_id', 'duration_ns', 'status', 'replaced_by'))},"
    " e.launch_id, e.origin_id, e.truncated, a.v, e.uid, e.comm_id, e.argv_id"
    " FROM exec AS e LEFT JOIN argv AS a ON a.id = e.argv_id WHERE e.id BETWEEN ? AND ? ORDER BY e.id"
)
_CUTS = "SELECT exec_id, argc, argv_bytes, holes, redacted FROM argv_cut WHERE exec_id BETWEEN ? AND ?"
_CHANGES = (
    "SELECT exec_id, parent_was, parent_now, line_was, line_now FROM seal_change"
    " WHERE exec_id BETWEEN ? AND ? ORDER BY id"
)
_CLOCKS = "SELECT id, offset_ns, run_id FROM clock WHERE id IN (SELECT value FROM json_each(?))"
_LIMIT = TRUNCATIONS.index(Truncated.LIMIT)
_UNREADABLE = bytes(codec.BYTES)
"""The hash of a row that refers to what is not there. No row has it."""
_NO_LINE = b"\3"


def _shared(table: str, fields: Sequence[Field]) -> str:
    """Returns the statement for a launch or an origin, with the values of dictionaries."""
    columns, joins = [], []
    for at, field in enumerate(fields):
        dictionary = dictionary_of(field)
        if dictionary is None:
            columns.append(f"s.{column_of(field)}")
        else:
            # A number that leads nowhere is not the same as NULL.
            columns.append(f"ifnull(d{at}.v, s.{column_of(field)})")
            joins.append(f" LEFT JOIN {dictionary} AS d{at} ON d{at}.id = s.{column_of(field)}")
    return f"SELECT {', '.join(columns)} FROM {table} AS s{''.join(joins)} WHERE s.id = ?"  # noqa: S608  # ours


_LAUNCH, _ORIGIN = _shared("launch", LAUNCH_FIELDS), _shared("origin", ORIGIN_FIELDS)
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


class ExecRow(NamedTuple):
    """What was sealed of an exec, and what stands in its row a second time."""

    number: int
    hash: bytes
    """As it was sealed, before a pruning gave it another parent or shortened its line."""
    ts: int
    line_id: int
    problem: str | None = None
    """A table in which something does not agree with the rest, though the hash is right."""


class Rows:
    """The rows of a history. It remembers some of what many refer to."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute
        self._generation: object = None
        self._clocks: dict[int, tuple[int, int]] = {}
        self._launches: dict[int | None, Shared] = {}
        self._origins: dict[int | None, bytes] = {}
        self._comms: dict[int, bytes | None] = {}

    def begin(self) -> None:
        """To be called in each transaction: after a pruning, other rows may have the numbers of old ones."""
        row = self._execute("SELECT value FROM meta WHERE key = 'generation'").fetchone()
        if row != self._generation:
            self._generation = row
            for known in (self._clocks, self._launches, self._origins, self._comms):
                known.clear()

    def hashes(self, stream: Stream, first: int, last: int, most: int = -1) -> list[tuple[int, bytes]]:
        """Returns numbers and hashes of the rows between two numbers, at most so many of them."""
        if stream is Stream.EXEC:
            last = last if most < 0 else min(last, first + most - 1)
            return [(row.number, row.hash) for row in self.execs(first, last)]
        table, columns = TABLES[stream]
        number = NUMBER.get(stream, "id")
        order = "exec_id, rule_id" if stream is Stream.HIT else "id"
        rows = self._execute(
            f"SELECT {columns} FROM {table} AS t WHERE t.{number} BETWEEN ? AND ? ORDER BY {order} LIMIT ?",  # noqa: S608  # ours
            (first, last, most),
        )
        return [(row[0], codec.row_hash(row)) for row in rows]

    def execs(self, first: int, last: int) -> list[ExecRow]:
        """Returns the execs between two numbers."""
        rows = self._execute(_EXECS, (first, last)).fetchall()
        if not rows:
            return []
        self._learn_clocks({row[2] for row in rows})
        cuts = {row[0]: row[1:] for row in self._execute(_CUTS, (first, last))}
        changes: dict[int, _Change] = {}
        for number, *change in self._execute(_CHANGES, (first, last)):
            changes.setdefault(number, _Change()).add(*change)
        return [self._exec(row, cuts, changes.get(row[0])) for row in rows]

    def _exec(self, row: tuple, cuts: dict[int, tuple], change: _Change | None) -> ExecRow:  # type: ignore[type-arg]  # of SQLite
        (
            number, ts, clock_id, kind, pid, tid, ppid, errno, parent, duration, status, replaced_by, launch_id,
            origin_id, truncated, argv, uid, comm_id, line_id,
        ) = row  # fmt: skip
        problem = None
        try:
            offset_ns, run_id = self._clocks[clock_id]
            launch = self._launches.get(launch_id) or self._launch(launch_id)
            origin = self._origins.get(origin_id) or self._origin(origin_id)
            if argv is None:
                line = _NO_LINE
            elif truncated is None:
                line = codec.line(argv, None)
                problem = "argv_cut" if number in cuts else None
            else:
                line = codec.line(argv, (truncated, *cuts[number]))
            if change is not None:
                if not change.fits(parent, line, truncated) or self._are_there(change.parents):
                    problem = "seal_change"
                parent, line = change.parent(parent), change.line(line)
            numbers = codec.pack_exec(
                number, ts, ts - offset_ns, run_id, kind, pid, tid, ppid, errno, parent, duration, status,
                replaced_by,
            )  # fmt: skip
        except (LookupError, ValueError, TypeError, OverflowError, codec.PackError):
            return ExecRow(number, _UNREADABLE, ts, line_id)
        if launch.uid != uid or launch.comm != self._comm(comm_id):
            problem = "exec"
        return ExecRow(number, codec.exec_hash(numbers, launch.hash, origin, line), ts, line_id, problem)

    def _are_there(self, execs: Iterable[int | None]) -> bool:
        """Says whether one of these execs was not deleted: then nothing replaces it as a parent."""
        return any(
            self._execute("SELECT 1 FROM exec WHERE id = ?", (number,)).fetchone() is not None
            for number in execs
        )

    def _learn_clocks(self, numbers: Iterable[int]) -> None:
        new = [number for number in numbers if number not in self._clocks]
        if new:
            if len(self._clocks) > _MOST_REMEMBERED:
                self._clocks.clear()
                return self._learn_clocks(numbers)
            text = f"[{','.join(map(str, new))}]"
            self._clocks |= {row[0]: (row[1], row[2]) for row in self._execute(_CLOCKS, (text,))}
        return None

    def _launch(self, number: int | None) -> Shared:
        row = _NOTHING_KNOWN if number is None else self._execute(_LAUNCH, (number,)).fetchone()
        if row is None:
            raise LookupError("there is no such launch")
        if len(self._launches) > _MOST_REMEMBERED:
            self._launches.clear()
        found = self._launches[number] = Shared(codec.group_hash(row), row[_UID], row[_COMM])
        return found

    def _origin(self, number: int | None) -> bytes:
        row = _NO_ORIGIN if number is None else self._execute(_ORIGIN, (number,)).fetchone()
        if row is None:
            raise LookupError("there is no such origin")
        if len(self._origins) > _MOST_REMEMBERED:
            self._origins.clear()
        found = self._origins[number] = codec.group_hash(row)
        return found

    def _comm(self, number: int | None) -> bytes | None:
        if number is None:
            return None
        if number not in self._comms:
            if len(self._comms) > _MOST_REMEMBERED:
                self._comms.clear()
            row = self._execute("SELECT v FROM comm WHERE id = ?", (number,)).fetchone()
            self._comms[number] = None if row is None else row[0]
        return self._comms[number]


_NOTHING_KNOWN, _NO_ORIGIN = (None,) * len(LAUNCH_FIELDS), (None,) * len(ORIGIN_FIELDS)


class _Change:
    """What prunings made of an exec: first it was so, now it is so."""

    def __init__(self) -> None:
        self._parents: list[tuple[int | None, int | None]] = []
        self._lines: list[tuple[bytes, bytes]] = []

    def add(
        self, parent_was: int | None, parent_now: int | None, line_was: bytes | None, line_now: bytes | None
    ) -> None:
        if line_was is not None and line_now is not None:
            self._lines.append((line_was, line_now))
        else:
            self._parents.append((parent_was, parent_now))

    @property
    def parents(self) -> list[int | None]:
        """The parents that were replaced."""
        return [was for was, _ in self._parents]

    def fits(self, parent: int, line: bytes, truncated: int | None) -> bool:
        """Says whether each change follows the last, and what stands there the last one.

        And whether each is one that a pruning makes: a parent is replaced by an older one or by none, and
        only a long line is shortened, which is then marked.
        """
        if any(was is None or (now is not None and now >= was) for was, now in self._parents):
            return False
        if self._lines and not (codec.is_by_hash(self._lines[0][0]) and truncated == _LIMIT):
            return False
        ends = [(_or_null(was), _or_null(now)) for was, now in self._parents] + [(parent, parent)]
        lines = [*self._lines, (line, line)]
        return all(a[1] == b[0] for chain in (ends, lines) for a, b in pairwise(chain))

    def parent(self, parent: int) -> int:
        return _or_null(self._parents[0][0]) if self._parents else parent

    def line(self, line: bytes) -> bytes:
        return self._lines[0][0] if self._lines else line


def _or_null(number: int | None) -> int:
    return codec.NULL if number is None else number
