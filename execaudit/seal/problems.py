"""Join problems that are near each other, so that a history of which all was changed has few. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from execaudit.seal.segment_check import Problem

# Of one kind in one table. When there are more, those among twice as many rows become one.
_MOST = 1000


@dataclass
class _Same:
    """Problems of one kind in one table, each with its place among all."""

    found: list[tuple[int, Problem]] = field(default_factory=list)
    reach: int = 1
    """Those that are not beside each other are one, too, if both are among so many numbers."""

    def add(self, at: int, problem: Problem) -> None:
        if self.found and _are_near(self.found[-1][1], problem, self.reach):
            self.found[-1] = self.found[-1][0], _joined(self.found[-1][1], problem)
        else:
            self.found.append((at, problem))


class Problems:
    """Problems in the order in which they were found, in as much memory for any number of them."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], _Same] = {}
        self._added = 0

    def __iter__(self) -> Iterator[Problem]:
        every = [each for same in self._found.values() for each in same.found]
        return (problem for _, problem in sorted(every, key=lambda each: each[0]))

    def add(self, problems: Iterable[Problem]) -> None:
        """Takes more problems."""
        for problem in problems:
            same = self._found.setdefault((problem.kind, problem.table), _Same())
            same.add(self._added, problem)
            self._added += 1
            while len(same.found) > _MOST:
                wider = _Same(reach=same.reach * 2)
                for at, each in same.found:
                    wider.add(at, each)
                same.found, same.reach = wider.found, wider.reach


def _are_near(one: Problem, other: Problem, reach: int) -> bool:
    if one.first is None or one.last is None or other.first is None or other.last is None:
        return one.first is None and other.first is None
    is_beside = other.first <= one.last + 1 and one.first <= other.last + 1
    return is_beside or max(one.last, other.last) - min(one.first, other.first) < reach


def _joined(one: Problem, other: Problem) -> Problem:
    """Returns a problem that has both. A time that is not known of one is not known of both."""
    return one._replace(
        first=None if one.first is None or other.first is None else min(one.first, other.first),
        last=None if one.last is None or other.last is None else max(one.last, other.last),
        from_ns=None if one.from_ns is None or other.from_ns is None else min(one.from_ns, other.from_ns),
        to_ns=None if one.to_ns is None or other.to_ns is None else max(one.to_ns, other.to_ns),
    )
