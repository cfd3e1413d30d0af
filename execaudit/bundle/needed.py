"""Which rows prove the records of a bundle: they themselves, and what they name. In a file of its own."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from execaudit.database.id_list import json_ids
from execaudit.database.sealed_streams import ENDS, Stream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from execaudit.query.find import Page

_MAKE = "CREATE TABLE need (stream INTEGER, number INTEGER, is_record INTEGER, PRIMARY KEY (stream, number)) WITHOUT ROWID"
_ADD = "INSERT INTO need VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET is_record = max(is_record, excluded.is_record)"
_EXITS = "SELECT id FROM exit WHERE exec_id IN (SELECT value FROM json_each(?))"
_CHANGES = "SELECT id FROM seal_change WHERE exec_id IN (SELECT value FROM json_each(?))"
_PARENT, _REPLACED_BY = 12, 15
"""Columns of rows.COLUMNS."""
_CLOCK = 2


class Need(NamedTuple):
    """A row that is needed."""

    number: int
    is_record: bool
    """Of an exec: all of it is needed, and not only its numbers."""


class Needed:
    """Numbers of rows, by stream. SQLite keeps them, on the disk if they are many."""

    def __init__(self) -> None:
        self._own = sqlite3.connect("", isolation_level=None)
        self._own.execute(_MAKE)
        self._own.execute("BEGIN")
        self.records = 0

    def close(self) -> None:
        """Forgets them."""
        self._own.close()

    def add_page(self, history: sqlite3.Connection, page: Page) -> None:
        """Adds the records of a page, and what they name."""
        rows, known, _ = page
        self.records += len(rows)
        numbers = [row[0] for row in rows]
        later = [known.ends[number] for number in numbers if number in known.ends]
        named = (
            {row[_PARENT] for row in rows} | {row[_REPLACED_BY] for row in rows} | {end[2] for end in later}
        )
        self._add(Stream.EXEC, numbers, is_record=True)
        self._add(Stream.EXEC, (number for number in named if number is not None))
        self._add(Stream.RUN, {known.clocks[row[_CLOCK]].run_id for row in rows})
        given = (json_ids(numbers),)
        self._add(Stream.EXIT, (number for (number,) in history.execute(_EXITS, given)))
        self._add(Stream.CHANGE, (number for (number,) in history.execute(_CHANGES, given)))

    def add_gap(self, history: sqlite3.Connection, number: int) -> None:
        """Adds a gap and its run."""
        self._add(Stream.GAP, [number])
        runs = history.execute("SELECT run_id FROM gap WHERE id = ? AND run_id IS NOT NULL", (number,))
        self._add(Stream.RUN, (run for (run,) in runs))

    def _add(self, stream: Stream, numbers: Iterable[int], *, is_record: bool = False) -> None:
        self._own.executemany(_ADD, ((stream, number, is_record) for number in numbers))

    def within(self, stream: Stream, low: int, high: int) -> list[Need]:
        """Returns what is needed between two numbers, in order."""
        rows = self._own.execute(
            "SELECT number, is_record FROM need WHERE stream = ? AND number BETWEEN ? AND ? ORDER BY number",
            (stream, low, high),
        )
        return [Need(number, bool(is_record)) for number, is_record in rows]

    def first_segment(self, history: sqlite3.Connection) -> int:
        """Returns the first segment that has one of the rows; if none has, the newest; 0: there is none."""
        newest: int | None = history.execute("SELECT max(id) FROM seal").fetchone()[0]
        first = newest or 0
        for stream, end in zip(Stream, ENDS, strict=True):
            least = self._own.execute("SELECT min(number) FROM need WHERE stream = ?", (stream,)).fetchone()[
                0
            ]
            if least is not None:
                found = history.execute(f"SELECT min(id) FROM seal WHERE {end} >= ?", (least,)).fetchone()[0]  # noqa: S608  # ours
                first = first if found is None else min(first, found)
        return first
