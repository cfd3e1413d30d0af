"""Make rows of the programs that ran when recording began. Pure: no clock, no I/O.

/proc is scanned before and after the hooks are attached. A program that was there then has no
exec that anybody saw: the kernel names it by its pid, and here is the row that it means.

What cannot be told, and then is missing or wrong:

- A process that was forked after the first scan had passed, and ended before the second came
  to it, is in neither: if the kernel names it, it has a row that says its pid and no more;
  and if the first scan had seen another one with that pid, which was gone by then, that one's.
- A program that was started between the first scan and the hooks, and was replaced before the
  second scan, was never seen: its process has the row of the program before it.
- A parent that ended between the first scan and the hooks has a row, for its children's sake,
  and no end.
- /proc gives the start of a process in clock ticks. One that was forked after the hooks were
  attached, but in the same tick, has a row though nothing ever refers to it; and if it took
  the pid of a process that ended in that tick, the pid means the later one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.enums import Kind, Truncated
from execaudit.event import ExecEvent, Hole, Nanoseconds
from execaudit.exec_id import ExecKey, boot_prefix
from execaudit.fields import Launch, Origin
from execaudit.system.procfs import Running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_SECOND_NS = 1_000_000_000
_KTHREADD = 2
# Of a process that no scan has seen: nobody's child, unless the kernel said whose; later than all.
_NOBODY, _LATE_TICKS = -1, 2**63
SETTLING_NS = 100_000_000
"""How long after a look at a process an exec may be stamped whose program was seen already.

/proc shows a new program before the exec's tracepoint: in between the kernel maps it, and may
wait for the disk (begin_new_exec in fs/exec.c, load_elf_binary in fs/binfmt_elf.c). A guess.
"""


class Settled(NamedTuple):
    """Who ran when the hooks were attached."""

    running: list[Running]
    """These did."""
    lazy: dict[int, Running]
    """By pid: these did if anything names them, the kernel or a child."""


class Beginning(NamedTuple):
    """What all rows of one snapshot have in common."""

    host: str
    boot_id: str
    user_of: Callable[[int], str | None]
    """Name of a uid, or None."""
    boot_ns: int
    """The boot clock right before the hooks were attached, ns: every captured exec is later."""
    wall_offset_ns: int
    """Wall clock minus boot clock."""


def settle(
    before: Mapping[int, Running],
    after: Mapping[int, Running],
    execed: Iterable[tuple[int, int]],
    attached_ns: int,
    ticks_per_second: int,
) -> Settled:
    """Returns who ran when the hooks were attached, each with the program that it ran then.

    `before` and `after` are the scans around the attach, `execed` is pid and boot clock of each
    exec that the probe captured until SETTLING_NS after the second. A process that
    - is in `after`, and has not executed: as it was there;
    - is in `after`, and has: what was read then may be the new program, which has a row of its
      own. So as it was in `before`, or, when it was not there, lazily, with nothing known but
      whose child it was;
    - is in `after`, but was forked when the hooks were attached: not at all. What it runs is
      known to the kernel, from its forker;
    - is only in `before`: lazily, because it may have ended before the hooks were attached.
    """
    execs: dict[int, list[int]] = {}
    for pid, boot_ns in execed:
        execs.setdefault(pid, []).append(boot_ns)
    running: dict[int, Running] = {}
    lazy: dict[int, Running] = {}
    for pid, now in after.items():
        forked_ns = now.started_ticks * _SECOND_NS // ticks_per_second
        if forked_ns >= attached_ns:
            continue
        then = before.get(pid)
        if not any(forked_ns <= boot_ns <= now.read_to_ns + SETTLING_NS for boot_ns in execs.get(pid, ())):
            running[pid] = now
        elif then is not None and then.started_ticks == now.started_ticks:
            running[pid] = then
        else:
            lazy[pid] = _without_program(now)
    for pid, then in before.items():
        if pid not in running:
            lazy.setdefault(pid, then)
    return Settled(list(running.values()), lazy)


def _without_program(process: Running) -> Running:
    """Returns a process without what another program may have changed in it."""
    return process._replace(
        uid=None, euid=None, gid=None, auid=None, session=None, tty=None, comm=None, cgroup=None,
        exe=None, inode=None, device=None, nlink=None, cwd=None, root=None, mnt_ns=None, argv=None,
        argv_is_cut=False,
    )  # fmt: skip


def _unseen(pid: int, ppid: int | None) -> Running:
    return Running(
        pid=pid, ppid=_NOBODY if ppid is None else ppid, started_ticks=_LATE_TICKS, kernel_thread=False,
        read_from_ns=0, read_to_ns=0, uid=None, euid=None, gid=None, auid=None, session=None, tty=None,
        comm=None, cgroup=None, exe=None, inode=None, device=None, nlink=None, cwd=None, root=None, mnt_ns=None,
        argv=None,
    )  # fmt: skip


class Roots:
    """The rows of the programs that ran when recording began, and what the kernel calls them.

    All kernel threads are one row, kthreadd's: they run nothing, and what they start is its.
    """

    def __init__(self, settled: Settled, beginning: Beginning, *, loader: int | None = None) -> None:
        """`loader` attached the probe: a fork of the recorder that ran no program, and so has no row."""
        self._beginning = beginning
        self._loader = loader
        self._boot = boot_prefix(beginning.boot_id)
        everyone = {**settled.lazy, **{process.pid: process for process in settled.running}}
        self._threads = {process.pid for process in everyone.values() if process.kernel_thread}
        self._comms = {pid: process.comm for pid, process in everyone.items()}
        rows = {pid: process for pid, process in everyone.items() if self._row_of(pid) == pid}
        self._lazy = {pid: process for pid, process in rows.items() if pid in settled.lazy}
        self._running = {pid: process for pid, process in rows.items() if pid not in self._lazy}
        self._referred: set[int] = set()
        # When the process of each row was forked, as far as the rows have been made.
        self._started: dict[int, int] = {}
        self._events: list[ExecEvent] | None = None

    def events(self) -> list[ExecEvent]:
        """Returns the rows of those that surely ran, each after its parent's."""
        # Not before: names of users are asked for in a thread, which keeps the privileges that the process
        # has when it is started.
        if self._events is None:
            self._events = self._make(self._running)
        return self._events

    def key_of(self, pid: int, ppid: int | None = None) -> ExecKey | None:
        """Returns what process `pid` ran when the hooks were attached.

        For one that no scan has seen, or that may have ended, take_referred() has the row then.
        `ppid` is whose child it is, if that is known.
        """
        if pid == self._loader:
            return None
        self.events()
        row = self._row_of(pid)
        if row not in self._lazy and row not in self._started:
            self._lazy[row] = _unseen(row, ppid)
        if row in self._lazy:
            self._referred.add(row)
        return ExecKey(self._boot, self._beginning.boot_ns, row)

    def take_referred(self) -> list[ExecEvent]:
        """Returns the rows that key_of() has named for the first time, each after its parent's."""
        referred = {pid: self._lazy.pop(pid) for pid in self._referred}
        self._referred.clear()
        return self._make(referred)

    def _row_of(self, pid: int) -> int:
        """Returns the pid that the row of a process has, if it has one."""
        return _KTHREADD if pid in self._threads else pid

    def _make(self, processes: dict[int, Running]) -> list[ExecEvent]:
        """Returns a row for each, and for what lazily is their parent, the parents first."""
        waiting = list(processes.values())
        for process in waiting:
            parent = self._row_of(process.ppid)
            if parent in self._lazy:
                processes[parent] = self._lazy.pop(parent)
                waiting.append(processes[parent])
        events: list[ExecEvent] = []
        for first in processes:
            line: dict[int, Running] = {}
            pid = first
            # A circle, which no kernel makes, ends where it began.
            while pid in processes and pid not in self._started and pid not in line:
                line[pid] = processes[pid]
                pid = self._row_of(processes[pid].ppid)
            for process in reversed(line.values()):
                events.append(self._row(process))
                self._started[process.pid] = process.started_ticks
        return events

    def _row(self, process: Running) -> ExecEvent:
        host, boot_id, user_of, boot_ns, wall_offset_ns = self._beginning
        parent = self._row_of(process.ppid)
        # A younger one has taken the pid of the parent, which had ended.
        has_parent = self._started.get(parent, process.started_ticks + 1) <= process.started_ticks
        argv, is_cut = process.argv, process.argv_is_cut
        known = None if is_cut else argv
        return ExecEvent(
            kind=Kind.SNAPSHOT,
            host=host,
            boot_id=boot_id,
            time_ns=Nanoseconds(boot_ns + wall_offset_ns),
            boot_ns=Nanoseconds(boot_ns),
            pid=process.pid,
            tid=process.pid,
            ppid=None if process.ppid == _NOBODY else process.ppid,
            account=process.uid,
            argv=argv or b"",
            argc=None if known is None else known.count(b"\0"),
            argv_bytes=None if known is None else len(known),
            holes=(Hole(len(argv) - 1, None),) if argv and is_cut else (),
            truncated=Truncated.LOST if argv is None else Truncated.LIMIT if is_cut else None,
            errno=None,
            launch=Launch(
                uid=process.uid,
                euid=process.euid,
                gid=process.gid,
                user=None if process.uid is None else user_of(process.uid),
                comm=process.comm,
                exe=process.exe,
                cwd=process.cwd,
                parent_comm=self._comms.get(process.ppid) if has_parent else None,
                inode=process.inode,
                device=process.device,
                nlink=process.nlink,
                root=process.root,
                mnt_ns=process.mnt_ns,
            ),
            origin=Origin(
                auid=process.auid,
                session=process.session,
                login_user=None if process.auid is None else user_of(process.auid),
                tty=process.tty,
                cgroup=process.cgroup,
            ),
            parent=ExecKey(self._boot, boot_ns, parent) if has_parent else None,
        )
