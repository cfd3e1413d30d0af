"""Check one segment of a history against what was sealed."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from execaudit.database.sealed_streams import Stream
from execaudit.seal import acts, chain, links, tree
from execaudit.seal.chain import NOTHING, Entry
from execaudit.seal.rows import TABLES, Rows
from execaudit.seal.segments import entries_of, stripped

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from execaudit.seal.chain import Added, ChainRow, Link, RunState
    from execaudit.seal.keys import VerificationKey
    from execaudit.seal.links import Roots
    from execaudit.seal.rows import Execs
    from execaudit.seal.segments import Segment

# No pruning deletes these.
_NEVER_PRUNED = frozenset({Stream.RUN, Stream.RULE})
KINDS = ("changed", "missing", "added", "reordered", "cut", "forged")
"""What can be wrong."""


class Problem(NamedTuple):
    """Something is not as it was sealed."""

    kind: str
    """One of KINDS."""
    table: str
    first: int | None
    """The numbers of the rows in the table, or of the segment, among which it is."""
    last: int | None
    from_ns: int | None
    """Wall clock of the seals before and after."""
    to_ns: int | None


def table_of(stream: Stream) -> str:
    """Returns the table of a stream."""
    return "exec" if stream is Stream.EXEC else TABLES[stream][0]


@dataclass
class Checked:
    """What was found in some segments."""

    problems: list[Problem] = field(default_factory=list)
    execs: int = 0
    """Rows that agree with their seals, and those beside them."""
    runs: list[RunState] = field(default_factory=list)
    """What was sealed of runs, in order, without what only went on."""

    def take_runs(self, runs: Iterable[RunState]) -> None:
        """Takes what is sealed next of runs."""
        for run in runs:
            last = self.runs[-1] if self.runs else None
            if last is not None and last[:2] == run[:2] and last.stopped_ns is None:
                self.runs.pop()
            self.runs.append(run)

    is_authentic: bool | None = None
    """None: no code could be checked; there was no key, or not the right one."""
    unkeyed: int = 0
    """How many segments have no code."""
    unchecked: int = 0
    """How many have one that no key was given for."""
    heads: dict[str, bool] = field(default_factory=dict)
    """The heads that were looked for and whose entry is here: whether they agree."""
    lost: list[tuple[int, int, int]] = field(default_factory=list)
    """Epochs that were lost at a boot: how many, and the wall clock of the seals before and after."""
    gone: int = 0
    """How many execs were sealed and are not there."""


class Before(NamedTuple):
    """What is known of the row before a segment."""

    link: Link
    chain: int | None
    """Its row of seal_chain; None: there is no row before."""
    last: Entry | None
    """Its last entry; None: it was stripped."""


class Asked(NamedTuple):
    """What a verification has to go by."""

    keys: Mapping[bytes, VerificationKey]
    """By the id of their chain."""
    heads: frozenset[chain.Head]
    stripped: frozenset[int]
    """The segments of which a pruning left nothing."""
    stamped: Mapping[chain.Head, int] = MappingProxyType({})
    """Those of the heads that have a time stamp: its number."""


def _to_text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


class SegmentCheck:
    """Checks segments, one after the other."""

    def __init__(
        self, connection: sqlite3.Connection, rows: Rows, chains: Mapping[int, ChainRow], asked: Asked
    ) -> None:
        """`rows` may remember what earlier transactions read."""
        self._connection = connection
        # Whoever edits a history may write a text that is none; the default would raise.
        connection.text_factory = _to_text
        self._rows = rows
        self._chains, self._asked = chains, asked
        self.found = Checked()

    def check(self, segment: Segment, before: Before) -> None:
        """Checks one, given what is known of the row before it.

        In a transaction, so that seals and rows are of one moment.
        """
        if not segment.entries:
            self._none_left(segment)
            return
        self._check_begin(segment, before)
        last = segment.begins
        try:
            entries, cursors = entries_of(segment)
            last = entries[-1][1]
            streams = chain.streams_from_bytes(segment.streams)
            row = self._chains[segment.chain]
        except (ValueError, IndexError, KeyError):
            self._add("changed", "seal", segment, segment.number, segment.number, last)
            return
        if any(cursors[stream] != segment.ends[stream] for stream in Stream):
            self._add("changed", "seal", segment, segment.number, segment.number, last)
            segment = segment._replace(ends=cursors)
        roots, wrong = self._roots(segment, entries, last)
        for stream, each in roots.items():
            made = NOTHING
            for root in each.values():
                made = chain.stream_hash(made, root)
            if stream not in wrong and made != streams.get(stream):
                wrong.add(stream)
                low, high = segment.start[stream] + 1, segment.ends[stream]
                self._add("changed", table_of(stream), segment, low, high, last)
        if not wrong and streams.keys() != roots.keys():
            self._add("changed", "seal", segment, segment.number, segment.number, last)
        self._links(segment, row, before, entries, roots, wrong, last)
        for _, entry in entries:
            self.found.take_runs(entry.runs)

    def _check_begin(self, segment: Segment, before: Before) -> None:
        """Looks whether a segment follows the last entry before it: else entries between were cut off."""
        last = before.last
        # After a stripped one only it knew: what was cut off there counts as pruned, see Result.stripped.
        if last is not None and (
            last.at_us != segment.begins.at_us
            or (before.chain == segment.chain and last.epoch != segment.begins.epoch)
        ):
            self._add("cut", "seal", segment, segment.number, segment.number, segment.begins)

    def _none_left(self, segment: Segment) -> None:
        """Looks for rows where a pruning left none, and whether there was one."""
        self._check_gone(segment, frozenset(), segment.begins)
        if segment.number not in self._asked.stripped:
            # A pruning may have stripped it since.
            self._asked = self._asked._replace(stripped=stripped(self._connection))
        if segment.number not in self._asked.stripped:
            self._add("cut", "seal", segment, segment.number, segment.number, segment.begins)
        self.found.gone += max(segment.ends[Stream.EXEC] - segment.start[Stream.EXEC], 0)
        for stream in Stream:
            low, high = segment.start[stream] + 1, segment.ends[stream]
            if low <= high and (found := self._rows.hashes(stream, low, high, 1)):
                self._add("added", table_of(stream), segment, found[0][0], high, segment.begins)

    def _roots(
        self, segment: Segment, entries: Sequence[tuple[bytes, Entry]], last: Entry
    ) -> tuple[Roots, set[Stream]]:
        """Returns hashes by stream and entry, and the streams whose rows are not all there."""
        ranges: dict[Stream, list[tuple[int, Added]]] = defaultdict(list)
        for at, (_, entry) in enumerate(entries):
            for added in entry.added:
                ranges[added.stream].append((at, added))
        self._check_gone(segment, ranges.keys(), last)
        roots: Roots = {}
        wrong: set[Stream] = set()
        for stream in Stream:
            low, high = segment.start[stream] + 1, segment.ends[stream]
            if high < low:
                continue
            gone = self._gone(segment, stream, last)
            found = self._found(segment, stream, low, high, last)
            roots[stream], at = {}, 0
            for batch, added in ranges[stream]:
                begin = at
                while at < len(found) and found[at][0] <= added.last:
                    at += 1
                within = [each for number, each in found[begin:at] if number >= added.first]
                if outside := [number for number, _ in found[begin:at] if number < added.first]:
                    wrong.add(stream)
                    self._add("added", table_of(stream), segment, outside[0], outside[-1], last)
                parts = gone.get(batch, {})
                self._count_gone(segment, added, parts, last)
                try:
                    roots[stream][batch] = tree.root_of_left(added.rows, within, parts)
                except tree.CountError as exc:
                    wrong.add(stream)
                    kind = "missing" if exc.missing > 0 else "added"
                    numbers = [number for number, _ in found[begin:at]]
                    self._add(
                        kind,
                        table_of(stream),
                        segment,
                        *_narrowed(added, numbers, kind, parts),
                        last,
                    )
            if at < len(found):
                wrong.add(stream)
                self._add("added", table_of(stream), segment, found[at][0], found[-1][0], last)
        return roots, wrong

    def _count_gone(
        self, segment: Segment, added: Added, parts: Mapping[tree.Place, bytes], last: Entry
    ) -> None:
        if not parts:
            return
        if added.stream in _NEVER_PRUNED:
            self._add("missing", table_of(added.stream), segment, added.first, added.last, last)
        elif added.stream is Stream.EXEC:
            self.found.gone += added.rows - len(tree.places_left(added.rows, parts))

    def _found(
        self, segment: Segment, stream: Stream, low: int, high: int, last: Entry
    ) -> list[tuple[int, bytes]]:
        """Returns numbers and hashes of the rows that are there."""
        if stream is not Stream.EXEC:
            return self._rows.hashes(stream, low, high)
        execs = self._rows.execs(low, high)
        self.found.execs += len(execs.numbers)
        for number, table in execs.problems:
            self._add("changed", table, segment, number, number, last)
        self._check_times(execs, segment, last)
        return [*zip(execs.numbers, execs.hashes, strict=True)]

    def _check_times(self, execs: Execs, segment: Segment, last: Entry) -> None:
        """Looks whether the time index leads to these execs."""
        numbers, times = execs.numbers, execs.times
        if not numbers:
            return
        index = self._connection.execute(
            "SELECT id_lo, id_hi, ts_min, ts_max FROM seg WHERE id_hi >= ? AND id_lo <= ? ORDER BY id_lo",
            (numbers[0], numbers[-1]),
        ).fetchall()
        at = 0
        wrong: list[int] = []
        for low, high, earliest, latest in index:
            begin = max(bisect_left(numbers, low), at)
            wrong += numbers[at:begin]
            at = max(bisect_right(numbers, high), begin)
            within = times[begin:at]
            if within and not (earliest <= min(within) and max(within) <= latest):
                wrong += numbers[begin:at]
        wrong += numbers[at:]
        if wrong:
            self._add("changed", "seg", segment, wrong[0], wrong[-1], last)

    def _gone(self, segment: Segment, stream: Stream, last: Entry) -> dict[int, dict[tree.Place, bytes]]:
        """Returns what a pruning left of rows that it deleted."""
        row = self._connection.execute(
            "SELECT act_id, parts FROM seal_gone WHERE seal_id = ? AND stream = ?", (segment.number, stream)
        ).fetchone()
        if row is None:
            return {}
        act, parts = row
        if not is_vouched(self._connection, act, segment.number, stream, parts):
            self._add("changed", "seal_gone", segment, segment.number, segment.number, last)
            return {}
        try:
            return tree.from_bytes(parts)
        except (ValueError, IndexError):
            self._add("changed", "seal_gone", segment, segment.number, segment.number, last)
            return {}

    def _check_gone(self, segment: Segment, streams: Collection[int], last: Entry) -> None:
        """Looks for what a pruning left of streams of which nothing was sealed."""
        rows = self._connection.execute("SELECT stream FROM seal_gone WHERE seal_id = ?", (segment.number,))
        if any(stream not in streams for (stream,) in rows):
            self._add("added", "seal_gone", segment, segment.number, segment.number, last)

    def _links(  # noqa: PLR0913, PLR0917  # what a segment is made of
        self,
        segment: Segment,
        row: ChainRow,
        before: Before,
        entries: Sequence[tuple[bytes, Entry]],
        roots: Roots,
        wrong: set[Stream],
        last: Entry,
    ) -> None:
        """Computes the chain anew, through the entries."""
        key = self._asked.keys.get(row.id) if row.is_keyed else None
        self._check_epochs(segment, row, before.chain, entries)
        if wrong:
            return
        link = links.link_before(before.link, before.chain, segment)
        computed = links.follow(segment, row, link, entries, roots, key, self._asked.heads)
        self.found.heads.update(computed.heads)
        if computed.link.hash != segment.link.hash:
            self._add("changed", "seal", segment, segment.number, segment.number, last)
        elif not row.is_keyed:
            self.found.unkeyed += 1
            if segment.link.code is not None:
                self._add("changed", "seal", segment, segment.number, segment.number, last)
        elif key is None:
            self.found.unchecked += 1
        elif computed.link.code == segment.link.code:
            self.found.is_authentic = self.found.is_authentic is not False
        else:
            self.found.is_authentic = False
            self._add("forged", "seal", segment, segment.number, segment.number, last)

    def _check_epochs(
        self,
        segment: Segment,
        row: ChainRow,
        chain_before: int | None,
        entries: Sequence[tuple[bytes, Entry]],
    ) -> None:
        """Looks for epochs that are not here: after a power cut there may be some, else never."""
        before = segment.begins
        is_first = row.is_keyed and chain_before != segment.chain
        # Of a chain with a key all epochs are there: whoever has a later key cannot begin it anew.
        if is_first and (before.epoch >= 0 or entries[0][1].epoch != 0):
            self._add("cut", "seal", segment, segment.number, segment.number, entries[0][1])
        number = segment.number
        for lost, last, entry in links.missing_epochs(before, entries):
            if lost <= links.MOST_LOST and not is_first and self._is_after_boot(entry):
                self.found.lost.append((lost, last.at_ns, entry.at_ns))
            else:
                self.found.problems.append(Problem("cut", "seal", number, number, last.at_ns, entry.at_ns))

    def _is_after_boot(self, entry: Entry) -> bool:
        """Says whether a recorder of another boot than the last begins in an entry."""
        for added in entry.added:
            if added.stream is Stream.RUN:
                boots = self._connection.execute(
                    "SELECT (SELECT boot_id FROM run WHERE id = ?), (SELECT boot_id FROM run WHERE id < ?"
                    " ORDER BY id DESC LIMIT 1)",
                    (added.first, added.first),
                ).fetchone()
                return bool(boots[0] != boots[1])
        return False

    def _add(  # noqa: PLR0913, PLR0917  # what a problem has
        self, kind: str, table: str, segment: Segment, first: int, end: int, last: Entry
    ) -> None:
        begin_ns = segment.begins.at_ns or None
        self.found.problems.append(Problem(kind, table, first, end, begin_ns, last.at_ns or None))


def _narrowed(
    added: Added, numbers: Sequence[int], kind: str, gone: Mapping[tree.Place, bytes]
) -> tuple[int, int]:
    """Returns among which numbers rows are missing or too many."""
    if kind == "missing" and not gone and added.last - added.first + 1 == added.rows:
        lost = sorted(set(range(added.first, added.last + 1)) - set(numbers))
        return lost[0], lost[-1]
    return added.first, added.last


def is_vouched(connection: sqlite3.Connection, act: int, seal_id: int, stream: int, parts: bytes) -> bool:
    """Says whether a pruning sealed what it left of deleted rows."""
    row = connection.execute("SELECT parts FROM seal_act WHERE id = ?", (act,)).fetchone()
    return row is not None and acts.has(row[0], seal_id, stream, parts)
