"""Any history of forks, execs and ends about the moment of the attach has its roots."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from execaudit.capture.snapshot import Beginning, Roots, find_present
from tests.capture.processes import ATTACHED_NS, TICK_NS, TICKS, process
from tests.histories import BOOT_ID, HOST

if TYPE_CHECKING:
    from execaudit.system.procfs import Running

Steps = list[tuple[str, int, int]]
"""What a process does, which one, and the pid of its child."""
PIDS = range(1, 9)
steps = st.lists(
    st.tuples(st.sampled_from(["fork", "fork", "exec", "end"]), st.sampled_from(PIDS), st.sampled_from(PIDS)),
    max_size=12,
)
looking = st.tuples(*[steps for _ in PIDS])


@dataclass
class Task:
    """A process of the model."""

    pid: int
    ppid: int
    started_ns: int
    image: int
    """A number for each exec, and for each process that was forked."""


@dataclass
class Host:
    """A machine on which processes fork, exec and end, and what a probe there says of it.

    Each step takes a clock tick: what happens within one cannot be told apart.
    """

    now_ns: int = ATTACHED_NS
    alive: dict[int, Task] = field(default_factory=lambda: {1: Task(1, 0, 0, 0)})
    images: int = 0
    attached_ns: int | None = None
    at_attach: dict[int, Task] = field(default_factory=dict)
    """By pid, as they were then."""
    captured: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By image: pid and time of its exec."""
    known: dict[int, int | None] = field(default_factory=dict)
    """The map of the probe, by pid: whose image of the attach it runs; None: of a captured exec."""
    named: set[int] = field(default_factory=set)
    """The pids for such an image in the records."""

    def go(self, history: Steps) -> None:
        """Lets things happen, as far as they can."""
        for what, pid, child in history:
            self.now_ns += TICK_NS
            if pid not in self.alive:
                continue
            if what == "exec":
                self._exec(pid)
            elif what == "end" and pid != 1:
                self._end(pid)
            elif what == "fork" and child not in self.alive:
                self._fork(pid, child)

    def attach(self) -> None:
        """The hooks are there."""
        self.now_ns += TICK_NS
        self.attached_ns = self.now_ns
        self.at_attach = {pid: replace(task) for pid, task in self.alive.items()}

    def look(self, between: tuple[Steps, ...]) -> dict[int, Running]:
        """Returns a scan, with things that happen before each process is read."""
        found: dict[int, Running] = {}
        for pid, history in zip(PIDS, between, strict=True):
            self.go(history)
            task = self.alive.get(pid)
            if task is not None:
                found[pid] = process(
                    pid,
                    task.ppid,
                    started=task.started_ns // TICK_NS,
                    inode=task.image,
                    read_from_ns=self.now_ns,
                    read_to_ns=self.now_ns,
                )
        return found

    def is_meant(self, seen: Running) -> bool:
        """Says whether what a scan read is the process that had its pid at the attach."""
        then = self.at_attach.get(seen.pid)
        return then is not None and seen.started_ticks * TICK_NS == then.started_ns

    def _fork(self, parent: int, pid: int) -> None:
        self.images += 1
        self.alive[pid] = Task(pid, parent, self.now_ns, self.images)
        if self.attached_ns is not None:
            self.known[pid] = self.known.get(parent, parent)

    def _exec(self, pid: int) -> None:
        self.images += 1
        self.alive[pid].image = self.images
        if self.attached_ns is not None:
            self._name(pid)
            self.known[pid] = None
            self.captured[self.images] = (pid, self.now_ns)

    def _end(self, pid: int) -> None:
        del self.alive[pid]
        for task in self.alive.values():
            task.ppid = 1 if task.ppid == pid else task.ppid
        if self.attached_ns is not None:
            self._name(pid)
            self.known.pop(pid, None)

    def _name(self, pid: int) -> None:
        named = self.known.get(pid, pid)
        if named is not None:
            self.named.add(named)


@given(early=steps, first=looking, middle=steps, late=steps, second=looking)
def test_any_history_has_its_roots(
    early: Steps, first: tuple[Steps, ...], middle: Steps, late: Steps, second: tuple[Steps, ...]
) -> None:
    """What lived on has one row, no row is of a captured exec, and what the kernel names is there."""
    host = Host()
    host.go(early)
    before = host.look(first)
    host.go(middle)
    host.attach()
    host.go(late)
    after = host.look(second)
    attached_ns = host.attached_ns or 0

    beginning = Beginning(HOST, BOOT_ID, lambda _: None, attached_ns, 0)
    roots = Roots(find_present(before, after, host.captured.values(), attached_ns, TICKS), beginning)
    keys = {pid: roots.key_of(pid) for pid in host.named}
    rows = [*roots.events(), *roots.take_referred()]

    row_of = {event.pid: event for event in rows}
    assert len(rows) == len(row_of)
    assert {event.launch.inode for event in rows} & set(host.captured) == set()
    for at, event in enumerate(rows):
        assert event.parent is None or event.parent in [row.key for row in rows[:at]]
    for pid, then in host.at_attach.items():
        if pid in host.alive and host.alive[pid].image == then.image:
            assert row_of[pid].launch.inode == then.image
    for pid, meant in keys.items():
        seen = [scan[pid] for scan in (before, after) if pid in scan and host.is_meant(scan[pid])]
        if not seen and (pid in before or pid in after):
            continue  # it had the pid of one that was seen: not to be told apart
        # Forked behind the back of the first scan, and gone before the second: only the pid is known.
        images = {None, *(running.inode for running in seen)}
        if seen:
            images.add(host.at_attach[pid].image)
        assert row_of[pid].key == meant
        assert row_of[pid].launch.inode in images
