"""Check what leads a reader to rows: SQLite's own structure, and the index of command lines.

Seals say what rows are. A row that is there and is not found would be as good as removed.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from execaudit.database.packed_ids import CHUNK_EXECS, unpack
from execaudit.database.sealed_streams import Stream
from execaudit.database.trigram_bitmap import CHUNK_LINES, CHUNK_ROWS
from execaudit.seal.segment_check import Problem, table_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from execaudit.seal.chain import Cursors

# A pruning removes a chunk of the index when fewer of its execs are left: see store/prune.py.
_FEW = CHUNK_EXECS // 64
# Chunks that are read in one transaction.
_IN_TRANSACTION = 8
_COUNTERS = (
    "SELECT (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'argv_used'),"
    " (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'argv_grams'),"
    " (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'next_id'),"
    " (SELECT max(id) FROM argv_used), (SELECT max(id) FROM argv_grams), (SELECT max(id) FROM argv)"
)
_USED = "SELECT id, ids FROM argv_used WHERE id BETWEEN ? AND ?"
_LINES = "SELECT argv_id FROM exec WHERE id >= ? AND id < ?"
_SHORTENED = (
    "SELECT EXISTS (SELECT 1 FROM seal_change WHERE exec_id >= ? AND exec_id < ? AND line_now IS NOT NULL)"
)
_BESIDE = (
    "SELECT min(id), max(id) FROM exec AS e WHERE id BETWEEN ? AND ? AND NOT ("
    "EXISTS (SELECT 1 FROM exec AS i INDEXED BY ix_exec_comm WHERE i.comm_id IS e.comm_id AND i.id = e.id)"
    " AND EXISTS (SELECT 1 FROM exec AS i INDEXED BY ix_exec_pid WHERE i.pid = e.pid AND i.id = e.id)"
    " AND EXISTS (SELECT 1 FROM exec AS i INDEXED BY ix_exec_parent WHERE i.parent_id IS e.parent_id AND i.id = e.id))"
)
_BESIDE_EXIT = (
    "SELECT min(id), max(id) FROM exit AS e WHERE id BETWEEN ? AND ? AND NOT EXISTS"
    " (SELECT 1 FROM exit AS i INDEXED BY ix_exit_exec WHERE i.exec_id IS e.exec_id AND i.id = e.id)"
)
_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name <> 'exec', name"


def tables(connection: sqlite3.Connection) -> list[str]:
    """Returns the tables of a history, the largest first."""
    return [name for (name,) in connection.execute(_TABLES)]


def damage(connection: sqlite3.Connection, table: str) -> list[Problem]:
    """Returns whether SQLite finds a table and its indexes not as they must be."""
    quoted = table.replace("'", "''")
    said = connection.execute(f"PRAGMA integrity_check('{quoted}')").fetchall()
    return [] if said == [("ok",)] else [Problem("changed", table, None, None, None, None)]


def unled(connection: sqlite3.Connection, start: Cursors, ends: Cursors) -> list[Problem]:
    """Returns whether SQLite's indexes lead to all execs and ends between two seals: damage() reads all."""
    found = []
    for stream, statement in ((Stream.EXEC, _BESIDE), (Stream.EXIT, _BESIDE_EXIT)):
        low, high = connection.execute(statement, (start[stream] + 1, ends[stream])).fetchone()
        if low is not None:
            found.append(Problem("changed", table_of(stream), low, high, None, None))
    return found


def chunks(connection: sqlite3.Connection) -> int:
    """Returns how many chunks of execs the index of command lines has, or is said to have."""
    row = connection.execute(
        "SELECT max((SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'argv_used'),"
        " ifnull((SELECT max(id) + 1 FROM argv_used), 0), ifnull((SELECT max(id) / ? FROM exec), 0))",
        (CHUNK_EXECS,),
    ).fetchone()
    return row[0] or 0


def used(connection: sqlite3.Connection, first: int, last: int) -> Iterator[list[Problem]]:
    """Checks which lines the index says that chunks of execs use. Yields problems after each few chunks."""
    for low in range(first, last + 1, _IN_TRANSACTION):
        connection.execute("BEGIN")
        try:
            yield [*_used(connection, low, min(low + _IN_TRANSACTION - 1, last))]
        finally:
            connection.execute("ROLLBACK")


def _used(connection: sqlite3.Connection, first: int, last: int) -> Iterator[Problem]:
    (counter,) = connection.execute(
        "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'argv_used'"
    ).fetchone() or (0,)
    rows = dict(connection.execute(_USED, (first, last)).fetchall())
    for chunk in range(first, last + 1):
        between = chunk * CHUNK_EXECS, (chunk + 1) * CHUNK_EXECS
        rows_of = connection.execute(_LINES, between).fetchall()
        lines, execs = {line for (line,) in rows_of}, len(rows_of)
        if chunk not in rows:
            if chunk < (counter or 0) and execs >= _FEW:
                yield Problem("missing", "argv_used", chunk, chunk, None, None)
            continue
        listed = _unpacked(rows[chunk])
        # No exec has the number 0.
        is_whole = execs == CHUNK_EXECS - (not chunk)
        fits = (
            listed is not None
            and lines <= {*listed}
            and (
                len(listed) == len(lines)
                or not is_whole
                or connection.execute(_SHORTENED, between).fetchone()[0]
            )
        )
        if not fits:
            yield Problem("changed", "argv_used", chunk, chunk, None, None)


def _unpacked(packed: bytes) -> Sequence[int] | None:
    """Returns the ids of lines; None if these are none, or not in order."""
    try:
        ids = unpack(packed).tolist()  # type: ignore[attr-defined]  # a memoryview
    except (ValueError, TypeError, UnicodeDecodeError):
        return None
    return ids if all(a < b for a, b in pairwise(ids)) else None


def counters(connection: sqlite3.Connection) -> Iterator[Problem]:
    """Yields whether `meta` says that more is indexed than can be, or less than is."""
    execs, lines, next_id, last_used, last_grams, last_line = connection.execute(_COUNTERS).fetchone()
    chunks_of_execs, chunks_of_lines = (-1 if last is None else last for last in (last_used, last_grams))
    fits = (
        execs is not None
        and lines is not None
        and chunks_of_execs < execs
        and execs * CHUNK_EXECS <= (next_id or 0)
        and chunks_of_lines < lines * CHUNK_ROWS
        and lines * CHUNK_LINES <= (last_line or 0)
    )
    if not fits:
        yield Problem("changed", "meta", None, None, None, None)
