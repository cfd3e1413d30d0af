"""What the records say is in the event: facts, parents, ends, and what is missing of arguments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.arguments import keep_ends
from execaudit.capture.assembler import Assembler
from execaudit.enums import Gained, Truncated
from execaudit.event import ExecEvent, ExitEvent, Hole, Nanoseconds
from execaudit.exec_id import ExecKey, boot_prefix
from tests.capture.sent import BOOT_ID, OFFSET, ORIGIN, ROOT, assemble, refused, successful, words
from tests.wirebytes import EXEC, FAILED, LAST, LIMIT, UNKNOWN, Facts, Head, ended, first


def test_every_fact_of_a_record_is_in_the_event() -> None:
    """Who, from where, started by what: each fact stands under its name."""
    facts = Facts(
        parent=(7, 8), replaces=1, inode=5, device=6, nlink=0, gained=5, interpreter=b"/bin/sh", session=9,
        auid=1001, tty=b"pts3", cgroup=(b"a", b"b"), parent_comm=b"make",
    )  # fmt: skip
    (event,) = assemble([first(EXEC, Head(flags=LAST), facts, b"")])

    assert event.parent == ExecKey(boot_prefix(BOOT_ID), 7, 8)
    assert (event.replaces, event.launch.parent_comm) == (True, b"make")
    assert (event.origin.auid, event.origin.login_user, event.origin.session) == (1001, "u1001", 9)
    assert (event.origin.tty, event.origin.cgroup, event.launch.interpreter) == (
        b"pts/3",
        b"/a/b",
        b"/bin/sh",
    )
    assert (event.launch.inode, event.launch.device, event.launch.nlink) == (5, 6, 0)
    assert event.launch.privileged == Gained.SETUID | Gained.CAPABILITIES


def test_what_is_unset_or_unknown_is_none() -> None:
    """No login, no terminal, no image: none of them is a number or an empty text."""
    no_paths = 8 | 8 << 8 | 8 << 16
    facts = Facts(auid=UNKNOWN, session=UNKNOWN, tty=None, path_flags=no_paths, cgroup=(), cwd=(), exe=())
    (event,) = assemble([first(FAILED, Head(flags=LAST), facts, b"")])

    assert (event.origin.auid, event.origin.login_user, event.origin.session, event.origin.tty) == (None,) * 4
    assert (
        event.origin.cgroup,
        event.launch.cwd,
        event.launch.exe,
        event.launch.inode,
        event.launch.device,
        event.launch.nlink,
    ) == (None,) * 6
    assert (event.parent, event.launch.interpreter, event.launch.privileged) == (None,) * 3


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ((7, 8), ExecKey(boot_prefix(BOOT_ID), 7, 8)),
        ((0, 44), ROOT),
        ((0, 45), None),
        ((0, 0), None),
    ],
)
def test_parents_are_execs_or_what_ran_before(image: tuple[int, int], expected: ExecKey | None) -> None:
    """A parent from before the probe is the running process's row, and one that has none is unknown."""
    (event,) = assemble([first(EXEC, Head(flags=LAST), Facts(parent=image), b"")])

    assert event.parent == expected


def test_an_end_names_the_exec_that_it_ends() -> None:
    """The end of a program has its exec's key, its own times, and the status as wait gives it."""
    assembler = Assembler(ORIGIN)
    records = [
        ended(Head(boot_ns=50, pid=8), (7, 8), 256),
        ended(Head(boot_ns=51, pid=44), (0, 44), 9),
        ended(Head(boot_ns=52, pid=45), (0, 45), 0),
    ]

    assert list(assembler.feed(records, now_ns=0, wall_offset_ns=OFFSET)) == [
        ExitEvent(ExecKey(boot_prefix(BOOT_ID), 7, 8), Nanoseconds(50 + OFFSET), Nanoseconds(50), 8, 256),
        ExitEvent(ROOT, Nanoseconds(51 + OFFSET), Nanoseconds(51), 44, 9),
    ]


@pytest.mark.parametrize(
    "later", [first(EXEC, Head(9, 2, 2, flags=LAST), Facts(parent=(1, 1)), b""), ended(Head(9), (1, 1), 0)]
)
def test_an_exec_that_another_record_names_comes_before_it(later: bytes) -> None:
    """A child, or the end, proves that nothing more of an exec will come: it is emitted, lost, first."""
    sent = successful(1, 1, [b"a" * 10], [5], None)
    assembler = Assembler(ORIGIN)
    events = list(assembler.feed([sent.records[0], later], now_ns=0, wall_offset_ns=OFFSET))

    assert [event.boot_ns for event in events] == [1, 9]
    assert isinstance(events[0], ExecEvent)
    assert events[0].truncated is Truncated.LOST
    assert len(assembler) == 0


def test_arguments_that_could_not_be_read_keep_their_place() -> None:
    """A failed exec's unreadable argument is a hole of unknown size; what follows it is there."""
    sent = refused(1, 1, [b"a", None, None, b"b"], [])
    (event,) = assemble(list(sent.records))

    assert (b"a\0b\0", (Hole(2, None),), Truncated.FAULT) == (event.argv, event.holes, event.truncated)
    assert (4, None) == (event.argc, event.argv_bytes)


def test_a_number_of_arguments_that_could_not_be_read_is_unknown() -> None:
    """Of a successful exec too, which is whole all the same."""
    head = Head(total=2, argc=UNKNOWN, flags=LAST)
    (event,) = assemble([first(EXEC, head, Facts(cut_from=2, cut_to=2), b"a\0")])

    assert (b"a\0", None, 2, None) == (event.argv, event.argc, event.argv_bytes, event.truncated)


def test_the_probes_own_limit_is_stated() -> None:
    """A failed exec with more arguments than the probe walks is cut at a limit, totals unknown."""
    head = Head(total=2, argc=UNKNOWN, flags=LIMIT | LAST)
    (event,) = assemble([first(FAILED, head, Facts(ret=-7), b"a\0")])

    assert (Truncated.LIMIT, (Hole(2, None),), None, None) == (
        event.truncated,
        event.holes,
        event.argc,
        event.argv_bytes,
    )


@given(words, st.integers(0, 30))
def test_failed_execs_are_cut_as_the_probe_cuts_successful_ones(argv: list[bytes], keep: int) -> None:
    """--max-argv leaves the same head, tail, totals and mark, whichever side made the cut."""
    (ran,) = assemble(list(successful(1, 1, argv, [], keep).records))
    (did_not,) = assemble(list(refused(1, 1, list(argv), []).records), max_argv=keep)

    def said(event: ExecEvent) -> tuple[object, ...]:
        return event.argv, event.holes, event.truncated, event.argc, event.argv_bytes

    assert said(ran) == said(did_not)


@given(st.binary(max_size=40), st.lists(st.integers(0, 40), unique=True), st.integers(0, 30), st.data())
def test_cutting_accounts_for_every_byte(argv: bytes, at: list[int], most: int, data: st.DataObject) -> None:
    """Captured and missing bytes add up to the same before and after; known stays known."""
    sizes = data.draw(st.lists(st.integers(1, 9), min_size=len(at), max_size=len(at)))
    holes = tuple(
        Hole(place, size) for place, size in zip(sorted(at), sizes, strict=True) if place <= len(argv)
    )
    kept, after = keep_ends(argv, holes, most)

    assert len(kept) == min(most, len(argv))
    assert len(argv) + sum(h.missing or 0 for h in holes) == len(kept) + sum(h.missing or 0 for h in after)
    assert sorted(h.at for h in after) == [h.at for h in after]
