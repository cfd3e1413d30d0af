"""Make the index of what is in command lines, chunk by chunk, behind what is stored.

It is made from the tables alone. So a recorder that was killed, or that opens a history without an index,
goes on where the index ends. Lines that are not in it yet are searched one by one. Two tables: `argv_grams`
says which lines may contain a text, `argv_used` in which chunks of execs a line is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.database import packed_ids, trigram_bitmap
from execaudit.database.packed_ids import CHUNK_EXECS
from execaudit.database.trigram_bitmap import BLOCK_LINES, CHUNK_BLOCKS, CHUNK_LINES, CHUNK_ROWS

if TYPE_CHECKING:
    import sqlite3

    from execaudit.store.sealing import Sealer

# Ten milliseconds of the storing thread, with lines of usual length; and what ends a step early.
_STEP_BLOCKS = 16
_STEP_BYTES = 128 * 1024
# A longer line is not looked into: its block is one that may contain every text. Any user can start
# programs with megabytes of arguments; the hashes of 64 such lines took minutes, and a gigabyte of memory.
_LONGEST_LINE = 16 * 1024


class Indexing:
    """Goes through a history once, as it grows.

    Lives as long as the writer that gives lines their ids. The writer gives no id twice, so a block that
    was indexed stays valid.
    """

    def __init__(self) -> None:
        self._chunk: trigram_bitmap.Chunk | None = None
        self._block = 0

    def step(self, connection: sqlite3.Connection, sealer: Sealer) -> bool:
        """Indexes a few blocks, in a connection in autocommit mode. Returns whether there was anything to do.

        Raises what SQLite raises; the next call does the same step again.
        """
        return _index_execs(connection, sealer) or self._index_lines(connection, sealer)

    def _index_lines(self, connection: sqlite3.Connection, sealer: Sealer) -> bool:
        number = _next_chunk(connection, "argv", "argv_grams", CHUNK_LINES)
        if number is None:
            self._chunk = None
            return False
        if self._chunk is None:
            self._chunk, self._block = trigram_bitmap.Chunk(), 0
        end, left = min(self._block + _STEP_BLOCKS, CHUNK_BLOCKS), _STEP_BYTES
        while self._block < end and left > 0:
            low = number * CHUNK_LINES + self._block * BLOCK_LINES
            left -= _add_block(connection, self._chunk, self._block, low)
            self._block += 1
        if self._block == CHUNK_BLOCKS:
            with sealer.transaction(connection):
                connection.executemany(
                    "INSERT INTO argv_grams (id, bits) VALUES (?, ?)",
                    enumerate(self._chunk.rows(), number * CHUNK_ROWS),
                )
                _finish(connection, "argv_grams", number)
            self._chunk = None
        return True


def _add_block(connection: sqlite3.Connection, chunk: trigram_bitmap.Chunk, block: int, low: int) -> int:
    """Adds the lines from that id on. Returns how many bytes were looked into."""
    # The length of a BLOB is in its row's head: SQLite does not read the bytes for it.
    lines: list[bytes | None] = [
        line
        for (line,) in connection.execute(
            "SELECT CASE WHEN length(v) <= ? THEN v END FROM argv WHERE id >= ? AND id < ?",
            (_LONGEST_LINE, low, low + BLOCK_LINES),
        )
    ]
    if None in lines:
        chunk.add_anything(block)
        return 0
    whole = [line for line in lines if line is not None]
    chunk.add(block, whole)
    return sum(map(len, whole))


def _index_execs(connection: sqlite3.Connection, sealer: Sealer) -> bool:
    number = _next_chunk(connection, "exec", "argv_used", CHUNK_EXECS)
    if number is None:
        return False
    low = number * CHUNK_EXECS
    used = connection.execute(
        "SELECT DISTINCT argv_id FROM exec WHERE id >= ? AND id < ? ORDER BY argv_id",
        (low, low + CHUNK_EXECS),
    )
    packed = packed_ids.pack(argv_id for (argv_id,) in used)
    with sealer.transaction(connection):
        connection.execute("INSERT INTO argv_used (id, ids) VALUES (?, ?)", (number, packed))
        _finish(connection, "argv_used", number)
    return True


def _next_chunk(connection: sqlite3.Connection, table: str, index: str, size: int) -> int | None:
    """Returns the first chunk of a table that is not in its index; None if it is not complete."""
    done, first, last = connection.execute(
        f"SELECT (SELECT CAST(value AS INTEGER) FROM meta WHERE key = '{index}'),"  # noqa: S608  # ours
        f" (SELECT min(id) FROM {table}), (SELECT max(id) FROM {table})"
    ).fetchone()
    if first is None:
        return None
    # Chunks that were pruned before they were indexed are skipped.
    number = max(int(done), first // size)
    return number if last >= (number + 1) * size else None


def _finish(connection: sqlite3.Connection, index: str, number: int) -> None:
    connection.execute("UPDATE meta SET value = ? WHERE key = ?", (b"%d" % (number + 1), index))
