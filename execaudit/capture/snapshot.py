"""Make events of the programs that ran when recording began. Pure: no clock, no I/O.

/proc is scanned before and after the hooks are attached. The probe did not see the exec of a program that
ran at that moment. It names such a program by the pid of its process, and this module makes the event for
this pid, a snapshot.

Some cases cannot be distinguished. Then an event is missing or wrong:

- A process was forked after the first scan passed its pid, and ended before the second scan came to it. Both
  scans miss it. If the probe names it, its event has the pid and nothing else. If the first scan found an
  earlier process with this pid, the event is that one's.
- A program was started between the first scan and the attaching of the hooks, and replaced before the second
  scan. Both scans miss it, and its process has the event of the program before it.
- A parent ended between the first scan and the attaching. It has an event, because its children refer to it,
  but no end.
- /proc gives the start of a process in clock ticks. A process that was forked after the attaching, but in the
  same tick, has an event to which nothing refers. If it got the pid of a process that ended in this tick, the
  pid means the later one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.enums import Kind, Truncated
from execaudit.event import Earlier, ExecEvent, Hole, Nanoseconds
from execaudit.exec_id import ExecKey, boot_prefix
from execaudit.fields import Launch, Origin
from execaudit.system.procfs import Running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_SECOND_NS = 1_000_000_000
_KTHREADD = 2
# For a process that no scan found: a ppid that no process has, and a start later than any other.
_NOBODY, _LATE_TICKS = -1, 2**63
SETTLING_NS = 100_000_000
"""If /proc shows a new program, the time of its exec may be later by this.

The kernel shows a new program in /proc before the exec's tracepoint. In between it maps the program, and may
wait for the disk (begin_new_exec in fs/exec.c, load_elf_binary in fs/binfmt_elf.c). The value is a guess.
"""


class Present(NamedTuple):
    """The processes that ran when the hooks were attached."""

    certain: list[Running]
    """These ran."""
    possible: dict[int, Running]
    """By pid: each of these ran if the probe or a child names it."""


class Beginning(NamedTuple):
    """The values that all events of one snapshot have in common."""

    host: str
    boot_id: str
    user_of: Callable[[int], str | None]
    """Returns the name of a uid, or None."""
    boot_ns: int
    """The boot clock right before the hooks were attached, in ns: every captured exec is later."""
    wall_offset_ns: int
    """Wall clock minus boot clock."""


def find_present(
    before: Mapping[int, Running],
    after: Mapping[int, Running],
    execed: Iterable[tuple[int, int]],
    attached_ns: int,
    ticks_per_second: int,
) -> Present:
    """Returns the processes that ran when the hooks were attached, each with its program at that moment.

    `before` and `after` are the scans before and after the attaching. `execed` has pid and boot clock of each
    exec that the probe captured until SETTLING_NS after the second scan. A process
    - in `after` that has not executed is certain, as `after` has it;
    - in `after` that has executed may have been read with the new program, which has an event of its own. It
      is certain as `before` has it. If it is not in `before`, it is possible, and only its parent is known;
    - in `after` that was forked after the attaching is left out, because the probe knows what it runs;
    - only in `before` is possible, because it may have ended before the attaching.
    """
    execs: dict[int, list[int]] = {}
    for pid, boot_ns in execed:
        execs.setdefault(pid, []).append(boot_ns)
    running: dict[int, Running] = {}
    possible: dict[int, Running] = {}
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
            possible[pid] = _without_program(now)
    for pid, then in before.items():
        if pid not in running:
            possible.setdefault(pid, then)
    return Present(list(running.values()), possible)


def _without_program(process: Running) -> Running:
    """Returns a process without the values that a new program may have changed."""
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
    """The events of the programs that ran when recording began, and their keys by pid.

    If an earlier recorder knew the program, its exec of then is the root, and there is no event.

    All kernel threads together have one event, that of kthreadd: they run no program, and programs that they
    start have kthreadd as their parent.
    """

    def __init__(self, found: Present, beginning: Beginning, *, loader: int | None = None) -> None:
        """`loader` is the pid of the child that attached the probe. It ran no program, so it has no event."""
        self._beginning = beginning
        self._loader = loader
        self._boot = boot_prefix(beginning.boot_id)
        self._earlier: Mapping[int, Earlier] = {}
        everyone = {**found.possible, **{process.pid: process for process in found.certain}}
        self._threads = {process.pid for process in everyone.values() if process.kernel_thread}
        self._comms = {pid: process.comm for pid, process in everyone.items()}
        with_event = {pid: process for pid, process in everyone.items() if self._event_pid(pid) == pid}
        self._possible = {pid: process for pid, process in with_event.items() if pid in found.possible}
        self._certain = {pid: process for pid, process in with_event.items() if pid not in self._possible}
        self._referred: set[int] = set()
        # When the process of each event that has been made was forked.
        self._started: dict[int, int] = {}
        self._events: list[ExecEvent] | None = None

    def continue_from(self, find: Callable[[Iterable[Running]], Mapping[int, Earlier]]) -> list[int]:
        """Takes from `find` what the history knows of the processes, by pid; before any event is made.

        A program that goes on keeps the exec that it had: no second event is made for it. Returns the rows
        of those that certainly ran.
        """
        self._earlier = find([*self._certain.values(), *self._possible.values()])
        return [
            earlier.number
            for pid, earlier in self._earlier.items()
            if earlier.goes_on and pid in self._certain
        ]

    def events(self) -> list[ExecEvent]:
        """Returns the events of the processes that certainly ran, each after its parent's."""
        # Not in the constructor: the look-up of user names starts a thread, which keeps the privileges that
        # the process has when the thread starts.
        if self._events is None:
            self._events = self._make(self._certain)
        return self._events

    def key_of(self, pid: int, ppid: int | None = None) -> ExecKey | None:
        """Returns the key of the program that process `pid` ran when the hooks were attached.

        If no scan found the process, or it may have ended before, take_referred() then returns its event.
        `ppid` is the pid of its parent, if that is known.
        """
        if pid == self._loader:
            return None
        self.events()
        event_pid = self._event_pid(pid)
        if event_pid not in self._possible and event_pid not in self._started:
            self._possible[event_pid] = _unseen(event_pid, ppid)
        if event_pid in self._possible:
            self._referred.add(event_pid)
        return self._key(event_pid)

    def take_referred(self) -> list[ExecEvent]:
        """Returns the events of the processes that key_of() named and that have none yet, parents first."""
        referred = {pid: self._possible.pop(pid) for pid in self._referred}
        self._referred.clear()
        return self._make(referred)

    def _key(self, event_pid: int) -> ExecKey:
        """Returns the key of the program that a process ran: the event's, or that of an earlier exec."""
        earlier = self._earlier.get(event_pid)
        if earlier is not None and earlier.goes_on:
            return earlier.exec
        return ExecKey(self._boot, self._beginning.boot_ns, event_pid)

    def _event_pid(self, pid: int) -> int:
        """Returns the pid in the event of a process, if it has an event."""
        return _KTHREADD if pid in self._threads else pid

    def _make(self, processes: dict[int, Running]) -> list[ExecEvent]:
        """Returns an event for each process, and for its possible ancestors; parents come first."""
        waiting = list(processes.values())
        for process in waiting:
            parent = self._event_pid(process.ppid)
            if parent in self._possible:
                processes[parent] = self._possible.pop(parent)
                waiting.append(processes[parent])
        events: list[ExecEvent] = []
        for first in processes:
            line: dict[int, Running] = {}
            pid = first
            # A cycle of parents, which no kernel makes, ends this loop.
            while pid in processes and pid not in self._started and pid not in line:
                line[pid] = processes[pid]
                pid = self._event_pid(processes[pid].ppid)
            for process in reversed(line.values()):
                earlier = self._earlier.get(process.pid)
                if earlier is None or not earlier.goes_on:
                    events.append(self._event(process, earlier))
                self._started[process.pid] = process.started_ticks
        return events

    def _event(self, process: Running, earlier: Earlier | None) -> ExecEvent:
        host, boot_id, user_of, boot_ns, wall_offset_ns = self._beginning
        parent = self._event_pid(process.ppid)
        # No parent if it is younger: then the parent has ended, and another process has its pid.
        has_parent = self._started.get(parent, process.started_ticks + 1) <= process.started_ticks
        led_from = self._key(parent) if has_parent else None
        if earlier is not None:
            # The program before it, in this very process.
            led_from = earlier.exec
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
            parent=led_from,
        )
