"""The state of the screen: what is chosen, in which order, and what the keys do to it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from execaudit.screen.seen import Ask, Seen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from execaudit.query.expression import Expression
    from execaudit.screen.seen import Row


class Mode(Enum):
    """What the large part of the screen has."""

    LIST = "list"
    TREE = "tree"
    SHOW = "show"


class Order(Enum):
    """The order of the list."""

    NEWEST = "newest"
    LONGEST = "longest"
    USER = "user"
    COMMAND = "command"


@dataclass
class Model:
    """All that the drawing depends on, but for the size and the time."""

    options: str = ""
    """The filters of the command line, safe to show."""
    reverse: bool = False
    seen: Seen = field(default_factory=lambda: Seen(Ask()))
    mode: Mode = Mode.LIST
    before: Mode = Mode.LIST
    """Where `Esc` leads to from an exec."""
    order: Order = Order.NEWEST
    cursor: int | None = None
    """The number of the chosen exec; None: the first, whichever it is."""
    top: int = 0
    """The first line of the list, or of an exec, that is on the screen."""
    typed: str = ""
    """The filter that is used."""
    where: Expression | None = None
    """The same, parsed."""
    shown: int | None = None
    held: Seen | None = None
    """What the screen stays with while it is paused."""

    @property
    def ask(self) -> Ask:
        """Returns what is to be read."""
        return Ask(self.where, self.mode is Mode.TREE, self.shown)

    @property
    def rows(self) -> Sequence[Row]:
        """Returns the lines to choose from, in their order."""
        seen = self.seen if self.held is None else self.held
        if (self.before if self.mode is Mode.SHOW else self.mode) is Mode.TREE:
            return seen.tree
        rows = seen.rows
        if self.order is not Order.NEWEST:
            # The newest first among equals.
            rows = sorted(rows, key=_KEYS[self.order])
        return rows[::-1] if self.reverse else rows

    @property
    def newer(self) -> int:
        """Returns how many execs of the list came since it was paused."""
        if self.held is None or not self.seen.rows:
            return 0
        last = self.held.rows[0].number if self.held.rows else 0
        return sum(row.number > last for row in self.seen.rows)

    def place(self) -> int:
        """Returns the place of the chosen exec among the rows."""
        if self.cursor is None:
            return 0
        return next((place for place, row in enumerate(self.rows) if row.number == self.cursor), 0)

    def move(self, lines: int) -> None:
        """Chooses another exec, so many lines below; or moves what is shown of one."""
        if self.mode is Mode.SHOW:
            self.top = max(0, self.top + lines)  # the drawing knows the last line
            return
        rows = self.rows
        place = max(0, min(len(rows) - 1, self.place() + lines))
        # On the first line it stays with the newest.
        self.cursor = rows[place].number if place else None

    def open(self) -> None:
        """Shows the chosen exec."""
        rows = self.rows
        if self.mode is not Mode.SHOW and rows:
            self.shown = self.cursor = rows[self.place()].number
            self.before, self.mode, self.top = self.mode, Mode.SHOW, 0

    def back(self) -> None:
        """Leaves an exec, or the tree, or the filter."""
        if self.mode is Mode.SHOW:
            self.mode, self.shown, self.top = self.before, None, 0
        elif self.mode is Mode.TREE:
            self.switch()
        else:
            self.filter("", None)

    def switch(self) -> None:
        """Goes from the list to the trees, or back."""
        self.mode = Mode.LIST if self.mode is Mode.TREE else Mode.TREE
        # What is held has no trees, or no list.
        self.shown, self.held, self.top = None, None, 0

    def sort(self) -> None:
        """Takes the next order."""
        orders = [*Order]
        self.order = orders[(orders.index(self.order) + 1) % len(orders)]
        self.cursor, self.top = None, 0

    def pause(self) -> None:
        """Stays with what is there, or goes on."""
        self.held = self.seen if self.held is None else None

    def filter(self, typed: str, where: Expression | None) -> None:
        """Takes another filter."""
        if where != self.where:
            self.cursor, self.top, self.held = None, 0, None
        self.typed, self.where = typed, where


def _duration(row: Row) -> int:
    end = row.event.end
    return 0 if end is None or end.duration_ns is None else end.duration_ns


_KEYS = {
    Order.LONGEST: lambda row: (-_duration(row), -row.number),
    Order.USER: lambda row: (row.event.launch.user or "", row.event.launch.uid or 0, -row.number),
    Order.COMMAND: lambda row: (row.event.launch.comm or b"", row.event.argv, -row.number),
}
