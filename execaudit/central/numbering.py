"""Numbers of a host's rows, and the numbers that these have in its stream at the centre. Pure.

They are the same, unless the host's file was put back to an older copy. That one gives numbers again which
were shipped before. Then what comes gets numbers above all that were shipped.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from execaudit.central.tables import MOST_SEQ

if TYPE_CHECKING:
    from collections.abc import Sequence


class Shift(NamedTuple):
    """Of local numbers above `after`, until the next shift."""

    after: int
    by: int
    """What is added."""


class Numbers(NamedTuple):
    """The shifts of one table, in order of `after`."""

    shifts: tuple[Shift, ...] = ()

    def at_centre(self, local: int) -> int:
        """Returns the number that a row has at the centre."""
        if not self.shifts:
            return local
        place = bisect_left(self.shifts, local, key=lambda shift: shift.after)
        return local + (self.shifts[place - 1].by if place else 0)

    def local(self, central: int) -> int:
        """Returns the number that a row has on the host, given the one that it has at the centre."""
        return central - self._by(central)

    def _by(self, central: int) -> int:
        return next((by for after, by in reversed(self.shifts) if central > after + by), 0)

    def ranges(self, first: int, last: int) -> list[tuple[int, int]]:
        """Returns between which numbers of the centre some local rows are: both ends included."""
        found = []
        edges = [0, *(shift.after for shift in self.shifts), MOST_SEQ]
        for low, high in pairwise(edges):
            begin, end = max(first, low + 1), min(last, high)
            if begin <= end:
                found.append((self.at_centre(begin), self.at_centre(end)))
        return found

    def on_host(self, central: int) -> int:
        """Returns the last local row that is at the centre, if all up to a number there are.

        Those of a time that the host does not know any more count as the last one before.
        """
        most: int | None = None
        for after, by in reversed((Shift(0, 0), *self.shifts)):
            if central > after + by:
                return central - by if most is None else min(central - by, most)
            most = after
        return 0

    def going_on(self, common: int, last: int) -> Numbers:
        """Returns the numbers of a host that goes on after the local row `common`.

        `last` is the highest number that is taken at the centre.
        """
        kept = tuple(shift for shift in self.shifts if shift.after < common)
        return Numbers((*kept, Shift(common, last - common)))


class Shifts(NamedTuple):
    """The numbers of all tables of a stream."""

    exec: Numbers = Numbers()
    exit: Numbers = Numbers()
    run: Numbers = Numbers()
    gap: Numbers = Numbers()
    rule: Numbers = Numbers()

    def to_json(self) -> bytes:
        """Returns them as they stand in the table stream."""
        shifted = {name: numbers.shifts for name, numbers in self._asdict().items() if numbers.shifts}
        return json.dumps(shifted, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Shifts:
        """Returns what to_json() returned. Raises ValueError for anything else."""
        try:
            return cls(**{name: _numbers(shifts) for name, shifts in json.loads(text).items()})
        except (AttributeError, OverflowError, RecursionError, TypeError) as exc:
            raise ValueError(f"shifts of numbers make no sense ({exc})") from exc


NOT_SHIFTED = Shifts()


def _numbers(shifts: Sequence[Sequence[int]]) -> Numbers:
    found = tuple(Shift(int(after), int(by)) for after, by in shifts)
    if not all(0 <= after <= MOST_SEQ and abs(by) <= MOST_SEQ for after, by in found):
        raise ValueError("a shift is out of range")
    return Numbers(found)
