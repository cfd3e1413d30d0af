"""Shorten the command lines of old execs that a pruning leaves: their heads and tails stay.

These execs stay because they run, or as ancestors of execs that stay; megabytes of arguments need not stay
with them. The lines are marked as cut by a limit, with the number of bytes that are missing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from execaudit.arguments import keep_ends, marks_at, marks_kept, to_redactions
from execaudit.database import packed_ids
from execaudit.database.enum_codes import TRUNCATIONS, WHOLE
from execaudit.database.packed_ids import CHUNK_EXECS
from execaudit.database.trigram_bitmap import CHUNK_LINES
from execaudit.enums import Truncated
from execaudit.event import Hole, Redaction
from execaudit.seal import codec
from execaudit.store.removal import Removal

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping

    from execaudit.store.sealing import Sealer

_MOST_BYTES = 4096
# A process that executes one program after another keeps all of them as ancestors: of such chains there may
# be any number.
_LONG_CHAIN, _MOST_BYTES_IN_CHAIN = 4, 256
# Bytes that one transaction reads.
_STEP_BYTES = 8_000_000
_LIMIT = TRUNCATIONS.index(Truncated.LIMIT)


def most_bytes(chain_length: int) -> int:
    """Returns how much stays of a command line, given how many programs in a row replaced its own."""
    return _MOST_BYTES_IN_CHAIN if chain_length >= _LONG_CHAIN else _MOST_BYTES


def shorten(
    connection: sqlite3.Connection, most: Mapping[int, int], sealer: Sealer, act: tuple[int, str]
) -> Iterator[None]:
    """Shortens the lines of execs to so many bytes each. Yields after each of its transactions.

    `act`: when the pruning began that asks for it (wall clock), and why.
    """
    # A page has a thousand; lines can have megabytes.
    long = connection.execute(
        "SELECT e.id, e.argv_id, length(a.v) FROM json_each(:most) AS m"
        " CROSS JOIN exec AS e ON e.id = m.key JOIN argv AS a ON a.id = e.argv_id WHERE length(a.v) > m.value",
        {"most": json.dumps(most)},
    ).fetchall()
    while long:
        some, size = [], 0
        while long and size < _STEP_BYTES:
            exec_id, argv_id, length = long.pop()
            some.append((exec_id, argv_id, most[exec_id]))
            size += length
        with sealer.transaction(connection):
            _shorten_some(connection, some)
            Removal(connection).finish(*act)
            # The writer must not give the same numbers to other lines.
            raise_generation(connection)
        yield


def _shorten_some(connection: sqlite3.Connection, some: list[tuple[int, int, int]]) -> None:
    lines: dict[tuple[int, int, str | None], int] = {}
    chunks: dict[int, set[int]] = {}
    for exec_id, argv_id, most in some:
        row = connection.execute(
            "SELECT a.v, e.truncated, c.argc, c.argv_bytes, c.holes, c.redacted FROM exec AS e JOIN argv AS a ON a.id = e.argv_id"
            " LEFT JOIN argv_cut AS c ON c.exec_id = e.id WHERE e.id = ? AND e.argv_id = ?",
            (exec_id, argv_id),
        ).fetchone()
        if row is None:
            continue  # another pruning did it
        argv, truncated, argc, argv_bytes, text, places = row
        was = codec.line(argv, None if truncated is None else row[1:])
        holes = () if text is None else tuple(Hole(*hole) for hole in json.loads(text))
        if truncated is None:
            argc, argv_bytes, truncated = argv.count(0), len(argv), _LIMIT
        elif truncated == WHOLE:
            truncated = _LIMIT
        redacted = () if places is None else tuple(Redaction(*place) for place in json.loads(places))
        marks = marks_kept(marks_at(argv, holes, redacted), len(argv), most)
        kept, holes = keep_ends(argv, holes, most)
        redacted = to_redactions(kept, holes, marks)
        line = lines.get((argv_id, most, text))
        if line is None:
            line = lines[argv_id, most, text] = _next_line(connection)
            connection.execute("INSERT INTO argv (id, v) VALUES (?, ?)", (line, kept))
        connection.execute(
            "UPDATE exec SET argv_id = ?, truncated = ? WHERE id = ?", (line, truncated, exec_id)
        )
        marks_text = json.dumps(redacted, separators=(",", ":")) if redacted else None
        cut = (argc, argv_bytes, json.dumps(holes), marks_text)
        connection.execute(
            "INSERT OR REPLACE INTO argv_cut (exec_id, argc, argv_bytes, holes, redacted) VALUES (?, ?, ?, ?, ?)",
            (exec_id, *cut),
        )
        connection.execute(
            "INSERT INTO seal_change (exec_id, line_was, line_now) VALUES (?, ?, ?)",
            (exec_id, was, codec.line(kept, (truncated, *cut))),
        )
        chunks.setdefault(exec_id // CHUNK_EXECS, set()).add(line)
    for chunk, added in chunks.items():
        _note_lines(connection, chunk, added)


def raise_generation(connection: sqlite3.Connection) -> None:
    """Tells the recorder that what it remembers may be gone: it looks in each of its transactions."""
    connection.execute(
        "UPDATE meta SET value = CAST(CAST(value AS INTEGER) + 1 AS BLOB) WHERE key = 'generation'"
    )


def _next_line(connection: sqlite3.Connection) -> int:
    """Returns a number that no line had, whether it was pruned since or not: see prune and argv_index."""
    row = connection.execute(
        "SELECT max(coalesce((SELECT max(id) FROM argv), 0) + 1,"
        " (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'argv_grams') * ?)",
        (CHUNK_LINES,),
    ).fetchone()
    return max(int(row[0]), 1)


def _note_lines(connection: sqlite3.Connection, chunk: int, added: set[int]) -> None:
    """Adds lines to the index of a chunk of execs, if it has one."""
    row = connection.execute("SELECT ids FROM argv_used WHERE id = ?", (chunk,)).fetchone()
    if row is not None:
        packed = packed_ids.pack(sorted(added.union(packed_ids.unpack(row[0]))))
        connection.execute("UPDATE argv_used SET ids = ? WHERE id = ?", (packed, chunk))
