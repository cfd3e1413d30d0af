"""Search all command lines by what the index knows of them: only spans of execs that have one are read.

The index only proposes blocks: the bytes of their lines are compared, then the execs are. Execs that are not
in the index yet are searched without it.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING

from execaudit.database import packed_ids, trigram_bitmap
from execaudit.database.id_list import json_ids
from execaudit.database.packed_ids import CHUNK_EXECS
from execaudit.database.trigram_bitmap import BLOCK_LINES, CHUNK_BLOCKS, CHUNK_LINES, CHUNK_ROWS
from execaudit.query.statements import Span, lines_statement

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from execaudit.database.trigram_bitmap import BucketBits

# More lines have more execs: then it is as fast to read all of these.
_MOST_LINES = 100_000
# Few enough to be looked at, so that the index need not be asked again: 2000 lines.
_FEW_BLOCKS = 32
_ALL_BLOCKS = 2**CHUNK_BLOCKS - 1
_PAGE_CHUNKS = 64
_ASKED_RANGES = 64
_JOINED_EXECS = 4 * CHUNK_EXECS
# For a range smaller than this part of the history, it is faster to find first which lines its execs have.
_SMALL_PART = 4
_BITS = (
    "SELECT c.value, substr(g.bits, :offset + 1, :size) FROM json_each(:chunks) AS c"  # noqa: S608  # ours
    f" CROSS JOIN argv_grams AS g ON g.id = c.value * {CHUNK_ROWS} + :row"
)


_INDEXED = (
    "SELECT c.value FROM json_each(:chunks) AS c"  # noqa: S608  # ours
    f" CROSS JOIN argv_grams AS g ON g.id = c.value * {CHUNK_ROWS}"
)


class Search:
    """A search for texts, of which one must be in a command line."""

    def __init__(self, connection: sqlite3.Connection, texts: Sequence[bytes], whole: Span) -> None:
        """The connection must have the functions of `sql_functions`. `whole` spans all later calls."""
        self._connection = connection
        self._texts = texts
        self._whole = whole
        self._asked = False
        self._lines: list[int] | None = None

    def spans(self, low: int, high: int, *, backward: bool) -> Iterator[Span]:
        """Yields where the execs are that are wanted of those from `low` to `high`, in that order."""
        if not self._asked:
            self._asked, self._lines = True, self._find_lines()
        if self._lines is None:
            yield Span(low, high)
        elif backward:
            yield from _joined(self._backward(low, high, self._lines))
        else:
            yield from _joined(self._forward(low, high, self._lines))

    def _forward(self, low: int, high: int, lines: list[int]) -> Iterator[Span]:
        at = low
        for chunk, found in self._chunks(low // CHUNK_EXECS, high // CHUNK_EXECS, lines, backward=False):
            start = chunk * CHUNK_EXECS
            if start > at:
                yield Span(at, start - 1)
            if found:
                yield Span(max(low, start), min(high, start + CHUNK_EXECS - 1), found)
            at = start + CHUNK_EXECS
        if at <= high:
            yield Span(at, high)

    def _backward(self, low: int, high: int, lines: list[int]) -> Iterator[Span]:
        at = high
        for chunk, found in self._chunks(low // CHUNK_EXECS, high // CHUNK_EXECS, lines, backward=True):
            start = chunk * CHUNK_EXECS
            if start + CHUNK_EXECS <= at:
                yield Span(start + CHUNK_EXECS, at)
            if found:
                yield Span(max(low, start), min(high, start + CHUNK_EXECS - 1), found)
            at = start - 1
        if at >= low:
            yield Span(low, at)

    def _chunks(
        self, first: int, last: int, lines: list[int], *, backward: bool
    ) -> Iterator[tuple[int, list[int]]]:
        """Yields the chunks that are indexed, and which of the lines are in each."""
        wanted = set(lines)
        column = "ids" if lines else "NULL"
        order = "DESC" if backward else "ASC"
        sql = f"SELECT id, {column} FROM argv_used WHERE id BETWEEN ? AND ? ORDER BY id {order} LIMIT ?"  # noqa: S608  # ours
        while page := self._connection.execute(sql, (first, last, _PAGE_CHUNKS)).fetchall():
            for chunk, packed in page:
                yield chunk, packed_ids.common(packed_ids.unpack(packed), lines, wanted) if lines else []
            if backward:
                last = page[-1][0] - 1
            else:
                first = page[-1][0] + 1

    def _find_lines(self) -> list[int] | None:
        """Returns the ids of the lines that have a text, in order; None if they are too many.

        A line may be left out if no exec in an indexed chunk that is asked for has it.
        """
        sql, values = lines_statement(self._texts)
        lines: list[int] = []
        ranges = self._line_ranges()
        # Many at once, because there may be thousands, of 64 lines each.
        while some := dict(islice(ranges, _ASKED_RANGES)):
            lines += [row[0] for row in self._connection.execute(sql, {**values, "ranges": json.dumps(some)})]
            if len(lines) > _MOST_LINES:
                return None
        return lines

    def _line_ranges(self) -> Iterator[tuple[int, int]]:
        """Yields ranges of ids in which all lines are that have a text, in order."""
        chunks = self._chunks_with_lines()
        if not chunks:
            return
        found = dict.fromkeys(chunks, 0)
        for text in self._texts:
            for chunk, bits in self._bits_of(trigram_bitmap.places(text), chunks).items():
                found[chunk] |= bits
        used = self._used_blocks()
        start = end = 0
        for chunk, bits in found.items():
            for block in trigram_bitmap.blocks(bits):
                if used is not None and chunk * CHUNK_BLOCKS + block not in used:
                    continue
                low = chunk * CHUNK_LINES + block * BLOCK_LINES
                # Adjacent blocks are read at once, but not all of them: there may be too many lines.
                if low != end or low - start >= CHUNK_LINES:
                    yield start, end - 1
                    start = low
                end = low + BLOCK_LINES
        yield start, end - 1

    def _chunks_with_lines(self) -> list[int]:
        """Returns the chunks that have a line. Between a very old line and the new ones all may be pruned."""
        chunks: list[int] = []
        low = 0
        while True:
            (line,) = self._connection.execute("SELECT min(id) FROM argv WHERE id >= ?", (low,)).fetchone()
            if line is None:
                return chunks
            chunks.append(line // CHUNK_LINES)
            low = (chunks[-1] + 1) * CHUNK_LINES

    def _used_blocks(self) -> set[int] | None:
        """Returns the blocks of lines that the execs have which are asked for; None: not known."""
        low, high, _ = self._whole
        # Of the numbers between the first and the last exec, most may be pruned.
        every, within = self._connection.execute(
            "SELECT total(id_hi - id_lo + 1),"
            " total(CASE WHEN id_hi >= :low AND id_lo <= :high THEN min(id_hi, :high) - max(id_lo, :low) + 1 END)"
            " FROM seg",
            {"low": low, "high": high},
        ).fetchone()
        if within * _SMALL_PART > every:
            return None
        used: set[int] = set()
        for (packed,) in self._connection.execute(
            "SELECT ids FROM argv_used WHERE id BETWEEN ? AND ?", (low // CHUNK_EXECS, high // CHUNK_EXECS)
        ):
            used.update(packed_ids.unpack(packed))
        return {line // BLOCK_LINES for line in used}

    def _bits_of(self, places: Iterable[BucketBits], chunks: Iterable[int]) -> dict[int, int]:
        """Returns in which blocks of the chunks a text may be; those that are not indexed: in all."""
        bits = dict.fromkeys(chunks, _ALL_BLOCKS)
        indexed = [chunk for (chunk,) in self._connection.execute(_INDEXED, {"chunks": json_ids(bits)})]
        for place in places:
            rows = self._connection.execute(
                _BITS,
                {"chunks": json_ids(indexed), "row": place.row, "offset": place.offset, "size": place.size},
            )
            for chunk, piece in rows:
                bits[chunk] &= int.from_bytes(piece, "little")
            indexed = [chunk for chunk in indexed if bits[chunk]]
            if sum(bits[chunk].bit_count() for chunk in indexed) <= _FEW_BLOCKS:
                break
        return bits


def _joined(spans: Iterable[Span]) -> Iterator[Span]:
    """Yields the same, a few adjacent ones as one: to read a span takes ten statements."""
    last: Span | None = None
    for span in spans:
        if last is not None and last.lines is not None and span.lines is not None and _are_near(last, span):
            span = Span(min(last.low, span.low), max(last.high, span.high), [*last.lines, *span.lines])  # noqa: PLW2901
        elif last is not None:
            yield last
        last = span
    if last is not None:
        yield last


def _are_near(one: Span, other: Span) -> bool:
    """Says whether nothing is between two spans, and both together are short."""
    first, second = sorted((one[:2], other[:2]))
    return first[1] + 1 == second[0] and second[1] - first[0] < _JOINED_EXECS
