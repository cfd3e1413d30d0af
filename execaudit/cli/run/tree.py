"""The trees that `execaudit tree` draws."""

from __future__ import annotations

import dataclasses
import sys
from array import array
from bisect import bisect_left
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit.cli import terminal
from execaudit.cli.run.build_filter import build_filter
from execaudit.cli.run.missing import Bounded, bounded, warn
from execaudit.cli.run.progress import answered
from execaudit.cli.run.references import number_of
from execaudit.event import Nanoseconds
from execaudit.output import summary_line, tree_layout
from execaudit.output.json_lines import json_line, json_text
from execaudit.output.summary_line import Role
from execaudit.output.timecolumn import TimeColumn
from execaudit.query import find, lineage
from execaudit.query.filter import Filter
from execaudit.system import clock

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping

    from execaudit.event import ExecEvent
    from execaudit.output.tree_layout import TreeRow

# Command lines can have megabytes: so many execs are in memory at a time.
_PAGE = 64


class _Asked(NamedTuple):
    """Which execs to draw: row numbers, ascending, 8 bytes each."""

    matches: array[int]
    """The execs that were asked for."""
    drawn: array[int]
    """These and, where asked for, their descendants; without ancestors."""
    missing: list[dict[str, object]]
    """Records of what is missing in its time."""
    bounded: Bounded | None = None

    def role(self, number: int) -> Role:
        """Returns why an exec is in the drawing."""
        if _has(self.matches, number):
            return Role.MATCH
        return Role.BELOW if _has(self.drawn, number) else Role.CONTEXT


def draw_asked(connection: sqlite3.Connection, values: Mapping[str, Any], *, as_json: bool) -> None:
    """Writes the trees that the options ask for to standard output.

    Raises FilterError; ExecauditError for an exec that is not in the history.
    """
    asked = _asked(connection, values)
    forest = tree_layout.Forest(lineage.lineage(connection, asked.drawn), reverse=values["reverse"])
    lines = _jsonl if as_json else _text
    for piece in answered(connection, lines(connection, asked, forest)):
        sys.stdout.write(piece)
    if asked.bounded is not None:
        asked.bounded.say()


def _asked(connection: sqlite3.Connection, values: Mapping[str, Any]) -> _Asked:
    """Returns which execs to draw; says on stderr where execs are missing in their time."""
    wanted = build_filter(dict(values), connection)
    if values["ids"]:
        matches = {number_of(connection, text) for text in values["ids"]}
        return _with_descendants(connection, array("q", sorted(matches)), wanted)
    if wanted.pids:
        of_pid = Filter(
            since_ns=wanted.since_ns, until_ns=wanted.until_ns, pids=wanted.pids, hosts=wanted.hosts
        )
        asked = bounded(connection, of_pid)
        return _with_descendants(connection, _numbers(connection, asked.wanted), wanted, asked)
    asked = bounded(connection, wanted)
    missing = warn(connection, wanted)
    numbers = _numbers(connection, dataclasses.replace(asked.wanted, reverse=False))
    return _Asked(numbers, numbers, missing, asked)


def _with_descendants(
    connection: sqlite3.Connection, matches: array[int], wanted: Filter, asked: Bounded | None = None
) -> _Asked:
    drawn = lineage.descendants(connection, matches, newest=wanted.limit)
    ends = find.fetch(connection, [*matches[:1], *drawn[-1:]])
    span = Filter(since_ns=wanted.since_ns, until_ns=wanted.until_ns, hosts=wanted.hosts)
    if ends:
        first, last = ends[0].event, ends[-1].event
        until = Nanoseconds(last.time_ns + 1)
        span = Filter(since_ns=first.time_ns, until_ns=until, hosts=(first.host, last.host))
    return _Asked(matches, drawn, warn(connection, span), asked)


def _numbers(connection: sqlite3.Connection, wanted: Filter) -> array[int]:
    return array("q", (found.number for found in find.find(connection, wanted)))


def _has(numbers: array[int], number: int) -> bool:
    place = bisect_left(numbers, number)
    return place < len(numbers) and numbers[place] == number


def _read(connection: sqlite3.Connection, places: Iterator[TreeRow]) -> Iterator[tuple[TreeRow, ExecEvent]]:
    """Yields the execs that stand in the drawing, in its order; not those that vanish meanwhile."""
    while page := list(islice(places, _PAGE)):
        events = {found.number: found.event for found in find.fetch(connection, [p.number for p in page])}
        yield from ((place, events[place.number]) for place in page if place.number in events)


def _jsonl(connection: sqlite3.Connection, asked: _Asked, forest: tree_layout.Forest) -> Iterator[str]:
    for place, event in _read(connection, forest.walk()):
        matched = asked.role(place.number) is Role.MATCH
        yield f'{json_line(event)[:-1]},"depth":{place.depth},"matched":{json_text(matched)}}}\n'
    for record in asked.missing:
        yield json_text(record) + "\n"


def _text(connection: sqlite3.Connection, asked: _Asked, forest: tree_layout.Forest) -> Iterator[str]:
    style = summary_line.Style(
        glyphs=tree_layout.glyphs_for(sys.stdout.encoding),
        width=terminal.width(),
        colour=terminal.has_colour(),
        times=TimeColumn(None, now_ns=clock.wall_ns()),
        day=_day(connection, asked),
        marked=len(forest) > len(asked.matches),
    )
    yield summary_line.tree_header(style) + "\n"
    for place, event in _read(connection, forest.walk(style.glyphs, most=style.most_columns)):
        yield summary_line.tree_line(event, place.lead, asked.role(place.number), style) + "\n"


def _day(connection: sqlite3.Connection, asked: _Asked) -> str | None:
    """Returns the day of what was asked for, if it is one day; what led to it may be older."""
    ends = find.fetch(connection, [*asked.drawn[:1], *asked.drawn[-1:]])
    days = {summary_line.day_of(found.event.time_ns, None) for found in ends}
    return days.pop() if len(days) == 1 else None
