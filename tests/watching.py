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
    """Remembers the plan of each statement."""

    def __init__(self, *arguments: Any, **more: Any) -> None:  # noqa: ANN401  # sqlite3's
        super().__init__(*arguments, **more)
        self.asked: dict[str, list[str]] = {}
        """The plan of each statement since this was cleared, except those that make tables or settings."""
        self._plans: dict[str, list[str]] = {}

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:  # noqa: ANN401  # sqlite3's
        """Runs a statement; asks SQLite for its plan before that."""
        if sql.startswith(("SELECT", "WITH", "INSERT")):
            if sql not in self._plans:
                self._plans[sql] = self._plan(sql, parameters)
            self.asked[sql] = self._plans[sql]
        return super().execute(sql, parameters)

    def set_progress_handler(self, _handler: Callable[[], Any] | None, /, n: int) -> None:
        """Sets none: a command would set its own, to notice Ctrl-C."""

    def _plan(self, sql: str, parameters: Any) -> list[str]:  # noqa: ANN401  # sqlite3's
        return [row[3] for row in super().execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]


class Counting(Watched):
    """Counts the instructions of all statements too, which makes them slow."""

    def __init__(self, *arguments: Any, **more: Any) -> None:  # noqa: ANN401  # sqlite3's
        super().__init__(*arguments, **more)
        self._ticks = 0
        self._count(on=True)

    @property
    def steps(self) -> int:
        """Returns how many instructions were run."""
        return self._ticks * _GRAIN

    def _plan(self, sql: str, parameters: Any) -> list[str]:  # noqa: ANN401  # sqlite3's
        self._count(on=False)
        plan = super()._plan(sql, parameters)
        self._count(on=True)
        return plan

    def _count(self, *, on: bool) -> None:
        super(Watched, self).set_progress_handler(self._tick if on else None, _GRAIN)

    def _tick(self) -> None:
        self._ticks += 1


def watched(path: Path) -> Watched:
    """Opens a history, to be closed by the caller."""
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None, factory=Watched)


def counted(path: Path) -> Counting:
    """Opens a history whose instructions are counted, to be closed by the caller."""
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None, factory=Counting)


def tables_read_whole(sql: str, steps: list[str]) -> set[str]:
    """Returns the tables that a statement reads from end to end."""
    names = {alias: table for table, alias in _ALIASES(sql)}
    scanned = {step.split()[1] for step in steps if step.startswith("SCAN ")}
    return {names.get(name, name) for name in scanned}
