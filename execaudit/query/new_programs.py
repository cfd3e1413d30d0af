"""Which programs a history does not have before some time."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from execaudit.database.id_list import json_ids
from execaudit.query.conditions import new_launches_table
from execaudit.query.statements import sightings_statement

if TYPE_CHECKING:
    import sqlite3

    from execaudit.event import Nanoseconds

_LAUNCHES = "SELECT p.v, l.comm_id, l.id FROM launch AS l CROSS JOIN path AS p ON p.id = l.exe_id"
_TOP = "SELECT max(id_hi) FROM seg WHERE ts_min < :since_ns"
# By the index of command names, the newest first: what runs often is found at once. There is no index of
# launches, but few launches share a name.
_SEEN = (
    "SELECT 1 FROM exec AS e WHERE e.comm_id IS :comm AND e.id <= :top AND e.ts < :since_ns"
    " AND e.launch_id IN (SELECT value FROM json_each(:launches)) ORDER BY e.id DESC LIMIT 1"
)


class NewProgram(NamedTuple):
    """A program that the history does not have before some time."""

    exe: bytes
    first_ns: Nanoseconds
    """Wall clock of its first exec."""
    execs: int


def sightings(connection: sqlite3.Connection, since_ns: int) -> list[NewProgram]:
    """Returns the programs of the whole history that ran since this time, and not before. The first first."""
    found = []
    for exe, launches in new_programs(connection, since_ns).items():
        execs, first_ns = connection.execute(*sightings_statement(launches)).fetchone()
        if execs:
            found.append(NewProgram(exe, first_ns, execs))
    return sorted(found, key=lambda each: (each.first_ns, each.exe))


def new_programs(connection: sqlite3.Connection, since_ns: int) -> dict[bytes, list[int]]:
    """Returns the paths of the programs that are in the history, but not before this time; their launches."""
    by_path: dict[bytes, dict[int | None, list[int]]] = defaultdict(lambda: defaultdict(list))
    for path, comm, launch in connection.execute(_LAUNCHES):
        by_path[path][comm].append(launch)
    top = connection.execute(_TOP, {"since_ns": since_ns}).fetchone()[0]
    found = {}
    for path, by_comm in by_path.items():
        values = (
            {"comm": comm, "top": top, "since_ns": since_ns, "launches": json_ids(launches)}
            for comm, launches in by_comm.items()
        )
        if top is None or all(connection.execute(_SEEN, each).fetchone() is None for each in values):
            found[path] = [launch for launches in by_comm.values() for launch in launches]
    return found


def gather(connection: sqlite3.Connection, since_ns: int) -> None:
    """Puts the launches of new programs into a temporary table, anew if there are more launches now.

    The history itself stays read-only, because it was opened so.
    """
    table = new_launches_table(since_ns)
    last = connection.execute("SELECT max(id) FROM launch").fetchone()[0] or 0
    connection.execute("PRAGMA query_only = 0")
    try:
        connection.execute("CREATE TABLE IF NOT EXISTS temp.gathered (name TEXT PRIMARY KEY, last INTEGER)")
        row = connection.execute("SELECT last FROM temp.gathered WHERE name = ?", (table,)).fetchone()
        if row is not None and row[0] == last:
            return
        connection.execute(f"CREATE TABLE IF NOT EXISTS {table} (id INTEGER PRIMARY KEY)")
        new = [launch for launches in new_programs(connection, since_ns).values() for launch in launches]
        # A program that is not new cannot become new.
        connection.executemany(f"INSERT OR IGNORE INTO {table} VALUES (?)", ((launch,) for launch in new))  # noqa: S608  # ours
        connection.execute("INSERT OR REPLACE INTO temp.gathered VALUES (?, ?)", (table, last))
    finally:
        connection.execute("PRAGMA query_only = 1")
