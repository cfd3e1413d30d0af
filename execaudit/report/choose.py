"""Choose which execs a report has, where there are more than it can have. Pure.

Whoever floods the history with one kind of execs does not push the others out: a kind gets at most half of
the room that is left, as long as others wait.
"""

from __future__ import annotations

from array import array
from collections import Counter
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from execaudit.enums import Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from execaudit.event import ExecEvent

# A program that ran so often, at most, is rare.
_RARE = 3


class Sort(IntEnum):
    """Why an exec is chosen; the first has the best chance."""

    NAMED = 0
    """It was marked, or a rule hit it."""
    UNUSUAL = 1
    """It gained privileges, its file had no name, or a signal ended it."""
    RARE = 2
    """Its program ran only a few times."""
    FAILED = 3
    """The kernel refused it, or it ended with a failure."""
    OTHER = 4


class Kept(NamedTuple):
    """How many of a sort a report has."""

    sort: Sort
    kept: int
    of: int


class Chosen(NamedTuple):
    """The execs that a report has."""

    numbers: array[int]
    """In the order of recording."""
    kept: tuple[Kept, ...]
    """How many of each sort; empty: all execs are there."""


class Chooser:
    """Takes execs, one after the other, and chooses some. Remembers 13 bytes of each."""

    def __init__(self) -> None:
        self.numbers = array("q")
        """Of all that was added."""
        self._programs, self._sorts = array("l"), bytearray()
        self._ids: dict[bytes | None, int] = {}

    def add(self, number: int, event: ExecEvent) -> None:
        """Takes an exec; its number is larger than those before."""
        self.numbers.append(number)
        self._programs.append(self._ids.setdefault(_program(event), len(self._ids)))
        self._sorts.append(_sort(event))

    def choose(self, most: int, named: Collection[int]) -> Chosen:
        """Returns `most` execs; more only if more are `named`, which are all chosen if they were added."""
        if len(self.numbers) <= most:
            return Chosen(self.numbers, ())
        by_sort = self._by_sort(named)
        kept: dict[Sort, Sequence[int]] = {Sort.NAMED: by_sort[Sort.NAMED]}
        room = max(0, most - len(by_sort[Sort.NAMED]))
        rest = [sort for sort in Sort if sort is not Sort.NAMED]
        shares = dict.fromkeys(rest, 0)
        # Twice: what some do not need is for the others.
        for share in (2, 1):
            for sort in rest:
                more = min(len(by_sort[sort]) - shares[sort], room if sort is Sort.OTHER else room // share)
                shares[sort] += more
                room -= more
        kept.update({sort: _spread(by_sort[sort], shares[sort]) for sort in rest})
        return Chosen(
            array("q", sorted(self.numbers[place] for places in kept.values() for place in places)),
            tuple(Kept(sort, len(kept[sort]), len(by_sort[sort])) for sort in Sort if by_sort[sort]),
        )

    def _by_sort(self, named: Collection[int]) -> dict[Sort, list[int]]:
        """Returns the places of the execs of each sort."""
        found: dict[Sort, list[int]] = {sort: [] for sort in Sort}
        ran = Counter(self._programs)
        for place, number in enumerate(self.numbers):
            sort = Sort(self._sorts[place])
            if number in named:
                sort = Sort.NAMED
            elif sort > Sort.RARE and ran[self._programs[place]] <= _RARE:
                sort = Sort.RARE
            found[sort].append(place)
        return found


def _spread(places: Sequence[int], count: int) -> Sequence[int]:
    """Returns so many of these, evenly spread."""
    return [places[index * len(places) // count] for index in range(count)] if count else ()


def _program(event: ExecEvent) -> bytes | None:
    return event.launch.filename if event.kind is Kind.FAILED else event.launch.exe


def _sort(event: ExecEvent) -> Sort:
    launch, end = event.launch, event.end
    if event.kind is Kind.FAILED:
        return Sort.FAILED
    if launch.privileged or launch.nlink == 0 or (launch.exe or b"").endswith(b" (deleted)"):
        return Sort.UNUSUAL
    if end is not None and end.signal:
        return Sort.UNUSUAL
    return Sort.FAILED if end is not None and end.code else Sort.OTHER
