"""Make the lines of `seals.jsonl`: the chain from the first row that is needed on, and these rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.bundle import layout
from execaudit.bundle.layout import Parts, SealLine
from execaudit.database.sealed_streams import Stream
from execaudit.errors import DamagedStoreError
from execaudit.seal import links, tree
from execaudit.seal.chain import NOTHING, ChainRow, Cursors, Link
from execaudit.seal.codec import PackError
from execaudit.seal.row_values import RowValues
from execaudit.seal.rows import Rows
from execaudit.seal.segments import COLUMNS, Segment, entries_of, segment, segment_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence

    from execaudit.bundle.needed import Need, Needed
    from execaudit.seal.chain import Added, Entry
    from execaudit.seal.links import Roots

_SEGMENTS = f"SELECT {COLUMNS} FROM seal WHERE id >= ? ORDER BY id"  # noqa: S608  # ours
_CHAINS = "SELECT id, chain, is_keyed, reason, begun_ns FROM seal_chain"
# Values of so many rows are in memory at a time: one may have megabytes.
_AT_ONCE = 100


def not_as_sealed(what: str) -> DamagedStoreError:
    """Returns the error for a history of which no bundle can be made."""
    return DamagedStoreError(
        f"the history is not as it was sealed: {what}", fix="`execaudit verify` says where"
    )


class _Followed(NamedTuple):
    """The segment before the one that is written."""

    link: Link
    chain: int | None
    is_written: bool


class Proofs:
    """The lines, from a history in one transaction."""

    def __init__(self, connection: sqlite3.Connection, needed: Needed, *, is_sparse: bool) -> None:
        """If `is_sparse`, without the segments of which no row is needed: no head leads to the others."""
        self._connection, self._needed, self._is_sparse = connection, needed, is_sparse
        self._rows, self._values = Rows(connection), RowValues(connection)
        self._chains = {row[0]: ChainRow(*row) for row in connection.execute(_CHAINS)}
        self._told: set[int] = set()
        self.records = 0
        """How many records have been proved."""
        self.first = needed.first_segment(connection)
        self.last: int = connection.execute("SELECT coalesce(max(id), 0) FROM seal").fetchone()[0]

    def count(self) -> int:
        """Returns how many segments there are to write."""
        return self.last - self.first + 1 if self.last else 0

    def lines(self, advance: Callable[[int], None]) -> Iterator[bytes]:
        """Yields them. Raises DamagedStoreError where the history is not as it was sealed."""
        self._rows.begin()
        before = segment(self._connection, self.first - 1)
        follows = _Followed(Link(NOTHING, None), None, is_written=True)
        if before is not None:
            follows = _Followed(before.link, before.chain, is_written=False)
        start = before.ends if before is not None else None
        for row in self._connection.execute(_SEGMENTS, (self.first,)):
            found = segment_of(row, start if start is not None else Cursors())
            start = found.ends
            # Of one that was stripped nothing is left to prove.
            is_written = bool(found.entries) and not (self._is_sparse and self._is_idle(found))
            if is_written:
                try:
                    yield from self._segment(found, follows)
                except (ValueError, LookupError, PackError) as exc:
                    raise not_as_sealed(f"seal {found.number} does not fit") from exc
            follows = _Followed(found.link, found.chain, is_written=is_written)
            advance(1)

    def _is_idle(self, found: Segment) -> bool:
        """Says whether a segment has no row that is needed, and is not the newest, which has the head."""
        return found.number != self.last and not any(
            self._needed.within(stream, found.start[stream] + 1, found.ends[stream]) for stream in Stream
        )

    def _segment(self, found: Segment, follows: _Followed) -> Iterator[bytes]:
        row = self._chains[found.chain]
        if row.number not in self._told:
            self._told.add(row.number)
            yield layout.chain_line(row)
        entries, _ = entries_of(found)
        roots: Roots = {}
        left_out: Parts = {}
        wanted: dict[Stream, list[Need]] = {}
        for stream in Stream:
            low, high = found.start[stream] + 1, found.ends[stream]
            if high >= low:
                wanted[stream] = self._needed.within(stream, low, high)
                roots[stream], left_out[stream] = self._stream(found, stream, entries, wanted[stream])
        link = links.link_before(follows.link, follows.chain, found)
        if links.follow(found, row, link, entries, roots, None, ()).link.hash != found.link.hash:
            raise ValueError("something was changed")
        yield layout.seal_line(
            SealLine(
                found.number,
                found.chain,
                found.begins,
                found.start,
                None if follows.is_written else link,
                found.entries,
                {stream: parts for stream, parts in left_out.items() if parts},
                found.link,
            )
        )
        for stream, needs in wanted.items():
            for at in range(0, len(needs), _AT_ONCE):
                yield from self._lines_of(stream, needs[at : at + _AT_ONCE])

    def _stream(
        self, found: Segment, stream: Stream, entries: Sequence[tuple[bytes, Entry]], needs: Sequence[Need]
    ) -> tuple[dict[int, bytes], dict[int, dict[tree.Place, bytes]]]:
        """Returns the hash of the rows of each entry, and what of its tree is left out."""
        low, high = found.start[stream] + 1, found.ends[stream]
        rows = self._rows.hashes(stream, low, high)
        gone = self._gone(found.number, stream)
        needed = {need.number for need in needs}
        roots: dict[int, bytes] = {}
        left_out: dict[int, dict[tree.Place, bytes]] = {}
        begin = 0
        for batch, added in _added(entries, stream):
            end = begin
            while end < len(rows) and rows[end][0] <= added.last:
                end += 1
            within, begin = rows[begin:end], end
            roots[batch], parts = _reduced(added, within, gone.get(batch, {}), needed)
            if parts:
                left_out[batch] = parts
        return roots, left_out

    def _gone(self, number: int, stream: Stream) -> dict[int, dict[tree.Place, bytes]]:
        row = self._connection.execute(
            "SELECT parts FROM seal_gone WHERE seal_id = ? AND stream = ?", (number, stream)
        ).fetchone()
        return {} if row is None else tree.from_bytes(row[0])

    def _lines_of(self, stream: Stream, needs: Sequence[Need]) -> Iterator[bytes]:
        numbers = [need.number for need in needs]
        if stream is not Stream.EXEC:
            yield from (layout.row_line(stream, row) for row in self._values.others(stream, numbers))
            return
        records = {need.number for need in needs if need.is_record}
        for found in self._values.execs(numbers):
            if found.numbers[0] in records:
                self.records += 1
                yield layout.exec_line(found)
            else:
                yield layout.other_exec_line(found)


def _added(entries: Sequence[tuple[bytes, Entry]], stream: Stream) -> Iterator[tuple[int, Added]]:
    for batch, (_, entry) in enumerate(entries):
        for added in entry.added:
            if added.stream is stream:
                yield batch, added


def _reduced(
    added: Added, rows: Sequence[tuple[int, bytes]], gone: dict[tree.Place, bytes], needed: set[int]
) -> tuple[bytes, dict[tree.Place, bytes]]:
    """Returns the hash of an entry's rows, and the tree without those that are not needed."""
    root = tree.root_of_left(added.rows, [digest for _, digest in rows], gone)
    keeps = [number in needed for number, _ in rows]
    if not any(keeps):
        return root, {tree.top(added.rows): root} if added.rows else {}
    places = tree.places_left(added.rows, gone)
    going = {place for place, keep in zip(places, keeps, strict=True) if not keep}
    if not going and not gone:
        return root, {}
    hashes = {place: digest for place, (_, digest) in zip(places, rows, strict=True)}
    return root, tree.without(added.rows, hashes, gone, going)
