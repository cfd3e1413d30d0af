"""The rows of a bundle and what they make: its records. In a file of their own, so memory stays bounded."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit.bundle import layout
from execaudit.bundle.layout import ExecLine, OtherExecLine, RowLine
from execaudit.database.sealed_streams import Stream
from execaudit.enums import GapReason
from execaudit.event import Gap, Nanoseconds
from execaudit.output.json_lines import JsonLines, json_text
from execaudit.output.record import gap_record
from execaudit.query.rows import LAUNCHES, ORIGINS, Clock, Known, Recording, Relative, to_found
from execaudit.seal import codec
from execaudit.seal.changes import Change
from execaudit.seal.codec import NULL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_TABLES = (
    "CREATE TABLE record (number INTEGER PRIMARY KEY, place INTEGER, line BLOB)",
    "CREATE TABLE named (number INTEGER PRIMARY KEY, place INTEGER, boot_ns INTEGER, pid INTEGER)",
    "CREATE TABLE run (number INTEGER PRIMARY KEY, place INTEGER, boot_id BLOB, host BLOB)",
    "CREATE TABLE end (exec INTEGER PRIMARY KEY, place INTEGER, duration, status, replaced_by)",
    "CREATE TABLE gap (number INTEGER PRIMARY KEY, place INTEGER, line BLOB)",
    "CREATE TABLE change (number INTEGER PRIMARY KEY, place INTEGER, exec INTEGER, parent_was, parent_now, line_was, line_now)",
    "CREATE INDEX of_exec ON change (exec)",
)
_CACHE = "PRAGMA cache_size = -32768"
_RUNNING, _UNKNOWN = '"ended":"running"', '"ended":"unknown"'
_NONSENSE = (
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    OverflowError,
    sqlite3.Error,
    codec.PackError,
)


class Made(NamedTuple):
    """What proved rows make."""

    lines: tuple[bytes, ...]
    """The line of the record, without its end. Of a program of which no end is known it is one of two."""
    places: tuple[int, ...]
    """The entries that prove it."""
    number: int
    is_open: bool = False
    """No end is known, so there are two lines."""
    is_loose: bool = False
    """What replaced it is not here, so its id is not in the line."""


class NotMadeError(ValueError):
    """A record cannot be made: something that it names is not there, or makes no sense."""

    def __init__(self, table: str, number: int) -> None:
        super().__init__(table, number)
        self.table, self.number = table, number


class Proved:
    """The rows."""

    def __init__(self) -> None:
        self._own = sqlite3.connect("", isolation_level=None)
        self._own.execute(_CACHE)
        for table in _TABLES:
            self._own.execute(table)
        self._own.execute("BEGIN")
        self._line = JsonLines(arguments=True).line

    def close(self) -> None:
        """Forgets them."""
        self._own.close()

    def add(self, line: ExecLine | OtherExecLine | RowLine, place: int, raw: bytes) -> None:
        """Adds a row, which came in a line. Raises ValueError for what no history has."""
        try:
            if isinstance(line, RowLine):
                self._add_row(line, place, raw)
                return
            numbers = line.numbers
            self._own.execute(
                "INSERT INTO named VALUES (?, ?, ?, ?)", (numbers[0], place, numbers[2], numbers[5])
            )
            if isinstance(line, ExecLine):
                self._own.execute("INSERT INTO record VALUES (?, ?, ?)", (numbers[0], place, raw))
        except _NONSENSE as exc:
            raise ValueError("a row makes no sense") from exc

    def _add_row(self, line: RowLine, place: int, raw: bytes) -> None:
        values = line.values
        if line.stream is Stream.RUN:
            number, boot_id, host, _ = values
            self._insert("run", number, place, _to_bytes(boot_id), _to_bytes(host))
        elif line.stream is Stream.EXIT:
            _, number, *end = values
            self._insert("end", number, place, *end)
        elif line.stream is Stream.GAP:
            self._insert("gap", values[0], place, raw)
        elif line.stream is Stream.CHANGE:
            number, *change = values
            self._insert("change", number, place, *change)
        else:
            raise ValueError("no record is made of it")

    def _insert(self, table: str, *values: Any) -> None:  # noqa: ANN401  # SQLite's
        self._own.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608  # ours

    def records(self) -> Iterator[Made | NotMadeError]:
        """Yields what each exec makes that is a record, in order."""
        for number, place, raw in self._own.execute("SELECT number, place, line FROM record ORDER BY number"):
            try:
                line = layout.read_line(raw)
                assert isinstance(line, ExecLine)  # noqa: S101  # add() put it there
                yield self._record(line, place)
            except NotMadeError as exc:
                yield exc
            except _NONSENSE:
                yield NotMadeError("exec", number)

    def _record(self, line: ExecLine, place: int) -> Made:
        (
            number, ts, boot_ns, run_id, kind, pid, tid, ppid, errno, parent, duration_ns, _, replaced_by,
        ) = (None if each == NULL else each for each in line.numbers)  # fmt: skip
        assert number is not None  # noqa: S101  # it is the row's own
        known, places = Known(), [place]
        places.append(self._clock(known, run_id, ts, boot_ns))
        truncated = None if line.cut is None else line.cut[0]
        if line.cut is not None:
            known.cuts[number] = line.cut[1:]  # type: ignore[assignment]  # as sealed, see codec.line()
        known.lines[number] = line.argv
        known.launches = {0: LAUNCHES.of_values(line.launch)}
        known.origins = {0: ORIGINS.of_values(line.origin)}
        end = None
        if duration_ns is None:
            end = self._one("SELECT place, duration, status, replaced_by FROM end WHERE exec = ?", number)
        if end is not None:
            places.append(end[0])
            known.ends[number] = end[1:]
            duration_ns, _, replaced_by = end[1:]
        parent, changed = self._parent(line, parent)
        places += changed
        places += self._relatives(known, {parent} - {None}, must="exec")
        found = self._relatives(known, {replaced_by} - {None})
        row: tuple[Any, ...] = (
            number, ts, 0, kind, pid, tid, ppid, 0, 0, number, errno, truncated, parent, line.numbers[10],
            line.numbers[11], line.numbers[12],
        )  # fmt: skip
        row = tuple(None if each == NULL else each for each in row)
        text = self._line(to_found(row, known, Recording(None, 0)).event)
        texts = [text]
        if is_open := _UNKNOWN in text:
            # Whether it ran still is nothing that is sealed.
            texts.append(text.replace(_UNKNOWN, _RUNNING))
        is_loose = replaced_by is not None and not found
        lines = tuple(each.encode("ascii") for each in texts)
        return Made(lines, (*places, *found), number, is_open, is_loose)

    def _clock(self, known: Known, run_id: int | None, ts: int | None, boot_ns: int | None) -> int:
        if ts is None or boot_ns is None or run_id is None:
            raise LookupError("an exec has no time")
        run = self._one("SELECT place, boot_id, host FROM run WHERE number = ?", run_id)
        if run is None:
            raise NotMadeError("run", run_id)
        known.clocks[0] = Clock(ts - boot_ns, run_id, _to_text(run[2]), _to_text(run[1]))
        place: int = run[0]
        return place

    def _parent(self, line: ExecLine, parent: int | None) -> tuple[int | None, list[int]]:
        """Returns the parent that an exec has now, and the places of what changed it. Raises NotMadeError."""
        number = line.numbers[0]
        rows = self._own.execute(
            "SELECT place, parent_was, parent_now, line_was, line_now FROM change WHERE exec = ? ORDER BY number",
            (number,),
        ).fetchall()
        change, now = Change(), parent
        for _, *columns in rows:
            change.add(*columns)
            now = now if columns[2] is not None else columns[1]
        truncated = None if line.cut is None else line.cut[0]
        is_right = change.fits(NULL if now is None else now, line.line, truncated)  # type: ignore[arg-type]  # a number or None
        is_right &= change.parent(NULL if now is None else now) == line.numbers[9]
        if not is_right or change.line(line.line) != (line.was or line.line):
            raise NotMadeError("seal_change", number)
        return now, [row[0] for row in rows]

    def _relatives(self, known: Known, numbers: set[int | None], must: str | None = None) -> list[int]:
        """Adds the execs that a record names. Returns the places of those that are here."""
        places = []
        for number in numbers:
            row = self._one("SELECT place, boot_ns, pid FROM named WHERE number = ?", number)
            if row is not None:
                places.append(row[0])
                known.relatives[number] = Relative(row[1], row[2], None)  # type: ignore[index]  # without None
            elif must is not None:
                raise NotMadeError(must, number or 0)
        return places

    def gaps(self) -> Iterator[Made | NotMadeError]:
        """Yields what each gap makes, in order."""
        for number, place, raw in self._own.execute("SELECT number, place, line FROM gap ORDER BY number"):
            try:
                line = layout.read_line(raw)
                assert isinstance(line, RowLine)  # noqa: S101  # add() put it there
                yield self._gap(line.values, place)
            except _NONSENSE:
                yield NotMadeError("gap", number)

    def _gap(self, values: Sequence[Any], place: int) -> Made:
        number, run_id, from_ns, to_ns, reason, count, exits, uid = values
        places, host = [place], None
        if run_id is not None:
            run = self._one("SELECT place, host FROM run WHERE number = ?", run_id)
            if run is None:
                raise NotMadeError("run", run_id)
            places.append(run[0])
            host = _to_text(run[1])
        gap = Gap(host, Nanoseconds(from_ns), Nanoseconds(to_ns), GapReason(reason), count, exits, uid)  # type: ignore[arg-type]  # as find.gaps()
        return Made((json_text(gap_record(gap)).encode("ascii"),), tuple(places), number)

    def _one(self, sql: str, number: int | None) -> Any:  # noqa: ANN401  # SQLite's
        return self._own.execute(sql, (number,)).fetchone()


def _to_bytes(value: object) -> bytes:
    # A text of a history may be none that SQLite takes.
    if not isinstance(value, str):
        raise ValueError("no text where there must be one")  # noqa: TRY004  # as all others
    return value.encode("utf-8", "surrogateescape")


def _to_text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
