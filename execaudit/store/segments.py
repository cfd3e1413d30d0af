"""Which row ids the execs of a time have, from the rows of `seg`. Pure.

The writer keeps this in memory: a statement would read all rows of `seg` for each parent that it
looks up, and there are five thousand in ten million execs.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Segment(NamedTuple):
    """A row of `seg`: consecutive execs, and the times that they are within."""

    id_lo: int
    id_hi: int
    ts_min: int
    """Wall clock, nanoseconds since 1970."""
    ts_max: int


class Segments:
    """The segments of a history in the order of their ids, 24 bytes each."""

    def __init__(self, segments: Iterable[Segment]) -> None:
        self._low = array("q")
        # The latest time up to each one, and the earliest from it on: both grow, even where the clock was
        # stepped.
        self._latest, self._earliest = array("q"), array("q")
        for segment in segments:
            self.put(segment)

    def put(self, segment: Segment) -> None:
        """Adds the next one, or more of the last one."""
        id_lo, _, ts_min, ts_max = segment
        if not self._low or self._low[-1] != id_lo:
            self._low.append(id_lo)
            self._latest.append(max(ts_max, self._latest[-1]) if self._latest else ts_max)
            self._earliest.append(ts_min)
        self._latest[-1] = max(self._latest[-1], ts_max)
        self._earliest[-1] = min(self._earliest[-1], ts_min)
        # Earlier ones only where the clock was set back.
        at, earliest = len(self._low) - 2, self._earliest
        while at >= 0 and earliest[at] > ts_min:
            earliest[at] = ts_min
            at -= 1

    def between(self, first_ns: int, last_ns: int) -> tuple[int, int | None] | None:
        """Returns the first and the last id that execs of these times can have; None: there are none.

        Without a last id, they go to the end. Where the clock was stepped there may be others between.
        """
        first = bisect_left(self._latest, first_ns)
        last = bisect_right(self._earliest, last_ns) - 1
        if first == len(self._low) or last < first:
            return None
        return self._low[first], self._low[last + 1] - 1 if last + 1 < len(self._low) else None
