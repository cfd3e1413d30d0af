"""The rows of the table `seal`: each a segment of entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit.database.sealed_streams import ENDS
from execaudit.seal import acts
from execaudit.seal.chain import Cursors, Entry, Link, check_order, cursors_of, entries

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

COLUMNS = f"id, chain_id, epoch, at_us, {', '.join(ENDS)}, entries, streams, hash, code"
_BEFORE = f"SELECT {', '.join(ENDS)} FROM seal WHERE id = ?"  # noqa: S608  # ours
_ONE = f"SELECT {COLUMNS} FROM seal WHERE id = ?"  # noqa: S608  # ours


class Segment(NamedTuple):
    """A row, and what it follows."""

    number: int
    chain: int
    """The row of seal_chain."""
    begins: Entry
    """The entry before the first: its epoch and its time."""
    start: Cursors
    ends: Cursors
    entries: bytes
    """Empty: all that it sealed was pruned, and only hash and code are left."""
    streams: bytes
    link: Link


def segment_of(row: Sequence[Any], start: Cursors) -> Segment:
    """Returns the segment in a row of COLUMNS; `start` are the ends of the row before."""
    number, chain, epoch, at_us, *ends = row[: 4 + len(ENDS)]
    entries, streams, digest, code = row[4 + len(ENDS) :]
    begins = Entry(epoch, at_us, (), ())
    return Segment(number, chain, begins, start, cursors_of(ends), entries, streams, Link(digest, code))


def entries_of(found: Segment) -> tuple[list[tuple[bytes, Entry]], Cursors]:
    """Returns a segment's entries, each with its bytes, and what is sealed after them.

    Raises IndexError or ValueError for what makes no sense.
    """
    cursors, known = Cursors(found.start), Cursors(found.start)
    read: list[tuple[bytes, Entry]] = []
    for raw, entry in entries(found.entries, found.begins, cursors):
        check_order(entry, known)
        read.append((raw, entry))
    return read, cursors


def last_entry(found: Segment) -> Entry | None:
    """Returns the last entry of a segment, None if it was stripped or cannot be read."""
    last = None
    try:
        for _, last in entries(found.entries, found.begins, Cursors(found.start)):  # noqa: B007  # the last one
            pass
    except (IndexError, ValueError):
        return None
    return last


def read_segment(connection: sqlite3.Connection, row: Sequence[Any]) -> Segment:
    """Returns the segment in a row of COLUMNS, and reads where it starts."""
    before = connection.execute(_BEFORE, (row[0] - 1,)).fetchone()
    return segment_of(row, Cursors() if before is None else cursors_of(before))


def segment(connection: sqlite3.Connection, number: int) -> Segment | None:
    """Returns a segment, None if there is no such row."""
    row = connection.execute(_ONE, (number,)).fetchone()
    return None if row is None else read_segment(connection, row)


def stripped(connection: sqlite3.Connection) -> frozenset[int]:
    """Returns the segments of which a pruning says that it left nothing."""
    row = connection.execute(
        "SELECT parts FROM seal_act WHERE reason = 'stripped' ORDER BY id DESC LIMIT 1"
    ).fetchone()
    found: set[int] = set()
    if row is not None:
        top = connection.execute("SELECT coalesce(max(id), 0) FROM seal").fetchone()[0]
        try:
            for first, last in acts.read(row[0])[1]:
                found.update(range(first, min(last, top) + 1))
        except (IndexError, ValueError):
            return frozenset()
    return frozenset(found)
