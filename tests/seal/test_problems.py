"""Problems that are beside each other are one, and there are never many."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.seal import problems
from execaudit.seal.problems import Problems
from execaudit.seal.segment_check import Problem


def joined(*found: Problem) -> list[Problem]:
    """Returns what they are, joined."""
    every = Problems()
    every.add(found)
    return [*every]


def in_exec(first: int, last: int, from_ns: int | None = 1, to_ns: int | None = 2) -> Problem:
    """Returns a problem with these rows."""
    return Problem("changed", "exec", first, last, from_ns, to_ns)


def test_neighbours_are_one() -> None:
    """With the times of both; those of another kind, or with a hole between, are others."""
    missing = Problem("missing", "exec", 5, 5, 1, 2)
    found = joined(in_exec(1, 3, 10, 20), missing, in_exec(4, 4, 20, 30), in_exec(6, 7))

    assert [in_exec(1, 4, 10, 30), missing, in_exec(6, 7)] == found


def test_a_time_that_is_not_known_of_one_is_not_known() -> None:
    """Nothing before it is proved then."""
    assert [in_exec(1, 4, None, None)] == joined(in_exec(1, 3, None, 20), in_exec(4, 4, 20, None))


def test_what_has_no_numbers_is_said_once() -> None:
    """And is not joined with what has."""
    whole = Problem("changed", "exec", None, None, None, None)

    assert [whole, in_exec(1, 1)] == joined(whole, whole, in_exec(1, 1))


@given(st.sets(st.integers(0, 300), max_size=60))
def test_there_are_never_many(numbers: set[int]) -> None:
    """Each number is in a range, and a range begins and ends where something is."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(problems, "_MOST", 10)
        found = joined(*(in_exec(number, number) for number in sorted(numbers)))
    ranges = [(each.first or 0, each.last or 0) for each in found]

    assert len(found) <= 10
    assert all(before[1] < after[0] for before, after in pairwise(ranges))
    assert all(any(low <= number <= high for low, high in ranges) for number in numbers)
    assert {low for low, _ in ranges} | {high for _, high in ranges} <= numbers


def test_what_is_joined_is_near() -> None:
    """Many problems all over a table are told in hundreds of ranges."""
    found = joined(*(in_exec(number, number) for number in range(0, 100_000, 2)))

    assert 250 < len(found) <= 1000
    assert max((each.last or 0) - (each.first or 0) for each in found) < 1000
