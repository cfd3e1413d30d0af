"""What the screen asks of the history, and what it is told. Types only."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from execaudit.event import ExecEvent
    from execaudit.query.expression import Expression


class Ask(NamedTuple):
    """What the screen wants to know now."""

    typed: Expression | None = None
    """What was typed into the filter line, beside the options of the command."""
    tree: bool = False
    """The trees are wanted too."""
    shown: int | None = None
    """The exec of which all is wanted, by its number."""


class Row(NamedTuple):
    """One exec."""

    number: int
    """Grows in the order of recording."""
    event: ExecEvent
    """Its command line is shortened."""
    lead: str = ""
    """The drawing before its command, in a tree."""
    is_match: bool = True
    """It matches the filters; else it is there because it led to one that does."""


class Detail(NamedTuple):
    """All about one exec."""

    number: int
    event: ExecEvent | None
    """None: it is no longer in the history."""
    next_comm: bytes | None = None
    """The name of the program that replaced it."""
    ancestors: Sequence[Row] = ()
    """The first is the root."""
    more_ancestors: bool = False
    children: Sequence[Row] = ()
    more_children: int | None = 0
    """How many more there are; None: too many to count."""


class Pace(NamedTuple):
    """How many execs match, over time."""

    now: float
    """A second, in the last few seconds."""
    minute: float
    five_minutes: float
    chart: Sequence[int] = ()
    """In each second of the last minute, the newest last."""
    commands: Sequence[tuple[bytes | None, int]] = ()
    """The most frequent of the last minute."""
    users: Sequence[tuple[str, int]] = ()
    unlisted: int = 0
    """Of the last minute: they came too fast to be in the list."""
    unread: int = 0
    """Of the last minute: they came too fast to be looked at."""


class Seen(NamedTuple):
    """What was found in the history."""

    ask: Ask
    """What it answers."""
    rows: Sequence[Row] = ()
    """The newest execs that match, the newest first."""
    tree: Sequence[Row] = ()
    pace: Pace = Pace(0, 0, 0)
    detail: Detail | None = None
    host: str = ""
    """The host that is being recorded; empty when nobody records."""
    notices: Sequence[str] = ()
    """What is missing, the most important first. Safe to show."""
    refused: str | None = None
    """Why the filter cannot be used."""
    is_ready: bool = False
    """The history was read."""
