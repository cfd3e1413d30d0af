"""What a history holds, and what was deleted from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit.database.imports import IS_IMPORT

if TYPE_CHECKING:
    import sqlite3

    from execaudit.event import Nanoseconds


class Summary(NamedTuple):
    """What a history holds."""

    execs: int
    first_ns: Nanoseconds | None
    last_ns: Nanoseconds | None
    gaps: int
    missed: int
    """Execs that are only counted, in gaps."""
    runs: int
    """Of recorders."""
    exits: int
    """Ends of programs, being replaced by another included."""
    stray_exits: int
    """Ends of programs whose exec was lost."""
    missed_exits: int
    """Ends that are only counted, in gaps."""
    imports: int = 0
    """Runs of imports."""


def summary(connection: sqlite3.Connection) -> Summary:
    """Returns what the history holds, from its small tables and two counts."""

    def row(sql: str) -> tuple[Any, ...]:
        found: tuple[Any, ...] = connection.execute(sql).fetchone()
        return found

    gap_count, missed, missed_exits = row(
        "SELECT count(*), coalesce(sum(count), 0), coalesce(sum(exits), 0) FROM gap"
    )
    first, last = row("SELECT min(ts_min), max(ts_max) FROM seg")
    return Summary(
        execs=row("SELECT count(*) FROM exec")[0],
        first_ns=first,
        last_ns=last,
        gaps=gap_count,
        missed=missed,
        runs=row(f"SELECT count(*) FROM run WHERE NOT {IS_IMPORT}")[0],  # noqa: S608  # ours
        exits=row("SELECT (SELECT count(*) FROM exit) + count(duration_ns) FROM exec")[0],
        stray_exits=row("SELECT count(*) FROM stray_exit")[0],
        missed_exits=missed_exits,
        imports=row(f"SELECT count(*) FROM run WHERE {IS_IMPORT}")[0],  # noqa: S608  # ours
    )


def about_how_many(connection: sqlite3.Connection) -> int:
    """Returns how many execs a history has, and some that were pruned: counting takes a look at all."""
    found: int = connection.execute("SELECT coalesce(sum(id_hi - id_lo + 1), 0) FROM seg").fetchone()[0]
    return found


class Pruned(NamedTuple):
    """What is no longer in a history."""

    execs: int
    until_ns: Nanoseconds
    """Execs of earlier times may be gone; wall clock."""
    at_ns: Nanoseconds
    """When it was last done; wall clock."""


def pruned(connection: sqlite3.Connection) -> Pruned | None:
    """Returns what was deleted to keep the history within its limits; None if nothing was."""
    row = connection.execute(
        "SELECT sum(execs), max(ts_to), max(at_ns) FROM pruned WHERE execs > 0"
    ).fetchone()
    return None if row[0] is None else Pruned(*row)
