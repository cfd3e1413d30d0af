"""Find what earlier recorders stored of processes that run: a restart cuts no lineage.

/proc says of a process when it was forked, but not when it executed its program. So a stored exec is of the
process that has its pid now if it is of the same boot and not older than the process.
"""

from __future__ import annotations

import contextlib
import json
import os
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from execaudit.database.enum_codes import KINDS
from execaudit.enums import Kind
from execaudit.event import Earlier
from execaudit.exec_id import ExecKey, boot_prefix

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from execaudit.system.procfs import Running

_SECOND_NS = 1_000_000_000
_FAILED = KINDS.index(Kind.FAILED)
# A process may have been refused millions of times: if the newest so many failed, nothing is known of it.
_LOOKED_AT = 1000
_NEWEST = "SELECT id, kind FROM exec WHERE pid = ? ORDER BY id DESC"
_DETAILS = (
    "SELECT r.boot_id, e.ts - k.offset_ns, coalesce(e.duration_ns, x.duration_ns), coalesce(e.status, x.status),"
    " c.v, p.v, a.v, l.inode, l.device FROM exec AS e LEFT JOIN exit AS x ON x.exec_id = e.id"
    " JOIN clock AS k ON k.id = e.clock_id JOIN run AS r ON r.id = k.run_id"
    " LEFT JOIN comm AS c ON c.id = e.comm_id LEFT JOIN launch AS l ON l.id = e.launch_id"
    " LEFT JOIN path AS p ON p.id = l.exe_id LEFT JOIN argv AS a ON a.id = e.argv_id WHERE e.id = ?"
)
_DELETED = b" (deleted)"


class _Last(NamedTuple):
    """The last successful exec with a pid."""

    boot_id: str
    boot_ns: int
    duration_ns: int | None
    status: int | None
    comm: bytes | None
    exe: bytes | None
    argv: bytes | None
    inode: int | None
    """Signed, as the database has it."""
    device: int | None


def find(connection: sqlite3.Connection, boot_id: str, processes: Iterable[Running]) -> dict[int, Earlier]:
    """Returns by pid the last exec that is stored of each process, without those of which none is."""
    ticks_per_second = os.sysconf("SC_CLK_TCK")
    found: dict[int, Earlier] = {}
    for process in processes:
        number = _newest(connection, process.pid)
        row = None if number is None else connection.execute(_DETAILS, (number,)).fetchone()
        if number is None or row is None:
            continue
        last = _Last._make(row)
        forked_ns = process.started_ticks * _SECOND_NS // ticks_per_second
        has_ended = last.duration_ns is not None
        # Else it was of an earlier process with this pid. If it exited, what came then is lost.
        if (
            last.boot_id == boot_id
            and last.boot_ns >= forked_ns
            and not (has_ended and last.status is not None)
        ):
            key = ExecKey(boot_prefix(boot_id), last.boot_ns, process.pid)
            found[process.pid] = Earlier(key, number, not has_ended and _is_same_program(last, process))
    return found


def note(connection: sqlite3.Connection, run_id: int, continued: Iterable[int]) -> None:
    """Notes, for readers, which execs of earlier runs ran when this run began. In a transaction."""
    value = json.dumps([run_id, [*continued]]).encode()
    connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('continued', ?)", (value,))


def _newest(connection: sqlite3.Connection, pid: int) -> int | None:
    """Returns the number of the newest successful exec with a pid."""
    with contextlib.closing(connection.execute(_NEWEST, (pid,))) as rows:
        return next((number for number, kind in islice(rows, _LOOKED_AT) if kind != _FAILED), None)


def _is_same_program(last: _Last, process: Running) -> bool:
    """Says whether a process still runs the program of its last exec, as far as can be seen.

    A process may change its name, or its arguments, by itself; few change both. An upgrade deletes the file
    of a program that runs.
    """
    if process.comm is None or (process.comm != last.comm and process.argv != last.argv):
        return False
    if process.inode is not None and last.inode is not None and process.device == last.device:
        return process.inode == last.inode % 2**64
    return _name_of(process.exe) == _name_of(last.exe)


def _name_of(exe: bytes | None) -> bytes | None:
    return None if exe is None else exe.removesuffix(_DELETED)
