"""The segments that an answer is made of: from its first exec to the newest seal, and what led to that."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from execaudit.database.sealed_streams import Stream
from execaudit.seal import segments, verify
from execaudit.seal.verify import Parts

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from execaudit.seal.rows import Rows
    from execaudit.seal.segment_check import Asked, Checked

# Rows may be missing, so the next one that is there.
_END = "SELECT end_exec FROM seal WHERE id >= ? ORDER BY id LIMIT 1"
_FIRST = "SELECT min(id) FROM exec WHERE id >= ? AND ts >= ?"
# The plus has SQLite read the execs of the range, and not the index on parents, which has the whole history.
# A parent's number is smaller than its child's, so damaged data still ends.
_LED_TO = """
WITH RECURSIVE up(id) AS (
    SELECT DISTINCT parent_id FROM exec WHERE id >= :low AND +parent_id < :low
    UNION SELECT value FROM json_each(:marks)
    UNION SELECT e.parent_id FROM exec AS e JOIN up ON e.id = up.id WHERE e.parent_id < e.id
)
SELECT id FROM up WHERE id < :low ORDER BY id
"""


def parts_of(connection: sqlite3.Connection, asked: Asked, since_ns: int | None, low: int | None) -> Parts:
    """Returns the segments to check for execs from a time (wall clock) on; none has a number below `low`.

    Up to the newest: ends, gaps and hits come after the execs that they are about. A time alone is not
    enough, because clocks are stepped, and what was imported was sealed later.
    """
    parts = verify.parts_of(connection, asked, since_ns)
    if low is None or since_ns is None or parts.first <= 1:
        return parts
    first_exec = connection.execute(_FIRST, (low, since_ns)).fetchone()[0] or low
    first = min(parts.first, _segment_of(connection, first_exec, parts.last))
    return Parts(asked, [(first, parts.last - 1)], first, parts.last)


def led_to(connection: sqlite3.Connection, parts: Parts, marks: Sequence[int]) -> list[tuple[int, int]]:
    """Returns the ranges of segments before those of `parts` that have ancestors of its execs, or `marks`."""
    first = segments.segment(connection, parts.first)
    if parts.first <= 1 or first is None:
        return []
    found = connection.execute(_LED_TO, {"low": first.start[Stream.EXEC] + 1, "marks": json.dumps([*marks])})
    ranges: list[tuple[int, int]] = []
    for (exec_,) in found.fetchall():
        number = min(_segment_of(connection, exec_, parts.first), parts.first - 1)
        if ranges and number <= ranges[-1][1] + 1:
            ranges[-1] = ranges[-1][0], max(number, ranges[-1][1])
        else:
            ranges.append((number, number))
    return ranges


def check(
    connection: sqlite3.Connection, rows: Rows, asked: Asked, ranges: Iterable[tuple[int, int]]
) -> Iterator[Checked]:
    """Yields what is found in segments before those of an answer.

    What they say of runs is not the last word. They have no exec of the range, so who vouches for them is not
    asked.
    """
    for low, high in ranges:
        for _, found in verify.check_range(connection, rows, asked, low, high):
            yield replace(found, runs=[], unkeyed=0, unchecked=0)


def _segment_of(connection: sqlite3.Connection, exec_: int, last: int) -> int:
    """Returns the first segment up to `last` that ends with this exec or a later one, else `last`."""
    low, high = 1, last
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(_END, (middle,)).fetchone()
        if row is not None and row[0] < exec_:
            low = middle + 1
        else:
            high = middle
    return low
