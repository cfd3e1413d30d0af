"""Compare rows of a central database with what a host sealed of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit.central.numbering import Shifts
from execaudit.database.sealed_streams import Stream
from execaudit.fleet.sealed_rows import ExecHashes, Hashed, hashed, hashed_gap, numbers_of
from execaudit.seal import acts, pieces, tree
from execaudit.seal.pieces import SHIPPED
from execaudit.seal.segment_check import Problem, table_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from execaudit.fleet.sealed_reader import Dropped, Run, SealedReader
    from execaudit.seal.chain import Added, Cursors, Entry
    from execaudit.seal.pieces import Piece

    _Parts = Mapping[tree.Place, bytes]

# The owner's deletions at the centre are of these.
_DROPPED = frozenset({Stream.EXEC, Stream.EXIT, Stream.HIT, Stream.GAP})
_DAY_NS = pieces.DAY_NS


class Read(NamedTuple):
    """A piece, and what stands in it."""

    piece: Piece
    entries: Sequence[tuple[bytes, Entry]]
    """None: it makes no sense, or nothing is left."""
    start: Cursors
    ends: Cursors
    roots: Sequence[list[bytes]]


@dataclass
class Found:
    """What was found of rows."""

    problems: list[Problem] = field(default_factory=list)
    execs: int = 0
    """That are as they were sealed, and those beside them."""
    dropped: int = 0
    """Execs that were deleted at the centre."""
    dropped_ns: tuple[int, int] = (0, 0)
    """When the first and the last of these were sealed."""
    unproved: int = 0
    """Rows beside others that were deleted: what was sealed of them together cannot be computed."""


class RowCheck:
    """Compares the rows of a stream, piece after piece."""

    def __init__(
        self, reader: SealedReader, runs: Mapping[int, Run], dropped: Dropped, last_act: int
    ) -> None:
        """`last_act` is the last row of the host's seal_act that is sealed at the centre."""
        self._reader, self._dropped, self._last_act = reader, dropped, last_act
        self._runs = {number: (run.boot_id, run.host) for number, run in runs.items()}
        self._hashes = ExecHashes()
        self._counted = 0
        self._exit_shifts: list[Shifts] = []
        self.found = Found()

    def check(self, some: Sequence[Read]) -> None:
        """Compares the rows of pieces that follow each other, and whose rows have the same shifts."""
        shifts = Shifts.from_json(some[0].piece.shifts)
        if shifts not in self._exit_shifts:
            self._exit_shifts.append(shifts)
        for stream in Stream:
            if stream in SHIPPED and some[-1].ends[stream] > some[0].start[stream]:
                self._stream(stream, some, shifts)

    def _stream(self, stream: Stream, some: Sequence[Read], shifts: Shifts) -> None:
        first, last = some[0].start[stream] + 1, some[-1].ends[stream]
        rows = (
            self._execs(shifts, first, last)
            if stream is Stream.EXEC
            else self._gaps(some, shifts, first, last)
            if stream is Stream.GAP
            else self._others(stream, shifts, first, last)
        )
        at = 0
        for each in some:
            gone = self._gone(each, stream)
            for place, (_, entry) in enumerate(each.entries):
                for which, added in enumerate(entry.added):
                    if added.stream is not stream:
                        continue
                    begin = at
                    while at < len(rows) and rows[at].number <= added.last:
                        at += 1
                    outside = [row.number for row in rows[begin:at] if row.number < added.first]
                    if outside:
                        self._add("added", stream, each, outside[0], outside[-1])
                    within = [row for row in rows[begin:at] if row.number >= added.first]
                    parts = gone.get(each.piece.place + place, {})
                    self._entry(each, place, added, within, each.roots[place][which], parts)
        if at < len(rows):
            self._add("added", stream, some[-1], rows[at].number, rows[-1].number)

    def _entry(  # noqa: PLR0913, PLR0917  # what an entry has of a stream
        self, read: Read, place: int, added: Added, rows: Sequence[Hashed], root: bytes, parts: _Parts
    ) -> None:
        """Compares the rows of one entry."""
        odd = [row.number for row in rows if row.is_odd]
        if odd:
            self._add("changed", added.stream, read, odd[0], odd[-1])
        kept, left = _kept(added, rows, parts)
        if left is not None:
            if tree.root_of_left(added.rows, left, kept) != root:
                self._add("changed", added.stream, read, added.first, added.last)
            elif kept and len(left) < len(rows):
                self.found.unproved += len(rows) - len(left)
            return
        missing = len(tree.places_left(added.rows, kept)) - len(rows)
        if missing > 0 and self._may_be_dropped(read, place, added):
            self.found.unproved += len(rows)
            if added.stream is Stream.EXEC:
                self.found.dropped += missing
                at_ns = read.entries[place][1].at_ns
                begin = self.found.dropped_ns[0] or at_ns
                self.found.dropped_ns = min(begin, at_ns), max(self.found.dropped_ns[1], at_ns)
            return
        kind = "missing" if missing > 0 else "added"
        first, last = added.first, added.last
        if missing > 0 and not kept and last - first + 1 == added.rows:
            lost = sorted(set(range(first, last + 1)) - {row.number for row in rows})
            first, last = lost[0], lost[-1]
        self._add(kind, added.stream, read, first, last)

    def _may_be_dropped(self, read: Read, place: int, added: Added) -> bool:
        """Says whether some rows of an entry are of a day that the owner deleted."""
        if added.stream not in _DROPPED:
            return False
        at_ns = read.entries[place][1].at_ns - _DAY_NS
        try:
            oldest = pieces.old_days(read.piece.oldest).get((place, int(added.stream)))
        except (IndexError, ValueError):
            oldest = None
        return self._dropped.has(at_ns if oldest is None else min(oldest * _DAY_NS, at_ns))

    def _gone(self, read: Read, stream: Stream) -> dict[int, dict[tree.Place, bytes]]:
        """Returns what prunings on the host left of rows before they were shipped, by entry."""
        if not read.piece.gone:
            return {}
        try:
            for row in pieces.gone(read.piece.gone):
                if row.stream != stream:
                    continue
                parts = self._reader.acts(row.act)
                # The seal of a pruning comes after it.
                is_pending = not parts and row.act > self._last_act
                if is_pending or any(acts.has(each, read.piece.number, stream, row.parts) for each in parts):
                    return tree.from_bytes(row.parts)
                self._add("changed", stream, read, None, None, table="seal")
        except (IndexError, ValueError):
            self._add("changed", stream, read, None, None, table="seal")
        return {}

    def _execs(self, shifts: Shifts, first: int, last: int) -> list[Hashed]:
        changes = self._reader.changes(first, last)
        found = []
        for row in self._reader.execs(shifts.exec.ranges(first, last)):
            if row[1] > self._counted:
                self._counted = row[1]
                self.found.execs += 1
            number = shifts.exec.local(row[1])
            found.append(self._hashes.of(row, shifts, self._runs, changes.get(number, ())))
        return found

    def _others(self, stream: Stream, shifts: Shifts, first: int, last: int) -> list[Hashed]:
        numbers = numbers_of(stream, shifts)
        ranges = [(first, last)] if numbers is None else numbers.ranges(first, last)
        rows = self._reader.rows(stream, ranges)
        times = self._reader.times([row[1] for row in rows]) if stream in {Stream.EXIT, Stream.HIT} else {}
        found = []
        for row in rows:
            made = hashed(stream, row, shifts)
            # Of an exec that is not here nothing is said: that is said of itself.
            found.append(made._replace(is_odd=bool(times) and times.get(row[1], row[2]) != row[2]))
        if stream is Stream.EXIT and len(self._exit_shifts) > 1:
            found += self._earlier_ends(first, last, {each.number for each in found})
        return self._in_order(stream, rows, found, shifts)

    def _earlier_ends(self, first: int, last: int, known: set[int]) -> Iterator[Hashed]:
        """Yields ends that came before the history was put back: they do not come a second time."""
        for shifts in reversed(self._exit_shifts[:-1]):
            for row in self._reader.rows(Stream.EXIT, shifts.exit.ranges(first, last)):
                made = hashed(Stream.EXIT, row, shifts)
                if made.number not in known:
                    known.add(made.number)
                    yield made

    def _in_order(
        self, stream: Stream, rows: Sequence[Sequence[Any]], found: list[Hashed], shifts: Shifts
    ) -> list[Hashed]:
        if stream is not Stream.HIT:
            return sorted(found, key=lambda each: each.number)
        rules = [shifts.rule.local(row[3]) for row in rows]
        return [each for _, each in sorted(zip(rules, found, strict=True), key=lambda e: (e[1].number, e[0]))]

    def _gaps(self, some: Sequence[Read], shifts: Shifts, first: int, last: int) -> list[Hashed]:
        """Returns gaps: their runs stand in the pieces."""
        runs: dict[int, int] = {}
        for each in some:
            try:
                numbers = pieces.numbers_of(each.piece.runs)
            except (IndexError, ValueError):
                continue
            gone = self._gone(each, Stream.GAP)
            for place, (_, entry) in enumerate(each.entries):
                for added in (one for one in entry.added if one.stream is Stream.GAP):
                    left = tree.places_left(added.rows, gone.get(each.piece.place + place, {}))
                    runs.update(zip((added.first + at for at in left), numbers, strict=False))
                    numbers = numbers[len(left) :]
            if numbers:
                self._add("changed", Stream.GAP, each, None, None, table="seal")
        rows = self._reader.rows(Stream.GAP, shifts.gap.ranges(first, last))
        found = []
        for row in rows:
            run = runs.get(shifts.gap.local(row[1]), 0)
            host = self._runs.get(shifts.run.at_centre(run), (b"", row[2]))[1]
            found.append(hashed_gap(row, shifts, run)._replace(is_odd=host != row[2]))
        return sorted(found, key=lambda each: each.number)

    def _add(  # noqa: PLR0913, PLR0917  # what a problem has
        self,
        kind: str,
        stream: Stream,
        read: Read,
        first: int | None,
        last: int | None,
        table: str | None = None,
    ) -> None:
        piece = read.piece
        number = (piece.number, piece.number) if table is not None else (first, last)
        self.found.problems.append(
            Problem(kind, table or table_of(stream), *number, piece.at_us * 1000 or None, piece.ts)
        )


def _kept(added: Added, rows: Sequence[Hashed], parts: _Parts) -> tuple[_Parts, list[bytes] | None]:
    """Returns what stands for rows that were pruned before they were shipped, and the hashes of the others.

    None: there are more or fewer rows. A row that was shipped before it was pruned stands for itself.
    """
    hashes = [row.hash for row in rows]
    if not parts or len(rows) == added.rows:
        return {}, hashes if len(rows) == added.rows else None
    if len(tree.places_left(added.rows, parts)) == len(rows):
        return parts, hashes
    if added.last - added.first + 1 != added.rows:
        return parts, None
    by_place = {row.number - added.first: row.hash for row in rows}
    kept = {
        place: digest
        for place, digest in parts.items()
        if not all(at in by_place for at in _places(place, added.rows))
    }
    left = tree.places_left(added.rows, kept)
    return kept, [by_place[at] for at in left] if all(at in by_place for at in left) else None


def _places(place: tree.Place, count: int) -> range:
    size = tree.CHILDREN**place.level
    return range(place.at * size, min((place.at + 1) * size, count))
