"""Read the seals of a local history, and hash the rows that they seal, for who ships them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from execaudit.database.sealed_streams import Stream
from execaudit.seal import tree
from execaudit.seal.chain import NOTHING, ChainRow
from execaudit.seal.pieces import DAY_NS, Gone
from execaudit.seal.rows import Rows
from execaudit.seal.segments import COLUMNS, last_entry, read_segment, segment_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping

    from execaudit.seal.chain import Added
    from execaudit.seal.segments import Segment

_SEGMENTS = f"SELECT {COLUMNS} FROM seal WHERE id >= ? ORDER BY id LIMIT ?"  # noqa: S608  # ours
_NEWEST = f"SELECT {COLUMNS} FROM seal ORDER BY id DESC LIMIT 1"  # noqa: S608  # ours
_CHAIN = "SELECT id, chain, is_keyed, reason, begun_ns FROM seal_chain WHERE id = ?"
_GONE = "SELECT stream, act_id, parts FROM seal_gone WHERE seal_id = ? ORDER BY stream"
_ACTS = "SELECT id, at_ns, reason, execs, pruned, parts FROM seal_act WHERE id BETWEEN ? AND ? ORDER BY id"
_CHANGES = (
    "SELECT id, exec_id, parent_was, parent_now, line_was, line_now FROM seal_change"
    " WHERE id BETWEEN ? AND ? ORDER BY id"
)
_RUNS = "SELECT run_id FROM gap WHERE id BETWEEN ? AND ? ORDER BY id"
# The time by whose day a row is dropped at the centre.
_OLDEST = {
    Stream.EXEC: "SELECT min(ts) FROM exec WHERE id BETWEEN ? AND ?",
    Stream.EXIT: "SELECT min(e.ts) FROM exit AS x JOIN exec AS e ON e.id = x.exec_id WHERE x.id BETWEEN ? AND ?",
    Stream.HIT: "SELECT min(e.ts) FROM hit AS z JOIN exec AS e ON e.id = z.exec_id WHERE z.exec_id BETWEEN ? AND ?",
    Stream.GAP: "SELECT min(ts_to) FROM gap WHERE id BETWEEN ? AND ?",
}


class Upto(NamedTuple):
    """The newest entry."""

    number: int
    """Its segment's."""
    epoch: int
    """-1: the segment makes no sense, or has no entries left."""


class SealedSource:
    """The seals of an open history."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._rows = Rows(connection)

    def upto(self) -> Upto | None:
        """Returns the newest entry; None: nothing is sealed."""
        row = self._connection.execute(_NEWEST).fetchone()
        if row is None:
            return None
        last = last_entry(read_segment(self._connection, row))
        return Upto(row[0], -1 if last is None else last.epoch)

    @contextlib.contextmanager
    def moment(self) -> Iterator[None]:
        """Has all be of one moment. Any text is read, also one that somebody edited."""
        factory = self._connection.text_factory
        self._connection.text_factory = _to_text
        self._connection.execute("BEGIN")
        try:
            self._rows.begin()
            yield
        finally:
            self._connection.execute("ROLLBACK")
            self._connection.text_factory = factory

    def segments(self, first: int, most: int) -> list[Segment]:
        """Returns segments from a number on."""
        found: list[Segment] = []
        for row in self._connection.execute(_SEGMENTS, (first, most)).fetchall():
            follows = found and found[-1].number == row[0] - 1
            found.append(segment_of(row, found[-1].ends) if follows else read_segment(self._connection, row))
        return found

    def first(self) -> int:
        """Returns the number of the first segment."""
        return int(self._connection.execute("SELECT coalesce(min(id), 1) FROM seal").fetchone()[0])

    def segment_of_exec(self, after: int) -> int:
        """Returns the first segment that seals an exec above a number; else the newest one."""
        row = self._connection.execute(
            "SELECT coalesce((SELECT min(id) FROM seal WHERE end_exec > ?), max(id), 1) FROM seal", (after,)
        ).fetchone()
        return int(row[0])

    def hash_of(self, number: int) -> bytes:
        """Returns the hash after a segment; if there is no such segment, what the first one follows."""
        row = self._connection.execute("SELECT hash FROM seal WHERE id = ?", (number,)).fetchone()
        return NOTHING if row is None else bytes(row[0])

    def chain(self, number: int) -> ChainRow | None:
        """Returns a chain, None if there is no such row."""
        row = self._connection.execute(_CHAIN, (number,)).fetchone()
        return None if row is None else ChainRow(*row)

    def gone(self, number: int) -> list[Gone]:
        """Returns what prunings left of the rows of a segment."""
        return [Gone(*row) for row in self._connection.execute(_GONE, (number,))]

    def root(self, added: Added, parts: Mapping[tree.Place, bytes]) -> bytes:
        """Returns the hash of an entry's rows of a stream; of a damaged history, one that proves that."""
        hashes = [each for _, each in self._rows.hashes(added.stream, added.first, added.last)]
        try:
            return tree.root_of_left(added.rows, hashes, parts)
        except tree.CountError:
            return tree.root(hashes)

    def oldest(self, added: Added, at_ns: int) -> int | None:
        """Returns the day of the oldest row; None: it is not before the day before the entry's."""
        if added.stream not in _OLDEST:
            return None
        ts = self._connection.execute(_OLDEST[added.stream], (added.first, added.last)).fetchone()[0]
        return None if ts is None or ts // DAY_NS >= at_ns // DAY_NS - 1 else max(ts, 0) // DAY_NS

    def runs(self, added: Added) -> list[int]:
        """Returns the runs of gaps."""
        return [max(row[0], 0) for row in self._connection.execute(_RUNS, (added.first, added.last))]

    def acts(self, added: Added) -> list[tuple[int, int, str, int, bytes, bytes]]:
        """Returns prunings."""
        return self._connection.execute(_ACTS, (added.first, added.last)).fetchall()

    def changes(
        self, added: Added
    ) -> list[tuple[int, int, int | None, int | None, bytes | None, bytes | None]]:
        """Returns what prunings changed."""
        return self._connection.execute(_CHANGES, (added.first, added.last)).fetchall()


def _to_text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
