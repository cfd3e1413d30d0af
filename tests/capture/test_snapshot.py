"""What ran when recording began, whatever happened between the two looks at it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.capture.snapshot import SETTLING_NS, Beginning, Roots, Settled, settle
from execaudit.enums import Kind, Truncated
from execaudit.event import ExecEvent, Nanoseconds
from execaudit.exec_id import ExecKey, boot_prefix
from execaudit.system.procfs import Running
from tests.histories import BOOT_ID, HOST, exec_of

if TYPE_CHECKING:
    from collections.abc import Iterable

MS = 1_000_000
TICKS = 100
TICK_NS = 10 * MS
ATTACHED_NS = 1_000_000 * MS
BEFORE_NS = ATTACHED_NS - 50 * MS
AFTER_NS = ATTACHED_NS + 50 * MS
WALL_OFFSET_NS = 1_795_000_000 * 1000 * MS
OLD = 5000  # ticks; long before
UNTIL_ATTACHED = ATTACHED_NS // TICK_NS


def process(pid: int, ppid: int = 1, *, started: int = OLD, **facts: Any) -> Running:  # noqa: ANN401  # any field
    """Returns a process as it was read before the hooks were attached."""
    fields: dict[str, Any] = {
        "kernel_thread": False,
        "read_from_ns": BEFORE_NS,
        "read_to_ns": BEFORE_NS + MS,
        "uid": 1000,
        "euid": 0,
        "gid": 1001,
        "auid": None,
        "session": None,
        "tty": b"pts/1",
        "comm": b"sh",
        "cgroup": b"/user.slice",
        "exe": b"/bin/sh",
        "inode": 11,
        "device": 22,
        "nlink": 1,
        "cwd": b"/home",
        "root": b"/srv/jail",
        "mnt_ns": 4026532000,
        "argv": b"sh\0-l\0",
    }
    return Running(pid=pid, ppid=ppid, started_ticks=started, **{**fields, **facts})


def later(pid: int, ppid: int = 1, **facts: Any) -> Running:  # noqa: ANN401  # any field
    """Returns a process as it was read after the hooks were attached."""
    return process(pid, ppid, **{"read_from_ns": AFTER_NS, "read_to_ns": AFTER_NS + MS, **facts})


def thread(pid: int, ppid: int = 2, comm: bytes = b"kworker/0:1") -> Running:
    """Returns a kernel thread."""
    return later(pid, ppid, kernel_thread=True, comm=comm, exe=None, argv=b"")


KTHREADD = thread(2, 0, b"kthreadd")


def looks(*running: Running) -> dict[int, Running]:
    """Returns a scan."""
    return {one.pid: one for one in running}


def settled(
    before: Iterable[Running] = (), after: Iterable[Running] = (), execed: Iterable[tuple[int, int]] = ()
) -> Settled:
    """Returns who ran."""
    return settle(looks(*before), looks(*after), execed, ATTACHED_NS, TICKS)


def make_roots(running: Iterable[Running], lazy: Iterable[Running] = (), loader: int | None = None) -> Roots:
    """Returns the rows of these."""
    beginning = Beginning(HOST, BOOT_ID, {1000: "ann", 1: "bob"}.get, ATTACHED_NS, WALL_OFFSET_NS)
    return Roots(Settled(list(running), looks(*lazy)), beginning, loader=loader)


def key(pid: int) -> ExecKey:
    """Returns the key of a row."""
    return ExecKey(boot_prefix(BOOT_ID), ATTACHED_NS, pid)


def pids(events: Iterable[ExecEvent]) -> list[int]:
    """Returns whose rows these are, in their order."""
    return [event.pid for event in events]


# ---- who ran ---------------------------------------------------------------


def test_what_did_not_exec_is_as_it_was_seen_last() -> None:
    """A program that was started between the first look and the hooks has no exec."""
    then, now = process(7, comm=b"old"), later(7, comm=b"new")

    assert settled([then], [now]) == Settled([now], {})


@pytest.mark.parametrize("at_ns", [ATTACHED_NS - 1, AFTER_NS, AFTER_NS + MS, AFTER_NS + MS + SETTLING_NS])
def test_what_execed_is_as_it_was_before(at_ns: int) -> None:
    """The exec has its own row; what was read then, or a moment earlier, may be its program."""
    then, now = process(7, comm=b"old"), later(7, comm=b"new")

    assert settled([then], [now], [(7, at_ns)]) == Settled([then], {})


def test_an_exec_that_came_later_does_not_matter() -> None:
    """What was read long before it is the program before it."""
    then, now = process(7, comm=b"old"), later(7, comm=b"new")
    late = now.read_to_ns + SETTLING_NS + 1

    assert settled([then], [now], [(7, late)]) == Settled([now], {})


def test_any_of_the_execs_matters() -> None:
    """In whatever order they were captured."""
    then, now = process(7), later(7)
    late = now.read_to_ns + SETTLING_NS + 1

    for execs in ([(7, late), (7, AFTER_NS)], [(7, AFTER_NS), (7, late)]):
        assert settled([then], [now], execs) == Settled([then], {})


def test_an_exec_is_of_its_process_alone() -> None:
    """Neither of another one, nor of the one that had the pid before it."""
    then, now = process(7), later(7, comm=b"new")
    young = later(8, started=UNTIL_ATTACHED - 1)
    others = [(6, AFTER_NS), (8, young.started_ticks * TICK_NS - 1)]

    assert settled([then], [now, young], others) == Settled([now, young], {})


def test_a_program_that_nobody_saw_is_known_to_have_been() -> None:
    """Forked between the looks, then an exec: the row says whose child it was, and no more."""
    now = later(7, ppid=6, started=UNTIL_ATTACHED - 1, auid=1)
    who = settled([], [now], [(7, AFTER_NS)])

    assert who.running == []
    assert list(who.lazy) == [7]
    assert who.lazy[7][:6] == now[:6]
    assert set(who.lazy[7][6:]) == {None, False}


def test_another_process_of_the_pid_is_not_taken_for_it() -> None:
    """The pid was reused between the looks; the old one's program is not the new one's."""
    then = process(7, started=UNTIL_ATTACHED - 2, comm=b"old")
    now = later(7, started=UNTIL_ATTACHED - 1, comm=b"new")

    assert settled([then], [now]) == Settled([now], {})
    assert settled([then], [now], [(7, AFTER_NS)]).lazy[7].comm is None


def test_what_was_forked_later_has_no_row() -> None:
    """The kernel knows its program from its forker. The old one of its pid may still be meant."""
    then = process(7, comm=b"old")
    now = later(7, started=UNTIL_ATTACHED, comm=b"new")

    assert settled([], [now]) == Settled([], {})
    assert settled([then], [now]) == Settled([], {7: then})
    assert settled([then], [now], [(7, AFTER_NS)]) == Settled([], {7: then})


def test_what_was_forked_in_the_tick_of_the_attach_may_be_older() -> None:
    """Rounded down, its start is no later than the hooks: a row too many rather than a hole."""
    now = later(7, started=UNTIL_ATTACHED)

    assert settle({}, looks(now), [], ATTACHED_NS + 1, TICKS) == Settled([now], {})
    assert settle({}, looks(now), [], ATTACHED_NS + 1, 10 * TICKS) == Settled([now], {})
    assert settle({}, looks(now), [], ATTACHED_NS + 1, TICKS // 10) == Settled([], {})


def test_what_ended_may_have_run() -> None:
    """It is there if something refers to it."""
    assert settled([process(7)], []) == Settled([], {7: process(7)})


# ---- the rows --------------------------------------------------------------


def test_a_row_says_what_was_read() -> None:
    """Every field, with its names resolved; it is stamped with the attach."""
    child = later(7, ppid=6, auid=1, session=3, argv=b"a\0\0b c\0")
    events = make_roots([child, later(6, comm=b"login")]).events()

    assert events[1] == exec_of(
        kind=Kind.SNAPSHOT,
        host=HOST,
        boot_id=BOOT_ID,
        time_ns=Nanoseconds(ATTACHED_NS + WALL_OFFSET_NS),
        boot_ns=Nanoseconds(ATTACHED_NS),
        pid=7,
        tid=7,
        ppid=6,
        uid=1000,
        euid=0,
        gid=1001,
        user="ann",
        comm=b"sh",
        filename=None,
        exe=b"/bin/sh",
        cwd=b"/home",
        argv=b"a\0\0b c\0",
        argc=3,
        argv_bytes=7,
        holes=(),
        truncated=None,
        errno=None,
        parent=key(6),
        replaces=False,
        parent_comm=b"login",
        auid=1,
        session=3,
        login_user="bob",
        tty=b"pts/1",
        cgroup=b"/user.slice",
        interpreter=None,
        inode=11,
        device=22,
        nlink=1,
        privileged=None,
        root=b"/srv/jail",
        mnt_ns=4026532000,
        end=None,
        account=1000,
    )
    assert events[1].key == key(7)


def test_what_is_not_known_is_none() -> None:
    """No user 0 in the place of none, and no empty command line in the place of a lost one."""
    nothing: dict[str, Any] = dict.fromkeys(Running._fields[6:])
    event = make_roots([later(7)._replace(**nothing)]).events()[0]

    assert (event.launch.uid, event.launch.user, event.origin.auid, event.origin.login_user) == (
        None,
        None,
        None,
        None,
    )
    assert (event.argv, event.argc, event.argv_bytes) == (b"", None, None)
    assert event.truncated is Truncated.LOST


def test_a_user_without_a_name_has_none() -> None:
    """The number is known all the same."""
    event = make_roots([later(7, uid=4242, auid=4243)]).events()[0]

    assert (event.launch.uid, event.launch.user, event.origin.auid, event.origin.login_user) == (
        4242,
        None,
        4243,
        None,
    )


def test_nobody_is_asked_for_a_name_before_the_rows_are() -> None:
    """The thread that asks would keep the privileges of a recorder that only begins."""
    asked: list[int] = []
    beginning = Beginning(HOST, BOOT_ID, asked.append, ATTACHED_NS, WALL_OFFSET_NS)
    roots = Roots(Settled([process(7, uid=1000)], {}), beginning)
    before = [*asked]
    roots.events()

    assert ([], [1000]) == (before, asked[:1])


def test_parents_come_first() -> None:
    """In whatever order the pids are, so that rows can be stored in this one."""
    roots = make_roots([later(3, 9), later(4, 5), later(5, 9), later(9, 1), later(1, 0)])

    assert pids(roots.events()) == [1, 9, 3, 5, 4]
    assert [event.parent for event in roots.events()] == [None, key(1), key(9), key(9), key(5)]


@pytest.mark.parametrize("circle", [[(7, 7)], [(7, 8), (8, 7)], [(7, 8), (8, 9), (9, 8)]])
def test_a_circle_is_cut(circle: list[tuple[int, int]]) -> None:
    """No kernel makes one. Each still has one row, and none a parent that comes later."""
    events = make_roots([later(pid, ppid) for pid, ppid in circle]).events()

    assert sorted(pids(events)) == [pid for pid, _ in circle]
    for at, event in enumerate(events):
        assert event.parent is None or event.parent.task in pids(events[:at])


def test_a_long_line_is_no_matter() -> None:
    """Ten thousand generations, the youngest first."""
    roots = make_roots([later(pid, pid - 1) for pid in range(10_000, 0, -1)])

    assert pids(roots.events()) == list(range(1, 10_001))


def test_a_younger_process_is_no_parent() -> None:
    """It has the pid of the parent that has ended."""
    child, other = later(7, ppid=8), later(8, started=OLD + 1)
    events = {event.pid: event for event in make_roots([child, other]).events()}

    assert (events[7].ppid, events[7].parent, events[7].launch.parent_comm) == (8, None, None)


def test_kernel_threads_are_one_row() -> None:
    """What any of them starts is kthreadd's."""
    helper = later(50, ppid=40)
    roots = make_roots([thread(3), helper, thread(40), KTHREADD], [thread(41)])

    assert pids(roots.events()) == [2, 50]
    assert [roots.key_of(pid) for pid in (2, 3, 40, 41)] == [key(2)] * 4
    assert (roots.events()[0].argc, roots.events()[0].launch.exe, roots.events()[0].truncated) == (
        0,
        None,
        None,
    )
    assert (roots.events()[1].parent, roots.events()[1].launch.parent_comm) == (key(2), b"kworker/0:1")
    assert roots.take_referred() == []


def test_kernel_threads_without_the_first_have_no_row() -> None:
    """Until something names one."""
    roots = make_roots([thread(40), later(50, ppid=40)])

    assert [event.parent for event in roots.events()] == [None]
    assert roots.key_of(40) == key(2)
    assert pids(roots.take_referred()) == [2]


def test_a_pid_that_nobody_saw_has_a_row_that_says_no_more() -> None:
    """What it ran is unknown; that it led to something is not, and whose child it was may be known."""
    roots = make_roots([later(7, ppid=1)])

    assert roots.key_of(9, 8) == roots.key_of(9) == key(9)
    assert roots.key_of(8, 7) == key(8)
    events = roots.take_referred()
    assert [(event.pid, event.ppid, event.parent) for event in events] == [(8, 7, key(7)), (9, 8, key(8))]
    assert {
        (event.launch.comm, event.launch.exe, event.argv, event.argc, event.truncated) for event in events
    } == {(None, None, b"", None, Truncated.LOST)}
    roots.key_of(10)
    assert [(event.ppid, event.parent) for event in roots.take_referred()] == [(None, None)]


def test_nobody_at_all_is_no_error() -> None:
    """In a container no snapshot can be taken."""
    roots = make_roots([])

    assert (roots.events(), roots.take_referred()) == ([], [])


def test_a_lazy_row_comes_when_it_is_named() -> None:
    """Once, however often; one that is not named never."""
    roots = make_roots([later(1, 0)], [process(7), process(8)])
    assert pids(roots.events()) == [1]
    assert roots.take_referred() == []

    assert roots.key_of(7) == roots.key_of(7) == key(7)
    (event,) = roots.take_referred()
    assert (event.key, event.parent, event.launch.comm) == (key(7), key(1), b"sh")
    assert roots.key_of(7) == key(7)
    assert roots.take_referred() == []


def test_a_lazy_row_brings_its_parents() -> None:
    """They ran when it was read, and come before it; one that is there already does not come again."""
    lazy = [process(6, 7), process(7, 8), process(8, 1), process(9, 8), process(10, 1)]
    roots = make_roots([later(1, 0)], lazy)

    roots.key_of(8)
    roots.key_of(6)
    assert pids(roots.take_referred()) == [8, 7, 6]
    assert roots.key_of(7) == key(7)
    roots.key_of(9)
    (event,) = roots.take_referred()
    assert event.parent == key(8)


def test_a_row_brings_its_lazy_parents() -> None:
    """What had just ended still led to what ran."""
    roots = make_roots([later(7, 6), later(1, 0)], [process(6, 5), process(5, 1), process(4, 1)])

    assert pids(roots.events()) == [1, 5, 6, 7]
    assert roots.take_referred() == []


# ---- any history -----------------------------------------------------------

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
    roots = Roots(settle(before, after, host.captured.values(), attached_ns, TICKS), beginning)
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


def test_the_loader_is_no_program() -> None:
    """What attached the probe and ended has no row, and its end is none."""
    roots = make_roots([], loader=77)

    assert roots.key_of(77) is None
    assert [] == roots.take_referred()
