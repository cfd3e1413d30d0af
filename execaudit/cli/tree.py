"""`execaudit tree`: what led to what, drawn."""

from __future__ import annotations

import dataclasses
import sys
from array import array
from bisect import bisect_left
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.core import ParameterSource

from execaudit import brief, draw, family, query
from execaudit.brief import Role
from execaudit.cli import terminal
from execaudit.cli.options import ExecId, build_filter, filter_options, number_of
from execaudit.cli.query import warn_of_gaps
from execaudit.cli.state import State, config_option, db_option
from execaudit.event import Nanoseconds
from execaudit.jsonline import json_line
from execaudit.render import json_text

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping

    from execaudit.draw import Place
    from execaudit.event import ExecEvent

# Command lines can have megabytes: so many execs are in memory at a time.
_PAGE = 64
# What --id and --pid draw is a whole family: a filter would leave holes in it, and what a
# filter finds below an exec is asked for with --under. A pid means little without time and host.
_BESIDE_ID = frozenset({"limit", "reverse", "fmt"})
_BESIDE_PID = _BESIDE_ID | {"since", "until", "hosts"}


class _Asked(NamedTuple):
    """Which execs to draw: row numbers, ascending, 8 bytes each."""

    matches: array[int]
    """What was asked for."""
    drawn: array[int]
    """With what came of it, if that was asked for too; not yet what led to it."""

    def role(self, number: int) -> Role:
        """Returns why an exec is in the drawing."""
        if _has(self.matches, number):
            return Role.MATCH
        return Role.BELOW if _has(self.drawn, number) else Role.CONTEXT


@click.command("tree")
@filter_options
@click.option(
    "--id",
    "ids",
    type=ExecId(),
    multiple=True,
    metavar="ID",
    help="This exec, what led to it, and all that came of it.",
)
@click.option(
    "--format",
    "fmt",
    type=click.Choice(["text", "jsonl"]),
    default="text",
    show_default=True,
    help="For people or for scripts.",
)
@config_option
@db_option
@click.pass_obj
@click.pass_context
def command(context: click.Context, state: State, /, fmt: str, **values: Any) -> None:  # noqa: ANN401  # the filters
    """Draw execs as trees: below each what it started, and what that started.

    Filters choose execs as in `query`, and what led to them is drawn as well. --id draws one
    exec's family instead, with all that came of it, and --pid those of all execs that the
    process had; a pid is used again, so it goes with --since, --until and --host. --limit
    takes the newest.
    """
    _refuse_mixtures(context, values)
    with state.history() as connection:
        asked = _asked(connection, values)
        forest = draw.Forest(family.lineage(connection, asked.drawn), reverse=values["reverse"])
        lines = _jsonl if fmt == "jsonl" else _text
        for piece in lines(connection, asked, forest):
            sys.stdout.write(piece)


def _refuse_mixtures(context: click.Context, values: Mapping[str, Any]) -> None:
    """Raises UsageError where options were typed that exclude each other; settings only yield."""
    typed = {name for name in values if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    names = {option.name: option.opts[-1] for option in context.command.params}
    for name, beside in (("ids", _BESIDE_ID), ("pids", _BESIDE_PID)):
        others = sorted(typed - beside - {name})
        if name in typed and others:
            raise click.UsageError(
                f"{names[name]} and {names[others[0]]} exclude each other: to filter below an exec, use --under"
            )


def _asked(connection: sqlite3.Connection, values: Mapping[str, Any]) -> _Asked:
    """Returns which execs to draw; says on stderr where execs are missing in their time."""
    wanted = build_filter(dict(values), connection)
    if values["ids"]:
        matches = {number_of(connection, key) for key in values["ids"]}
        return _with_descendants(connection, array("q", sorted(matches)), wanted.limit)
    if wanted.pids:
        of_pid = query.Filter(
            since_ns=wanted.since_ns, until_ns=wanted.until_ns, pids=wanted.pids, hosts=wanted.hosts
        )
        return _with_descendants(connection, _numbers(connection, of_pid), wanted.limit)
    warn_of_gaps(connection, wanted)
    numbers = _numbers(connection, dataclasses.replace(wanted, reverse=False))
    return _Asked(numbers, numbers)


def _with_descendants(connection: sqlite3.Connection, matches: array[int], limit: int | None) -> _Asked:
    drawn = family.descendants(connection, matches, newest=limit)
    ends = query.fetch(connection, [*matches[:1], *drawn[-1:]])
    if ends:
        first, last = ends[0].event, ends[-1].event
        until = Nanoseconds(last.time_ns + 1)
        warn_of_gaps(
            connection, query.Filter(since_ns=first.time_ns, until_ns=until, hosts=(first.host, last.host))
        )
    return _Asked(matches, drawn)


def _numbers(connection: sqlite3.Connection, wanted: query.Filter) -> array[int]:
    return array("q", (found.number for found in query.find(connection, wanted)))


def _has(numbers: array[int], number: int) -> bool:
    place = bisect_left(numbers, number)
    return place < len(numbers) and numbers[place] == number


def _read(connection: sqlite3.Connection, places: Iterator[Place]) -> Iterator[tuple[Place, ExecEvent]]:
    """Yields the execs that stand in the drawing, in its order; not those that vanish meanwhile."""
    while page := list(islice(places, _PAGE)):
        events = {found.number: found.event for found in query.fetch(connection, [p.number for p in page])}
        yield from ((place, events[place.number]) for place in page if place.number in events)


def _jsonl(connection: sqlite3.Connection, asked: _Asked, forest: draw.Forest) -> Iterator[str]:
    for place, event in _read(connection, forest.walk()):
        matched = asked.role(place.number) is Role.MATCH
        yield f'{json_line(event)[:-1]},"depth":{place.depth},"matched":{json_text(matched)}}}\n'


def _text(connection: sqlite3.Connection, asked: _Asked, forest: draw.Forest) -> Iterator[str]:
    style = brief.Style(
        glyphs=draw.glyphs_for(sys.stdout.encoding),
        width=terminal.width(),
        colour=terminal.has_colour(),
        day=_day(connection, asked),
        marked=len(forest) > len(asked.matches),
    )
    yield brief.tree_header(style) + "\n"
    for place, event in _read(connection, forest.walk(style.glyphs, most=style.most_columns)):
        yield brief.tree_line(event, place.lead, asked.role(place.number), style) + "\n"


def _day(connection: sqlite3.Connection, asked: _Asked) -> str | None:
    """Returns the day of what was asked for, if it is one day; what led to it may be older."""
    ends = query.fetch(connection, [*asked.drawn[:1], *asked.drawn[-1:]])
    days = {brief.day_of(found.event.time_ns, None) for found in ends}
    return days.pop() if len(days) == 1 else None
