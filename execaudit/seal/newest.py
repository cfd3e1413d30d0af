"""The newest seal of a history: who vouches for it, and the head that proves it later."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.database.sealed_streams import ENDS, Stream
from execaudit.seal import chain
from execaudit.seal.chain import ChainRow, Cursors, Entry, cursors_of
from execaudit.seal.segment_check import table_of

if TYPE_CHECKING:
    import sqlite3

    from execaudit.seal.chain import Head

_LAST = (
    "SELECT c.id, c.chain, c.is_keyed, c.reason, c.begun_ns, s.epoch, s.at_us, s.entries, s.hash,"  # noqa: S608  # ours
    f" {', '.join(f's.{name}' for name in ENDS)}"
    " FROM seal AS s JOIN seal_chain AS c ON c.id = s.chain_id ORDER BY s.id DESC LIMIT 1"
)


class Newest(NamedTuple):
    """The newest seal."""

    chain: ChainRow
    at_ns: int
    """Wall clock: what was stored until then is sealed."""
    head: Head
    ends: Cursors
    """Up to which number the rows of each stream are sealed."""


def newest(connection: sqlite3.Connection) -> Newest | None:
    """Returns it; None: nothing is sealed, or the last seal makes no sense."""
    row = connection.execute(_LAST).fetchone()
    if row is None:
        return None
    begun, (epoch, at_us, entries, digest), ends = ChainRow(*row[:5]), row[5:9], row[9:]
    last = Entry(epoch, at_us, (), ())
    try:
        for _, entry in chain.entries(entries, last, Cursors()):
            last = entry
    except (ValueError, IndexError):
        return None
    return Newest(begun, last.at_ns, chain.head(begun.id, last.epoch, digest), cursors_of(ends))


def unsealed(connection: sqlite3.Connection, ends: Cursors) -> dict[str, tuple[int, int, int]]:
    """Returns by table how many rows are above those that are sealed, and the first and the last number."""
    found = {}
    for stream in Stream:
        table, column = table_of(stream), "exec_id" if stream is Stream.HIT else "id"
        count, first, last = connection.execute(
            f"SELECT count(*), min({column}), max({column}) FROM {table} WHERE {column} > ?",  # noqa: S608  # ours
            (ends[stream],),
        ).fetchone()
        if count:
            found[table] = count, first, last
    return found
