"""A row of the history as an ExecEvent. Pure, and the one place that knows the columns."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit.codes import KINDS, TRUNCATIONS
from execaudit.event import (
    End,
    Ended,
    ExecEvent,
    ExecKey,
    Gained,
    Hole,
    Kind,
    Nanoseconds,
    boot_prefix,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMNS = (
    "e.id, e.ts, e.kind, e.pid, e.tid, e.ppid, e.uid, l.euid, l.gid, e.errno, e.truncated, e.parent_id,"
    " k.offset_ns, k.run_id, r.host, r.boot_id, u.v, c.v, f.v, x.v, w.v, a.v, t.argc, t.argv_bytes, t.holes,"
    " q.v, p.ts - pk.offset_ns, p.pid, coalesce(p.replaced_by, pe.replaced_by),"
    " o.auid, o.session, ou.v, o.tty, og.v, l.inode, l.device, l.nlink, l.privileged, ii.v,"
    " coalesce(e.duration_ns, d.duration_ns), CASE WHEN e.duration_ns IS NULL THEN d.status ELSE e.status END,"
    " n.ts - nk.offset_ns, n.pid"
)
ARGV = 21
"""Which of the columns has the command line, the one that can be large."""
# LEFT JOIN, always: with an inner one the planner starts from the dictionary's table.
_JOINS = (
    # What filters look at; see filters.py.
    " LEFT JOIN clock AS k ON k.id = e.clock_id LEFT JOIN run AS r ON r.id = k.run_id"
    " LEFT JOIN launch AS l ON l.id = e.launch_id"
    " LEFT JOIN user AS u ON u.id = l.user_id LEFT JOIN comm AS c ON c.id = e.comm_id"
    " LEFT JOIN path AS f ON f.id = l.filename_id LEFT JOIN path AS x ON x.id = l.exe_id"
    " LEFT JOIN path AS w ON w.id = l.cwd_id LEFT JOIN argv AS a ON a.id = e.argv_id"
    " LEFT JOIN argv_cut AS t ON t.exec_id = e.id LEFT JOIN comm AS q ON q.id = l.parent_comm_id"
    # The parent, and what it ended with.
    " LEFT JOIN exec AS p ON p.id = e.parent_id LEFT JOIN clock AS pk ON pk.id = p.clock_id"
    " LEFT JOIN exit AS pe ON pe.exec_id = e.parent_id"
    " LEFT JOIN origin AS o ON o.id = e.origin_id LEFT JOIN user AS ou ON ou.id = o.login_user_id"
    " LEFT JOIN path AS og ON og.id = o.cgroup_id LEFT JOIN path AS ii ON ii.id = l.interpreter_id"
    # Its end, and what came next.
    " LEFT JOIN exit AS d ON d.exec_id = e.id"
    " LEFT JOIN exec AS n ON n.id = coalesce(e.replaced_by, d.replaced_by)"
    " LEFT JOIN clock AS nk ON nk.id = n.clock_id"
)
FROM = f" FROM exec AS e{_JOINS}"
FROM_DESCENDANTS = f" FROM {{table}} AS h CROSS JOIN exec AS e ON e.id = h.id{_JOINS}"
"""The same, of the ids in a table alone, which is read first."""


class Recording(NamedTuple):
    """What is being recorded while the history is read."""

    run_id: int | None
    """The run that goes on; None: nobody records."""
    lost_ns: int
    """Wall clock until which ends of that run's programs were missed."""


class Found(NamedTuple):
    """An exec and its place in the history."""

    number: int
    """Grows in the order of recording."""
    event: ExecEvent
    parent: int | None
    """The place of the exec that led to this one."""


def to_found(row: Sequence[Any], recording: Recording) -> Found:
    """Returns the exec in a row of COLUMNS.

    Raises AttributeError, IndexError, TypeError or ValueError for one that makes no sense.
    """
    (
        number, ts, kind_code, pid, tid, ppid, uid, euid, gid, errno, truncated, parent_id,
        offset_ns, run_id, host, boot_id, user, comm, filename, exe, cwd, argv, argc, argv_bytes, holes,
        parent_comm, parent_boot_ns, parent_pid, parent_replaced_by,
        auid, session, login_user, tty, cgroup, inode, device, nlink, privileged, interpreter,
        duration_ns, status, next_boot_ns, next_pid,
    ) = row  # fmt: skip
    if argv is None or offset_ns is None:
        raise ValueError("a part of it is missing")
    kind, whole, boot = KINDS[kind_code], truncated is None, boot_prefix(boot_id)
    if duration_ns is not None:
        next_key = None if next_boot_ns is None else ExecKey(boot, next_boot_ns, next_pid)
        end: End | None = _end(status, duration_ns, next_key)
    elif kind is Kind.FAILED:
        end = None
    else:
        end = _RUNNING if run_id == recording.run_id and ts >= recording.lost_ns else _UNKNOWN
    event = ExecEvent(
        kind=kind,
        host=host,
        boot_id=boot_id,
        time_ns=Nanoseconds(ts),
        boot_ns=Nanoseconds(ts - offset_ns),
        pid=pid,
        tid=pid if tid is None else tid,
        ppid=ppid,
        uid=uid,
        euid=euid,
        gid=gid,
        user=None if user is None else _name(user),
        comm=comm,
        filename=filename,
        exe=exe,
        cwd=cwd,
        argv=argv,
        argc=argv.count(b"\0") if whole else argc,
        argv_bytes=len(argv) if whole else argv_bytes,
        holes=() if whole else tuple(Hole(*hole) for hole in json.loads(holes)),
        truncated=None if whole else TRUNCATIONS[truncated],
        errno=errno,
        parent=None if parent_boot_ns is None else ExecKey(boot, parent_boot_ns, parent_pid),
        replaces=parent_replaced_by == number,
        parent_comm=parent_comm,
        auid=auid,
        session=session,
        login_user=None if login_user is None else _name(login_user),
        tty=tty,
        cgroup=cgroup,
        interpreter=interpreter,
        inode=inode,
        device=device,
        nlink=nlink,
        privileged=None if privileged is None else _GAINED[privileged],
        end=end,
    )
    return Found(number, event, None if parent_boot_ns is None else parent_id)


_RUNNING, _UNKNOWN = End(Ended.RUNNING), End(Ended.UNKNOWN)
# Looked up, because an IntFlag is dear to make.
_GAINED = [Gained(bits) for bits in range(8)]
# wait(2): the signal, with 0x80 for a core dump, below the exit status.
_SIGNAL, _STATUS_SHIFT = 0x7F, 8


def _end(status: int | None, duration_ns: int, next_key: ExecKey | None) -> End:
    if status is None:
        return End(Ended.REPLACED, duration_ns=duration_ns, replaced_by=next_key)
    if signal := status & _SIGNAL:
        return End(Ended.SIGNALED, signal=signal, duration_ns=duration_ns)
    return End(Ended.EXITED, code=status >> _STATUS_SHIFT, duration_ns=duration_ns)


def _name(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
