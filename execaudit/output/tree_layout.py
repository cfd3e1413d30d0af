"""Where each exec stands in a drawing of a forest, and the lines that lead to it. Pure.

A column of the drawing is a process. What it starts is one column to the right, in order of
recording; the program that it went on with, by another exec, is in the same column behind an
arrow, after all that the program before has started:

    make
    ├─ sh -c 'gcc x.c'
    │→ gcc x.c
    │  └─ cc1 x.c
    └─ ls
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from execaudit.query.lineage import Kin

_NONE = -1


class Glyphs(NamedTuple):
    """What a drawing is made of; all but the last two are equally wide."""

    bar: str
    """Passes by: more of that process's children come below."""
    blank: str
    child: str
    last: str
    """The last child."""
    onward: str
    """The same process goes on, and its parent has more children below."""
    onward_last: str
    """The same process goes on, and its parent has no more."""
    onward_root: str
    cut: str
    """Something is left out here."""


BOX = Glyphs("│  ", "   ", "├─ ", "└─ ", "│→ ", " → ", "→ ", "…")
ASCII = Glyphs("|  ", "   ", "|- ", "`- ", "|> ", " > ", "> ", "...")


def glyphs_for(encoding: str) -> Glyphs:
    """Returns what can be written in an encoding."""
    try:
        "".join(BOX).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return BOX


class TreeRow(NamedTuple):
    """One exec in the drawing."""

    number: int
    depth: int
    """How many of its ancestors are in the drawing, and above it."""
    lead: str
    """What stands before it on its line."""


class Forest:
    """Execs, each below its parent if that is among them; 20 bytes of memory for each."""

    def __init__(self, kin: Iterable[Kin], *, reverse: bool = False) -> None:
        """Takes them in ascending order of their numbers; with `reverse` they are drawn newest first."""
        self._numbers = array("q")
        parents = array("i")
        onward = bytearray()
        for number, parent, replaces in kin:
            place = self._place(parent)
            self._numbers.append(number)
            parents.append(place)
            onward.append(replaces and place != _NONE)
        count = len(parents)
        # First child, next program and next sibling of each; the child of _NONE, which is the
        # last item of an array too, is the first root.
        self._children = array("i", [_NONE]) * (count + 1)
        self._programs = array("i", [_NONE]) * (count + 1)
        self._siblings = array("i", [_NONE]) * (count + 1)
        # Each goes before those that were there.
        for place in range(count) if reverse else range(count - 1, -1, -1):
            firsts = self._programs if onward[place] else self._children
            self._siblings[place] = firsts[parents[place]]
            firsts[parents[place]] = place

    def __len__(self) -> int:
        return len(self._numbers)

    def _place(self, number: int | None) -> int:
        if number is None:
            return _NONE
        place = bisect_left(self._numbers, number)
        return place if place < len(self._numbers) and self._numbers[place] == number else _NONE

    def walk(self, glyphs: Glyphs = BOX, *, most: int = 50) -> Iterator[TreeRow]:
        """Yields each exec once, in the order of the drawing.

        No more than `most` columns lead to one, so that a deep drawing is no larger than its
        execs. Further to the right, a lead begins with how many are left out.
        """
        # Entry 0 is never looked at: roots have nothing before them.
        bars = [""]
        # What comes next, from the last to the first; as long as a branch, not as it is wide.
        stack = [(self._children[_NONE], 0, 0, False)]
        while stack:
            place, depth, column, replaces = stack.pop()
            if place == _NONE:
                continue
            sibling = self._siblings[place]
            if column == len(bars):
                bars.append("")
            if not replaces:
                bars[column] = glyphs.blank if sibling == _NONE else glyphs.bar
            yield TreeRow(self._numbers[place], depth, _lead(glyphs, bars, column, most, replaces=replaces))
            stack += (
                (sibling, depth, column, replaces),
                (self._programs[place], depth + 1, column, True),
                (self._children[place], depth + 1, column + 1, False),
            )


def _lead(glyphs: Glyphs, bars: list[str], column: int, most: int, *, replaces: bool) -> str:
    if column == 0:
        return glyphs.onward_root if replaces else ""
    more = bars[column] == glyphs.bar
    if replaces:
        own = glyphs.onward if more else glyphs.onward_last
    else:
        own = glyphs.child if more else glyphs.last
    if column <= most:
        return "".join(bars[1:column]) + own
    # In steps, so that the lines of neighbours stay below each other.
    step = max(1, most // 2)
    hidden = -(-(column - most) // step) * step
    return f"{glyphs.cut}{hidden} " + "".join(bars[hidden + 1 : column]) + own
