"""How often the kernel left a program out, as it says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.capture.recursion_misses import Misses

if TYPE_CHECKING:
    import pytest


def test_what_is_not_told_for_a_moment_is_not_counted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The count stays, and goes on: 7 that are told again are no new ones."""
    misses = Misses([])
    told = iter([7, None, 7, 3, 9])
    monkeypatch.setattr(misses, "read", lambda: next(told))

    assert [7, 7, 7, 7, 9] == [misses.count() for _ in range(5)]


def test_nothing_is_missed_where_nobody_counts() -> None:
    """Of no program at all, and of a descriptor that is none."""
    assert (0, 0) == (Misses([]).count(), Misses([-1]).count())
