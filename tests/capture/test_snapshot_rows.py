"""The rows of what ran when recording began."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from execaudit.capture.snapshot import Beginning, Present, Roots
from execaudit.enums import Kind, Truncated
from execaudit.event import Earlier, ExecEvent, Nanoseconds
from execaudit.exec_id import ExecKey, boot_prefix
from execaudit.system.procfs import Running
from tests.capture.processes import ATTACHED_NS, OLD, WALL_OFFSET_NS, later, looks, process
from tests.histories import BOOT_ID, HOST, exec_of

if TYPE_CHECKING:
    from collections.abc import Iterable


def thread(pid: int, ppid: int = 2, comm: bytes = b"kworker/0:1") -> Running:
    """Returns a kernel thread."""
    return later(pid, ppid, kernel_thread=True, comm=comm, exe=None, argv=b"")


KTHREADD = thread(2, 0, b"kthreadd")


def make_roots(
    running: Iterable[Running], possible: Iterable[Running] = (), loader: int | None = None
) -> Roots:
    """Returns the rows of these."""
    beginning = Beginning(HOST, BOOT_ID, {1000: "ann", 1: "bob"}.get, ATTACHED_NS, WALL_OFFSET_NS)
    return Roots(Present(list(running), looks(*possible)), beginning, loader=loader)


def key(pid: int) -> ExecKey:
    """Returns the key of a row."""
    return ExecKey(boot_prefix(BOOT_ID), ATTACHED_NS, pid)


def pids(events: Iterable[ExecEvent]) -> list[int]:
    """Returns whose rows these are, in their order."""
    return [event.pid for event in events]


def test_what_goes_on_keeps_its_exec() -> None:
    """Under an earlier recorder's key, also as a parent; what executed since has a row of its own."""
    roots = make_roots([later(5), later(6, 5), later(7, 6), later(8, 7)], [later(9, 8), later(10, 9)])
    kept = {
        pid: Earlier(key(pid)._replace(boot_ns=pid), 100 + pid, goes_on)
        for pid, goes_on in ((6, True), (7, False), (9, True), (10, False))
    }
    asked: list[int] = []

    def find(processes: Iterable[Running]) -> dict[int, Earlier]:
        asked.extend(process.pid for process in processes)
        return kept

    assert [106] == roots.continue_from(find)
    assert [5, 6, 7, 8, 9, 10] == sorted(asked)
    assert [(5, None), (7, kept[7].exec), (8, key(7))] == [
        (event.pid, event.parent) for event in roots.events()
    ]
    assert [kept[6].exec, key(7), kept[9].exec, key(10)] == [roots.key_of(pid) for pid in (6, 7, 9, 10)]
    assert [(10, kept[10].exec)] == [(event.pid, event.parent) for event in roots.take_referred()]


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
    roots = Roots(Present([process(7, uid=1000)], {}), beginning)
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


def test_a_possible_row_comes_when_it_is_named() -> None:
    """Once, however often; one that is not named never."""
    roots = make_roots([later(1, 0)], [process(7), process(8)])
    assert pids(roots.events()) == [1]
    assert roots.take_referred() == []

    assert roots.key_of(7) == roots.key_of(7) == key(7)
    (event,) = roots.take_referred()
    assert (event.key, event.parent, event.launch.comm) == (key(7), key(1), b"sh")
    assert roots.key_of(7) == key(7)
    assert roots.take_referred() == []


def test_a_possible_row_brings_its_parents() -> None:
    """They ran when it was read, and come before it; one that is there already does not come again."""
    possible = [process(6, 7), process(7, 8), process(8, 1), process(9, 8), process(10, 1)]
    roots = make_roots([later(1, 0)], possible)

    roots.key_of(8)
    roots.key_of(6)
    assert pids(roots.take_referred()) == [8, 7, 6]
    assert roots.key_of(7) == key(7)
    roots.key_of(9)
    (event,) = roots.take_referred()
    assert event.parent == key(8)


def test_a_row_brings_its_possible_parents() -> None:
    """What had just ended still led to what ran."""
    roots = make_roots([later(7, 6), later(1, 0)], [process(6, 5), process(5, 1), process(4, 1)])

    assert pids(roots.events()) == [1, 5, 6, 7]
    assert roots.take_referred() == []


def test_the_loader_is_no_program() -> None:
    """What attached the probe and ended has no row, and its end is none."""
    roots = make_roots([], loader=77)

    assert roots.key_of(77) is None
    assert [] == roots.take_referred()
