"""A row of the history as an ExecEvent. Pure, and the one place that knows the columns."""

from __future__ import annotations

import json
import re
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
_JOINS = {
    alias: f" LEFT JOIN {table} AS {alias} ON {condition}"
    for table, alias, condition in (
        # What filters look at; see filters.py.
        ("clock", "k", "k.id = e.clock_id"),
        ("run", "r", "r.id = k.run_id"),
        ("launch", "l", "l.id = e.launch_id"),
        ("user", "u", "u.id = l.user_id"),
        ("comm", "c", "c.id = e.comm_id"),
        ("path", "f", "f.id = l.filename_id"),
        ("path", "x", "x.id = l.exe_id"),
        ("path", "w", "w.id = l.cwd_id"),
        ("argv", "a", "a.id = e.argv_id"),
        ("argv_cut", "t", "t.exec_id = e.id"),
        ("comm", "q", "q.id = l.parent_comm_id"),
        # The parent, and what it ended with.
        ("exec", "p", "p.id = e.parent_id"),
        ("clock", "pk", "pk.id = p.clock_id"),
        ("exit", "pe", "pe.exec_id = e.parent_id"),
        ("origin", "o", "o.id = e.origin_id"),
        ("user", "ou", "ou.id = o.login_user_id"),
        ("path", "og", "og.id = o.cgroup_id"),
        ("path", "ii", "ii.id = l.interpreter_id"),
        # Its end, and what came next.
        ("exit", "d", "d.exec_id = e.id"),
        ("exec", "n", "n.id = coalesce(e.replaced_by, d.replaced_by)"),
        ("clock", "nk", "nk.id = n.clock_id"),
    )
}
_ALIAS = re.compile(r"\b([a-z]+)\.")
_NEEDS = {alias: set(_ALIAS.findall(join)) for alias, join in _JOINS.items()}


def joins(text: str) -> str:
    """Returns the joins that SQL needs which speaks of the tables by their aliases; `e` is exec."""
    needed = set(_ALIAS.findall(text))
    # From the last to the first, because each speaks of earlier ones.
    for alias in reversed(_JOINS):
        if alias in needed:
            needed |= _NEEDS[alias]
    return "".join(join for alias, join in _JOINS.items() if alias in needed)


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
