"""Execs that ran when they were read, and may come to match when they end: for those who follow a history."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from execaudit.database.id_list import json_ids
from execaudit.fields import FIELDS, Part
from execaudit.query.expression import every
from execaudit.query.statements import Span

if TYPE_CHECKING:
    import sqlite3

    from execaudit.query.expression import Expression

OF_ENDS = frozenset(field.name for field in FIELDS if field.part is Part.END)
"""The fields that an exec has when it has ended."""
MOST = 20_000
"""So many of the newest are remembered, and so far back is looked for those that run already."""
_RUNNING = (
    "SELECT e.id FROM exec AS e WHERE e.id BETWEEN ? AND ? AND e.duration_ns IS NULL AND e.errno IS NULL"
    " AND NOT EXISTS (SELECT 1 FROM exit AS x WHERE x.exec_id = e.id)"
)
_ENDED = "SELECT x.exec_id FROM json_each(?) AS j CROSS JOIN exit AS x ON x.exec_id = j.value ORDER BY 1"


def is_about_ends(expression: Expression) -> bool:
    """Says whether an exec may come to match, or cease to, when it ends."""
    return any(getattr(node, "field", None) in OF_ENDS for node in every(expression))


class Running:
    """Knows which execs ran when they were read."""

    def __init__(self, connection: sqlite3.Connection, *, is_needed: bool) -> None:
        """Without need it knows none, and costs nothing."""
        self._connection, self._is_needed = connection, is_needed
        # In order.
        self._numbers: dict[int, None] = {}
        self._version: int | None = None

    def note(self, low: int, high: int) -> None:
        """Remembers those between two numbers that run now. To be called before they are read."""
        if self._is_needed and low <= high:
            low = max(low, high - MOST + 1)
            self._numbers.update(dict.fromkeys(n for (n,) in self._connection.execute(_RUNNING, (low, high))))
            for number in [*self._numbers][:-MOST]:
                del self._numbers[number]

    def ended(self) -> list[Span]:
        """Returns where those are that have ended since, and forgets these."""
        if not self._numbers:
            return []
        version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        if version == self._version:
            return []
        self._version = version
        ended = [number for (number,) in self._connection.execute(_ENDED, (json_ids(self._numbers),))]
        if not ended:
            return []
        for number in ended:
            del self._numbers[number]
        starts = [ended[0], *(after for before, after in pairwise(ended) if after != before + 1)]
        ends = [*(before for before, after in pairwise(ended) if after != before + 1), ended[-1]]
        return [Span(low, high) for low, high in zip(starts, ends, strict=True)]

    def knows(self, number: int) -> bool:
        """Says whether this one will be in ended() if it ends."""
        return number in self._numbers

    def forget(self, number: int) -> None:
        """Leaves one out from now on: it was shown."""
        self._numbers.pop(number, None)
