"""The runs of imports, and what of a boot is stored already.

An import is a run whose `version` begins with a word of its own, and whose times are known when it begins. So
no reader takes it for a recorder that writes now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit import __version__
from execaudit.database.enum_codes import KINDS
from execaudit.database.id_lookup import FIND_BETWEEN, FIND_EXEC, parameters
from execaudit.database.imports import IS_IMPORT, VERSION_BEGINNING
from execaudit.enums import Kind

if TYPE_CHECKING:
    import sqlite3

    from execaudit.exec_id import ExecKey

VERSION = VERSION_BEGINNING + __version__
_FAILED = KINDS.index(Kind.FAILED)
_COVERING = (
    f"SELECT id FROM run WHERE boot_id = :boot_id AND host = :host AND {IS_IMPORT}"  # noqa: S608  # ours
    " AND started_ns <= :until_ns AND stopped_ns >= :since_ns ORDER BY id DESC LIMIT 1"
)
_WIDEN = "UPDATE run SET started_ns = min(started_ns, ?), stopped_ns = max(stopped_ns, ?) WHERE id = ?"
_BEGIN = "INSERT INTO run (boot_id, host, version, started_ns, stopped_ns) VALUES (?, ?, ?, ?, ?)"
_KNOWN = f"SELECT max(stopped_ns), count(*), sum({IS_IMPORT}) FROM run WHERE lower(substr(boot_id, 1, 7)) = ?"  # noqa: S608  # ours
# A pid may have been refused, or recorded on other hosts, many times.
_LOOKED_AT = 1000
_LAST_OF_PID = (
    "SELECT e.ts - k.offset_ns, e.ppid FROM (SELECT id, ts, ppid, clock_id, kind FROM exec WHERE pid = :pid"  # noqa: S608  # ours
    f" ORDER BY id DESC LIMIT {_LOOKED_AT}) AS e JOIN clock AS k ON k.id = e.clock_id"
    " JOIN run AS r ON r.id = k.run_id WHERE r.boot_id = :boot_id"
    f" AND e.kind <> {_FAILED} AND e.ts - k.offset_ns < :before_ns ORDER BY e.ts DESC LIMIT 1"
)
_NO_END = (
    "SELECT 1 FROM exec WHERE id = ? AND duration_ns IS NULL AND NOT EXISTS"
    " (SELECT 1 FROM exit WHERE exec_id = exec.id)"
)
_GAP = (
    "SELECT 1 FROM gap AS g JOIN run AS r ON r.id = g.run_id WHERE r.host = ? AND g.ts_from = ? AND g.ts_to = ?"
    " AND g.reason = ? AND g.uid IS ? LIMIT 1"
)


class Covered(NamedTuple):
    """Whose time it was, and which."""

    boot_id: str
    host: str
    since_ns: int
    until_ns: int


def run_of(connection: sqlite3.Connection, covered: Covered) -> int:
    """Returns the run for a time that was recorded elsewhere; makes or widens it. In a transaction."""
    row = connection.execute(_COVERING, covered._asdict()).fetchone()
    if row is not None:
        connection.execute(_WIDEN, (covered.since_ns, covered.until_ns, row[0]))
        return int(row[0])
    values = (covered.boot_id, covered.host, VERSION, covered.since_ns, covered.until_ns)
    number = connection.execute(_BEGIN, values).lastrowid
    if number is None:
        raise AssertionError("SQLite gave no rowid")
    return number


def stored_until(connection: sqlite3.Connection, boot: str) -> tuple[bool, int | None]:
    """Returns whether a boot (the beginning of its id) has execs, and the wall clock after which it has none.

    None: a recorder wrote them, which may have stopped without saying when.
    """
    until_ns, runs, imports = connection.execute(_KNOWN, (boot,)).fetchone()
    return runs > 0, until_ns if runs == (imports or 0) else None


def keys_between(
    connection: sqlite3.Connection, boot: str, times: tuple[int, int], most: int
) -> set[tuple[int, int]] | None:
    """Returns boot clock and task of the execs of a boot between two times of its clock; None: too many."""
    given = {"boot": boot, "boot_ns": times[0], "last_ns": times[1], "most": most}
    rows = connection.execute(FIND_BETWEEN, given).fetchall()
    return None if len(rows) >= most else {(boot_ns, task) for _, boot_ns, task in rows}


def last_of_pid(
    connection: sqlite3.Connection, boot_id: str, pid: int, before_ns: int
) -> tuple[int, int | None] | None:
    """Returns boot clock and ppid of the last successful exec of a pid before a time of the boot's clock."""
    given = {"boot_id": boot_id, "pid": pid, "before_ns": before_ns}
    row: tuple[int, int | None] | None = connection.execute(_LAST_OF_PID, given).fetchone()
    return row


def lacks_end(connection: sqlite3.Connection, key: ExecKey) -> bool:
    """Says whether an exec is stored, and its end is not."""
    found = connection.execute(FIND_EXEC, parameters(key)).fetchone()
    return found is not None and connection.execute(_NO_END, found).fetchone() is not None


def has_gap(connection: sqlite3.Connection, gap: tuple[str, int, int, str, int | None]) -> bool:
    """Says whether a gap is stored: its host, times, reason and uid."""
    return connection.execute(_GAP, gap).fetchone() is not None
