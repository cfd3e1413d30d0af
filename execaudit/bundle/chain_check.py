"""Follow the chain through the segments of a bundle, and tell which of their rows it proves. Pure."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from execaudit.database.sealed_streams import Stream
from execaudit.seal import chain, links, tree
from execaudit.seal.chain import NOTHING, Link
from execaudit.seal.segment_check import Problem, table_of
from execaudit.seal.segments import Segment, entries_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from execaudit.bundle.layout import SealLine
    from execaudit.seal.chain import Added, ChainRow, Entry, Head
    from execaudit.seal.keys import VerificationKey
    from execaudit.seal.links import Roots

# A transaction has up to some thousand rows, and a segment ends with 4096.
_MOST_ROWS = 1 << 18
_MOST_CHAINS = 1000
_LATEST_US = 2**63 // 1000 - 1
_MOST_PROBLEMS = 1000


class Spans:
    """Ranges of entries, by their places in the bundle."""

    def __init__(self) -> None:
        self._begins: list[int] = []
        self._ends: list[int] = []

    def add(self, begin: int, end: int) -> None:
        """Adds those from `begin` on, before `end`: after all that is there, or with its last `begin`."""
        if self._begins and self._begins[-1] == begin:
            self._ends[-1] = max(end, self._ends[-1])
        else:
            self._begins.append(begin)
            self._ends.append(end)

    def has(self, at: int) -> bool:
        """Says whether an entry is in one of them."""
        found = bisect_right(self._begins, at) - 1
        return found >= 0 and at < self._ends[found]


@dataclass
class Followed:
    """What the chain says."""

    problems: list[Problem] = field(default_factory=list)
    chains: list[ChainRow] = field(default_factory=list)
    head: Head | None = None
    last: Entry | None = None
    by_key: Spans = field(default_factory=Spans)
    """The entries that a key vouches for, because a later code covers them."""
    by_head: Spans = field(default_factory=Spans)
    """Those that lead to one of the heads that were given."""
    wrong: Spans = field(default_factory=Spans)
    """Those of segments that are not as they were sealed."""
    is_forged: bool = False
    unkeyed: int = 0
    """How many segments have no code."""
    unchecked: int = 0
    """How many have one that no key was given for."""
    first_unchecked: int | None = None
    """The place of the first entry of those."""
    heads: dict[str, bool] = field(default_factory=dict)
    lost: list[tuple[int, int, int]] = field(default_factory=list)
    """As of segment_check.Checked."""

    def add(self, kind: str, table: str, first: int, last: int, segment: Segment, end: Entry) -> None:  # noqa: PLR0913, PLR0917  # what a problem has
        """Adds a problem."""
        if len(self.problems) < _MOST_PROBLEMS:
            begin_ns = segment.begins.at_ns or None
            self.problems.append(Problem(kind, table, first, last, begin_ns, end.at_ns or None))


class ChainCheck:
    """Takes the lines of a bundle, in order."""

    def __init__(self, keys: Iterable[VerificationKey], heads: Iterable[Head]) -> None:
        self._keys, self._heads = {key.chain: key for key in keys}, [*heads]
        self.found = Followed()
        self._chains: dict[int, ChainRow] = {}
        self._used: set[int] = set()
        self._segment: Segment | None = None
        self._last: Entry | None = None
        """The last entry of that segment."""
        self._at = self._group = 0
        """The place of the next entry, and of the first that hashes lead back to."""

    def take_chain(self, row: ChainRow) -> None:
        """Takes a row of seal_chain. Raises ValueError."""
        last = self.found.chains[-1].number if self.found.chains else 0
        if row.number <= last or len(self._chains) >= _MOST_CHAINS:
            raise ValueError("chains are out of order")
        self._chains[row.number] = row
        self.found.chains.append(row)

    def take_segment(self, line: SealLine) -> None:
        """Begins a segment. Raises ValueError or IndexError for what makes no sense."""
        row = self._chains.get(line.chain)
        if row is None:
            raise ValueError("a seal has no chain")
        segment = Segment(
            line.number, line.chain, line.begins, line.start, line.start, line.entries, b"", line.link
        )
        entries, ends = entries_of(segment)
        if not entries:
            raise ValueError("a seal is empty")
        if any(abs(entry.at_us) > _LATEST_US for entry in (segment.begins, *(entry for _, entry in entries))):
            raise ValueError("a seal is of no time")
        segment = segment._replace(ends=ends)
        self._check_order(segment, line, row, entries)
        self._line, self._entries, self._row = line, entries, row
        self._before = self._follows(line, segment)
        self._segment, self._last = segment, entries[-1][1]
        self._used.add(segment.chain)
        self._ranges: dict[Stream, list[tuple[int, Added]]] = {}
        for batch, (_, entry) in enumerate(entries):
            for added in entry.added:
                self._ranges.setdefault(added.stream, []).append((batch, added))
        self._hashes: dict[Stream, dict[int, list[bytes]]] = {stream: {} for stream in self._ranges}
        self._next = (Stream.EXEC, 0, 0)
        """The stream, the number and the place of the entry that a row must not be before."""
        self._rows = 0

    def _follows(self, line: SealLine, segment: Segment) -> Link:
        """Returns what a segment follows, and notes where hashes lead back to no further."""
        before = self._segment
        if line.before is not None:
            self._group = self._at
            return line.before
        if before is None:
            return Link(NOTHING, NOTHING)
        return links.link_before(before.link, before.chain, segment)

    def _check_order(
        self, segment: Segment, line: SealLine, row: ChainRow, entries: list[tuple[bytes, Entry]]
    ) -> None:
        """Looks whether a segment comes after the one before it, and whether epochs are missing."""
        before, last, found = self._segment, self._last, self.found
        number = segment.number
        is_next = line.before is None
        is_same = before is not None and before.chain == segment.chain
        begins = segment.begins
        if before is not None and last is not None:
            is_after = number > before.number and segment.chain >= before.chain
            is_after &= all(segment.start[stream] >= before.ends[stream] for stream in Stream)
            is_after &= not is_same or begins.epoch >= last.epoch
            if is_next:
                is_after &= number == before.number + 1 and segment.start == before.ends
                is_after &= begins.at_us == last.at_us and (not is_same or begins.epoch == last.epoch)
            if not is_after:
                found.add("cut", "seal", number, number, segment, begins)
        elif is_next and number != 1:
            found.add("cut", "seal", number, number, segment, begins)
        self._check_epochs(segment, row, entries, is_first=is_next and not is_same)

    def _check_epochs(
        self, segment: Segment, row: ChainRow, entries: list[tuple[bytes, Entry]], *, is_first: bool
    ) -> None:
        number, before = segment.number, segment.begins
        if is_first and row.is_keyed and (before.epoch >= 0 or entries[0][1].epoch != 0):
            self.found.add("cut", "seal", number, number, segment, entries[0][1])
        for lost, last, entry in links.missing_epochs(before, entries):
            has_run = any(added.stream is Stream.RUN for added in entry.added)
            if lost <= links.MOST_LOST and has_run and not (is_first and row.is_keyed):
                self.found.lost.append((lost, last.at_ns, entry.at_ns))
            else:
                self.found.add("cut", "seal", number, number, segment, entry)

    def take_row(self, stream: Stream, number: int, digest: bytes) -> int:
        """Takes a row of the segment. Returns the place of its entry. Raises ValueError if it has none."""
        if self._segment is None:
            raise ValueError("a row comes before any seal")
        self._rows += 1
        last_stream, last, at = self._next
        if stream != last_stream:
            last, at = 0, 0
        ranges = self._ranges.get(stream, [])
        while at < len(ranges) and ranges[at][1].last < number:
            at += 1
        if (
            at == len(ranges)
            or number < ranges[at][1].first
            or number <= last
            or stream < last_stream
            or self._rows > _MOST_ROWS
        ):
            raise ValueError("a row is none of its seal")
        self._next = (stream, number, at)
        batch = ranges[at][0]
        self._hashes[stream].setdefault(batch, []).append(digest)
        return self._at + batch

    def finish(self) -> None:
        """Ends the last segment, and looks for chains that seal nothing."""
        self.finish_segment()
        for number in self._chains.keys() - self._used:
            self.found.problems.append(Problem("added", "seal_chain", number, number, None, None))

    def finish_segment(self) -> None:
        """Computes the chain through the segment whose rows have all been taken, if there is one."""
        segment, end = self._segment, self._last
        if segment is None or end is None:
            return
        begin, self._at = self._at, self._at + len(self._entries)
        roots = self._roots(segment, end)
        if roots is not None and self._linked(segment, roots, begin):
            return
        self.found.wrong.add(begin, self._at)
        self._group = self._at
        self._note_head(segment, end)

    def _roots(self, segment: Segment, end: Entry) -> Roots | None:
        """Returns the hashes of the rows of each entry; None: they cannot be."""
        roots: Roots = {}
        left_out = {stream: dict(parts) for stream, parts in self._line.left_out.items()}
        is_whole = True
        for stream, ranges in self._ranges.items():
            roots[stream] = {}
            for batch, added in ranges:
                parts = left_out.get(stream, {}).pop(batch, {})
                try:
                    roots[stream][batch] = tree.root_of_parts(
                        added.rows, self._hashes[stream].get(batch, []), parts
                    )
                except tree.CountError as exc:
                    is_whole = False
                    kind = "missing" if exc.missing > 0 else "added"
                    self.found.add(kind, table_of(stream), added.first, added.last, segment, end)
                except ValueError:
                    is_whole = False
                    self.found.add("changed", "seal", segment.number, segment.number, segment, end)
        if is_whole and any(left_out.values()):
            self.found.add("changed", "seal", segment.number, segment.number, segment, end)
            return None
        return roots if is_whole else None

    def _linked(self, segment: Segment, roots: Roots, begin: int) -> bool:
        """Computes hash and code. Returns whether they are those that were sealed."""
        found, row = self.found, self._row
        key = self._keys.get(row.id) if row.is_keyed else None
        computed = links.follow(segment, row, self._before, self._entries, roots, key, self._heads)
        number, end = segment.number, self._entries[-1][1]
        if computed.link.hash != segment.link.hash or (row.is_keyed == 0) != (segment.link.code is None):
            self._add_changed(segment, end)
            return False
        self._note_head(segment, end)
        if not row.is_keyed:
            found.unkeyed += 1
        elif key is not None:
            if computed.link.code != segment.link.code:
                found.is_forged = True
                found.add("forged", "seal", number, number, segment, end)
                return False
            found.by_key.add(self._group, self._at)
        else:
            found.unchecked += 1
            if found.first_unchecked is None:
                found.first_unchecked = begin
        found.heads.update(computed.heads)
        for at, (_, entry) in enumerate(self._entries):
            if any(entry.epoch == head.epoch and computed.heads.get(str(head)) for head in self._heads):
                found.by_head.add(self._group, begin + at + 1)
        return True

    def _note_head(self, segment: Segment, end: Entry) -> None:
        self.found.last = end
        self.found.head = chain.head(self._row.id, end.epoch, segment.link.hash)

    def _add_changed(self, segment: Segment, end: Entry) -> None:
        """Says among which rows that are here something was changed; else it is in the seal."""
        found = False
        for stream, batches in self._hashes.items():
            if batches:
                found = True
                ranges = [added for batch, added in self._ranges[stream] if batch in batches]
                self.found.add("changed", table_of(stream), ranges[0].first, ranges[-1].last, segment, end)
        if not found:
            self.found.add("changed", "seal", segment.number, segment.number, segment, end)
