"""Deleting sealed rows: what they were stays as hashes, so that what is left is still proved.

A pruning says in a row of seal_act what it left, and that row is sealed like any other. So a deletion that no
pruning vouches for is found, and a row that a pruning left cannot be changed: it still has its first seal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.seal import acts, chain, tree
from execaudit.seal.rows import Rows
from execaudit.seal.segments import segment

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from execaudit.database.sealed_streams import Stream
    from execaudit.seal.chain import Added
    from execaudit.seal.segments import Segment

_PRUNED = "SELECT id, at_ns, top, ts_from, ts_to, execs, reason, finished FROM pruned ORDER BY id"
_PUT_GONE = "INSERT OR REPLACE INTO seal_gone (seal_id, stream, act_id, parts) VALUES (?, ?, ?, ?)"
_ACT = "INSERT INTO seal_act (at_ns, reason, execs, pruned, parts) VALUES (?, ?, ?, ?, ?)"


class Removal:
    """What one transaction of a pruning deletes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Takes a connection in a transaction that is sealed."""
        self._connection = connection
        self._rows = Rows(connection)
        self._left: dict[tuple[int, int], bytes] = {}

    def going(self, stream: Stream, numbers: Iterable[int]) -> None:
        """Keeps what is needed of rows that are deleted next. Once for each stream."""
        rest = sorted(set(numbers))
        while rest:
            found = self._segment_with(stream, rest[0])
            if found is None:
                return  # nobody sealed it
            last = found.ends[stream]
            here = [number for number in rest if number <= last]
            rest = rest[len(here) :]
            if here and found.entries:
                self._keep(found, stream, set(here))

    def _segment_with(self, stream: Stream, number: int) -> Segment | None:
        """Returns the first segment up to whose end a row of this number is sealed."""
        column = f"end_{stream.name.lower()}"
        low, high = 1, self._connection.execute("SELECT coalesce(max(id), 0) FROM seal").fetchone()[0]
        if not high or self._end(column, high) < number:
            return None
        while low < high:
            middle = (low + high) // 2
            if self._end(column, middle) >= number:
                high = middle
            else:
                low = middle + 1
        return segment(self._connection, low)

    def _end(self, column: str, seal_id: int) -> int:
        row = self._connection.execute(f"SELECT {column} FROM seal WHERE id = ?", (seal_id,)).fetchone()  # noqa: S608  # ours
        return -1 if row is None else int(row[0])

    def _keep(self, found: Segment, stream: Stream, numbers: set[int]) -> None:
        gone = gone_of(self._connection, found.number, stream)
        for batch, added in batches(found, stream):
            if not any(added.first <= number <= added.last for number in numbers):
                continue
            rows = self._rows.hashes(stream, added.first, added.last)
            known = gone.get(batch, {})
            places = tree.places_left(added.rows, known)
            if len(places) != len(rows):
                continue  # somebody else deleted some: `verify` says so
            going = {place for place, (number, _) in zip(places, rows, strict=True) if number in numbers}
            hashes = {place: digest for place, (_, digest) in zip(places, rows, strict=True)}
            gone[batch] = tree.without(added.rows, hashes, known, going)
        self._left[found.number, stream] = tree.to_bytes(gone)

    def finish(self, at_ns: int, reason: str, execs: int = 0, stripped: Sequence[int] = ()) -> None:
        """Notes what was deleted: the last statement of the transaction."""
        connection = self._connection
        pruned = acts.hash_of_pruned(connection.execute(_PRUNED))
        parts = acts.to_bytes(self._left, stripped)
        act = connection.execute(_ACT, (at_ns, reason, execs, pruned, parts)).lastrowid
        rows = [(*where, act, raw) for where, raw in self._left.items()]
        connection.executemany(_PUT_GONE, rows)


def gone_of(
    connection: sqlite3.Connection, seal_id: int, stream: Stream
) -> dict[int, dict[tree.Place, bytes]]:
    """Returns what prunings left of the rows of a segment that they deleted, by entry."""
    row = connection.execute(
        "SELECT parts FROM seal_gone WHERE seal_id = ? AND stream = ?", (seal_id, stream)
    ).fetchone()
    try:
        return {} if row is None else tree.from_bytes(row[0])
    except (IndexError, ValueError):
        return {}  # `verify` says so


def batches(found: Segment, stream: Stream) -> Iterator[tuple[int, Added]]:
    """Yields the rows of a stream that each entry of a segment added, with the entry's place."""
    cursors = chain.Cursors(found.start)
    try:
        for at, (_, entry) in enumerate(chain.entries(found.entries, found.begins, cursors)):
            for added in entry.added:
                if added.stream is stream:
                    yield at, added
    except (IndexError, ValueError):
        return  # it was changed: `verify` says so
