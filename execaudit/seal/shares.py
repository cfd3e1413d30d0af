"""Divide a verification into parts that take about as long for each process, and check one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.database.packed_ids import CHUNK_EXECS
from execaudit.database.sealed_streams import Stream
from execaudit.seal import indexes, segments, verify
from execaudit.seal.segment_check import Checked

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from execaudit.seal.rows import Rows
    from execaudit.seal.segment_check import Asked, Problem
    from execaudit.seal.verify import Parts

_SEGMENTS = 8
_CHUNKS = 64
"""Of the index of command lines, in a part."""
# To check what SQLite knows of the tables takes so much of the time that their segments take: 1.4 of 5.8 s
# for a million execs. Of the index of command lines it is 0.5 s.
_TABLES_SHARE = 0.25


class Part(NamedTuple):
    """Something to check."""

    first: int
    last: int
    """Segments; or chunks of the index of command lines."""
    is_index: bool = False
    tables: tuple[str, ...] = ()
    """What SQLite knows of these tables, and no segments."""
    weight: int = 0
    """About how long it takes, in segments."""


class Plan(NamedTuple):
    """A verification."""

    parts: list[Part]
    is_whole: bool
    """All of the history is verified. Else what leads to the rest is left out too."""


def plan(connection: sqlite3.Connection, wanted: Parts, *, children: int) -> Plan:
    """Returns the parts, of which each child takes every N-th."""
    is_whole = wanted.first <= 1
    before = segments.segment(connection, wanted.first)
    chunks = indexes.chunks(connection)
    first_chunk = 0 if is_whole or before is None else before.start[Stream.EXEC] // CHUNK_EXECS
    parts = [
        Part(low, min(low + _CHUNKS, chunks) - 1, is_index=True)
        for low in range(first_chunk, chunks, _CHUNKS)
    ]
    tables = tuple(indexes.tables(connection)) if is_whole else ()
    segments_ = sum(high - low + 1 for low, high in wanted.ranges)
    weight = round(segments_ * _TABLES_SHARE) if tables else 0
    return Plan(_dealt(parts, wanted.ranges, Part(1, 0, tables=tables, weight=weight), children), is_whole)


def _dealt(parts: list[Part], ranges: Sequence[tuple[int, int]], tables: Part, children: int) -> list[Part]:
    """Returns the parts, ranges in their order, and the tables: the first child has these, and fewer."""
    whole = sum(high - low + 1 for low, high in ranges)
    light = max((whole + tables.weight) / children - tables.weight, 0.0)
    rest = (whole - light) / max(children - 1, 1)
    few = round(_SEGMENTS * light / rest) if rest and children > 1 else _SEGMENTS
    for first, last in ranges:
        low = first
        while low <= last:
            high = min(low + (_SEGMENTS if len(parts) % children else few) - 1, last)
            parts.append(Part(low, high, weight=high - low + 1))
            low = high + 1
    if tables.tables:
        parts += [Part(1, 0)] * (-len(parts) % children)
        parts.append(tables)
    return parts


def check(
    connection: sqlite3.Connection, rows: Rows, asked: Asked, part: Part, *, is_whole: bool
) -> Iterator[tuple[int, bytes]]:
    """Checks a part. Yields how much of its weight is done, and what was found, for verify.from_json()."""
    for table in part.tables:
        yield 0, verify.to_json(Checked(indexes.damage(connection, table)))
    if part.tables:
        yield part.weight, verify.to_json(Checked())
    elif part.is_index:
        for problems in indexes.used(connection, part.first, part.last):
            yield 0, verify.to_json(Checked(problems))
    else:
        for done, found in verify.check_range(connection, rows, asked, part.first, part.last):
            yield done, verify.to_json(found)
        if not is_whole:
            yield 0, verify.to_json(Checked(_unled(connection, part)))


def _unled(connection: sqlite3.Connection, part: Part) -> list[Problem]:
    found = [segments.segment(connection, number) for number in (part.first, part.last)]
    if found[0] is None or found[1] is None:
        return []  # check_range() says that they are missing
    return indexes.unled(connection, found[0].start, found[1].ends)
