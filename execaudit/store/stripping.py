"""Drop the seals of what was pruned as a whole. Hash and code of a segment stay, so the chain goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.database.sealed_streams import Stream
from execaudit.seal import acts, chain, tree
from execaudit.seal.rows import NUMBER, TABLES
from execaudit.seal.segments import segment
from execaudit.store.removal import Removal, batches, gone_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from execaudit.seal.segments import Segment
    from execaudit.store.sealing import Sealer

# Segments that one transaction looks at.
_MOST = 50
STRIPPED = "stripped"
"""The reason of an act that says of which segments nothing is left: of all, so the last such act counts."""
_LAST_STRIPPED = "SELECT id, parts FROM seal_act WHERE reason = 'stripped' ORDER BY id DESC LIMIT 1"
_CANDIDATES = "SELECT id FROM seal WHERE id > ? AND end_exec <= ? AND length(entries) > 0 ORDER BY id LIMIT ?"
# The last act says what the table `pruned` has, and the last of its kind which segments are stripped.
_SPENT_ACTS = (
    "SELECT id FROM seal_act WHERE id BETWEEN ? AND ? AND id NOT IN (SELECT act_id FROM seal_gone)"
    " AND id < (SELECT max(id) FROM seal_act)"
    " AND id IS NOT (SELECT max(id) FROM seal_act WHERE reason = 'stripped')"
)


def strip(connection: sqlite3.Connection, sealer: Sealer, top: int, now_ns: int) -> Iterator[None]:
    """Strips what can be of the segments that seal execs up to a number. Yields after each transaction."""
    seen = 0
    while True:
        with sealer.transaction(connection):
            some = [row[0] for row in connection.execute(_CANDIDATES, (seen, top, _MOST))]
            found = [each for number in some if (each := segment(connection, number)) is not None]
            _delete_spent_acts(connection, found, now_ns)
            bare = [each.number for each in found if _is_bare(connection, each)]
            if bare:
                row = connection.execute(_LAST_STRIPPED).fetchone()
                before = [] if row is None else acts.read(row[1])[1]
                known = {number for first, last in before for number in range(first, last + 1)}
                for number in bare:
                    connection.execute("UPDATE seal SET entries = x'', streams = x'' WHERE id = ?", (number,))
                    connection.execute("DELETE FROM seal_gone WHERE seal_id = ?", (number,))
                Removal(connection).finish(now_ns, STRIPPED, stripped=sorted(known | set(bare)))
        yield
        if len(some) < _MOST:
            return
        seen = some[-1]


def _delete_spent_acts(connection: sqlite3.Connection, found: list[Segment], now_ns: int) -> None:
    """Deletes the acts in these segments of which nothing is needed any more."""
    spent: list[int] = []
    for each in found:
        low, high = each.start[Stream.ACT] + 1, each.ends[Stream.ACT]
        if low <= high and not _has_rows(connection, each, Stream.EXEC):
            spent += [row[0] for row in connection.execute(_SPENT_ACTS, (low, high))]
    if spent:
        removal = Removal(connection)
        removal.going(Stream.ACT, spent)
        connection.executemany("DELETE FROM seal_act WHERE id = ?", [(number,) for number in spent])
        removal.finish(now_ns, "spent")


def _has_rows(connection: sqlite3.Connection, found: Segment, stream: Stream) -> bool:
    table = "exec" if stream is Stream.EXEC else TABLES[stream][0]
    column = NUMBER.get(stream, "id")
    row = connection.execute(
        f"SELECT EXISTS (SELECT 1 FROM {table} WHERE {column} BETWEEN ? AND ?)",  # noqa: S608  # ours
        (found.start[stream] + 1, found.ends[stream]),
    ).fetchone()
    return bool(row[0])


def _is_bare(connection: sqlite3.Connection, found: Segment) -> bool:
    """Says whether prunings deleted all that a segment sealed, and nothing else of it is needed."""
    for stream in Stream:
        if _has_rows(connection, found, stream):
            return False
        gone = gone_of(connection, found.number, stream)
        for batch, added in batches(found, stream):
            if added.rows and not _is_whole(added.rows, gone.get(batch, {})):
                return False
    # The last times of a run must stay.
    return _runs(found) <= _runs(segment(connection, found.number + 1))


def _is_whole(rows: int, gone: dict[tree.Place, bytes]) -> bool:
    return not tree.places_left(rows, gone)


def _runs(found: Segment | None) -> set[int]:
    if found is None:
        return set()
    try:
        entries = chain.entries(found.entries, found.begins, chain.Cursors(found.start))
        return {run.run_id for _, entry in entries for run in entry.runs}
    except (IndexError, ValueError):
        return set()
