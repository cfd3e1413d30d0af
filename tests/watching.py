"""A connection to a history that remembers SQLite's plans, and counts the instructions that it runs."""

from __future__ import annotations

import re
import sqlite3
from typing import TYPE_CHECKING, Any

from execaudit.query.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# SQLite calls the handler after so many instructions: counting by tens is exact enough.
_GRAIN = 10
_ALIASES = re.compile(r"\b([a-z_]+) AS ([a-z]+)\b").findall


class Watched(Connection):
    """Remembers the plan of each statement, and counts the instructions of all statements."""

    def __init__(self, *arguments: Any, **more: Any) -> None:  # noqa: ANN401  # sqlite3's
        super().__init__(*arguments, **more)
        self.asked: dict[str, list[str]] = {}
        """The plan of each statement since this was cleared, except those that make tables or settings."""
        self._plans: dict[str, list[str]] = {}
        self._ticks = 0
        self._watch(on=True)

    @property
    def steps(self) -> int:
        """Returns how many instructions were run."""
        return self._ticks * _GRAIN

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:  # noqa: ANN401  # sqlite3's
        """Runs a statement; asks SQLite for its plan before that."""
        if sql.startswith(("SELECT", "WITH", "INSERT")):
            if sql not in self._plans:
                self._watch(on=False)
                self._plans[sql] = [
                    row[3] for row in super().execute(f"EXPLAIN QUERY PLAN {sql}", parameters)
                ]
                self._watch(on=True)
            self.asked[sql] = self._plans[sql]
        return super().execute(sql, parameters)

    def set_progress_handler(self, _handler: Callable[[], Any] | None, /, n: int) -> None:
        """Keeps the handler of this class, because a command would set its own, to notice Ctrl-C."""

    def _watch(self, *, on: bool) -> None:
        super().set_progress_handler(self._tick if on else None, _GRAIN)

    def _tick(self) -> None:
        self._ticks += 1


def watched(path: Path) -> Watched:
    """Opens a history, to be closed by the caller."""
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None, factory=Watched)


def tables_read_whole(sql: str, steps: list[str]) -> set[str]:
    """Returns the tables that a statement reads from end to end."""
    names = {alias: table for table, alias in _ALIASES(sql)}
    scanned = {step.split()[1] for step in steps if step.startswith("SCAN ")}
    return {names.get(name, name) for name in scanned}
