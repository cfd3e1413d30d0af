"""Who ran when recording began, whatever happened between the two looks at it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from execaudit.capture.snapshot import SETTLING_NS, Present, find_present
from tests.capture.processes import (
    AFTER_NS,
    ATTACHED_NS,
    MS,
    TICK_NS,
    TICKS,
    UNTIL_ATTACHED,
    later,
    looks,
    process,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from execaudit.system.procfs import Running


def present(
    before: Iterable[Running] = (), after: Iterable[Running] = (), execed: Iterable[tuple[int, int]] = ()
) -> Present:
    """Returns who ran."""
    return find_present(looks(*before), looks(*after), execed, ATTACHED_NS, TICKS)


def test_what_did_not_exec_is_as_it_was_seen_last() -> None:
    """A program that was started between the first look and the hooks has no exec."""
    then, now = process(7, comm=b"old"), later(7, comm=b"new")

    assert present([then], [now]) == Present([now], {})


@pytest.mark.parametrize("at_ns", [ATTACHED_NS - 1, AFTER_NS, AFTER_NS + MS, AFTER_NS + MS + SETTLING_NS])
def test_what_execed_is_as_it_was_before(at_ns: int) -> None:
    """The exec has its own row; what was read then, or a moment earlier, may be its program."""
    then, now = process(7, comm=b"old"), later(7, comm=b"new")

    assert present([then], [now], [(7, at_ns)]) == Present([then], {})


def test_an_exec_that_came_later_does_not_matter() -> None:
    """What was read long before it is the program before it."""
    then, now = process(7, comm=b"old"), later(7, comm=b"new")
    late = now.read_to_ns + SETTLING_NS + 1

    assert present([then], [now], [(7, late)]) == Present([now], {})


def test_any_of_the_execs_matters() -> None:
    """In whatever order they were captured."""
    then, now = process(7), later(7)
    late = now.read_to_ns + SETTLING_NS + 1

    for execs in ([(7, late), (7, AFTER_NS)], [(7, AFTER_NS), (7, late)]):
        assert present([then], [now], execs) == Present([then], {})


def test_an_exec_is_of_its_process_alone() -> None:
    """Neither of another one, nor of the one that had the pid before it."""
    then, now = process(7), later(7, comm=b"new")
    young = later(8, started=UNTIL_ATTACHED - 1)
    others = [(6, AFTER_NS), (8, young.started_ticks * TICK_NS - 1)]

    assert present([then], [now, young], others) == Present([now, young], {})


def test_a_program_that_nobody_saw_is_known_to_have_been() -> None:
    """Forked between the looks, then an exec: the row says whose child it was, and no more."""
    now = later(7, ppid=6, started=UNTIL_ATTACHED - 1, auid=1)
    who = present([], [now], [(7, AFTER_NS)])

    assert who.certain == []
    assert list(who.possible) == [7]
    assert who.possible[7][:6] == now[:6]
    assert set(who.possible[7][6:]) == {None, False}


def test_another_process_of_the_pid_is_not_taken_for_it() -> None:
    """The pid was reused between the looks; the old one's program is not the new one's."""
    then = process(7, started=UNTIL_ATTACHED - 2, comm=b"old")
    now = later(7, started=UNTIL_ATTACHED - 1, comm=b"new")

    assert present([then], [now]) == Present([now], {})
    assert present([then], [now], [(7, AFTER_NS)]).possible[7].comm is None


def test_what_was_forked_later_has_no_row() -> None:
    """The kernel knows its program from its forker. The old one of its pid may still be meant."""
    then = process(7, comm=b"old")
    now = later(7, started=UNTIL_ATTACHED, comm=b"new")

    assert present([], [now]) == Present([], {})
    assert present([then], [now]) == Present([], {7: then})
    assert present([then], [now], [(7, AFTER_NS)]) == Present([], {7: then})


def test_what_was_forked_in_the_tick_of_the_attach_may_be_older() -> None:
    """Rounded down, its start is no later than the hooks: a row too many rather than a hole."""
    now = later(7, started=UNTIL_ATTACHED)

    assert find_present({}, looks(now), [], ATTACHED_NS + 1, TICKS) == Present([now], {})
    assert find_present({}, looks(now), [], ATTACHED_NS + 1, 10 * TICKS) == Present([now], {})
    assert find_present({}, looks(now), [], ATTACHED_NS + 1, TICKS // 10) == Present([], {})


def test_what_ended_may_have_run() -> None:
    """It is there if something refers to it."""
    assert present([process(7)], []) == Present([], {7: process(7)})
