"""Lay out a forest of execs: the order of the lines, and the drawing at the beginning of each. Pure.

A process has one column of the drawing. Programs that it starts are one column to the right, in the order of
recording. If it executes another program, that is in the same column behind an arrow, after everything that
the previous program started:

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
    """The pieces of a drawing. All but the last two have the same width."""

    bar: str
    """The process of this column has more children below."""
    blank: str
    child: str
    last: str
    """The last child."""
    onward: str
    """The same process executes another program, and its parent has more children below."""
    onward_last: str
    """The same process executes another program, and its parent has no more children."""
    onward_root: str
    """The same process executes another program, and is a root."""
    cut: str
    """Something is left out here."""


BOX = Glyphs("│  ", "   ", "├─ ", "└─ ", "│→ ", " → ", "→ ", "…")
ASCII = Glyphs("|  ", "   ", "|- ", "`- ", "|> ", " > ", "> ", "...")


def glyphs_for(encoding: str) -> Glyphs:
    """Returns the glyphs that an encoding can represent."""
    try:
        "".join(BOX).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return BOX


class TreeRow(NamedTuple):
    """One exec in the drawing."""

    number: int
    depth: int
    """How many of its ancestors are in the drawing."""
    lead: str
    """The drawing at the beginning of its line."""


class Forest:
    """Execs, each below its parent if that is one of them. Each takes 20 bytes of memory."""

    def __init__(self, kin: Iterable[Kin], *, reverse: bool = False) -> None:
        """Takes execs in ascending order of their numbers. With `reverse`, the newest is drawn first."""
        self._numbers = array("q")
        parents = array("i")
        onward = bytearray()
        for number, parent, replaces in kin:
            place = self._place(parent)
            self._numbers.append(number)
            parents.append(place)
            onward.append(replaces and place != _NONE)
        count = len(parents)
        # The first child, the next program and the next sibling of each exec. _NONE is also the index of the
        # last item of an array: there, `_children` has the first root.
        self._children = array("i", [_NONE]) * (count + 1)
        self._programs = array("i", [_NONE]) * (count + 1)
        self._siblings = array("i", [_NONE]) * (count + 1)
        # Each exec is inserted before its siblings.
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

        A lead has at most `most` columns, so a deep drawing does not grow with the square of its execs. If
        there are more, the lead begins with the number of columns that are left out.
        """
        # Nothing reads entry 0: roots have no lead.
        bars = [""]
        # The execs to draw next, the last one first. It grows with the depth of a branch, not with its width.
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
    # In steps, so that adjacent lines stay aligned.
    step = max(1, most // 2)
    hidden = -(-(column - most) // step) * step
    return f"{glyphs.cut}{hidden} " + "".join(bars[hidden + 1 : column]) + own
