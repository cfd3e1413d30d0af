"""The trees that `execaudit tree` draws."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from array import array
from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit.cli import terminal
from execaudit.cli.run import pager
from execaudit.cli.run.build_filter import build_filter
from execaudit.cli.run.missing import Bounded, bounded, warn
from execaudit.cli.run.progress import answered
from execaudit.cli.run.references import number_of
from execaudit.event import Nanoseconds
from execaudit.output import summary_line, tree_layout
from execaudit.output.cells import user_text
from execaudit.output.json_lines import json_line, json_text
from execaudit.output.summary_line import Role
from execaudit.output.timecolumn import TimeColumn
from execaudit.query import globs
from execaudit.query.filter import Filter
from execaudit.query.lineage import Kin
from execaudit.system import clock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from execaudit.cli.context import Look
    from execaudit.event import ExecEvent
    from execaudit.output.tree_layout import TreeRow
    from execaudit.query.history import History

# Command lines can have megabytes: so many execs are in memory at a time.
_PAGE = 64
# So many execs below all matches are drawn; of more, lines say how many there are, of those that are counted.
_MOST_BELOW, _MOST_COUNTED, _MOST_USERS = 100, 20_000, 3


class Note(NamedTuple):
    """What is below an exec and is not drawn."""

    top: int
    text: str


class _Asked(NamedTuple):
    """Which execs to draw: row numbers, ascending, 8 bytes each."""

    matches: array[int]
    """The execs that were asked for."""
    drawn: array[int]
    """These and, where asked for, their descendants; without ancestors."""
    missing: list[dict[str, object]]
    """Records of what is missing in its time."""
    bounded: Bounded | None = None
    kin: tuple[Kin, ...] | None = None
    """All that are drawn, if they were looked up."""
    notes: tuple[Note, ...] = ()

    def role(self, number: int) -> Role:
        """Returns why an exec is in the drawing."""
        if _has(self.matches, number):
            return Role.MATCH
        return Role.BELOW if _has(self.drawn, number) else Role.CONTEXT


def draw_asked(history: History, values: Mapping[str, Any], look: Look, *, as_json: bool) -> None:
    """Writes the trees that the options ask for to standard output.

    Raises FilterError; ExecauditError for an exec that is not in the history.
    """
    asked = _asked(history, values)
    kin = history.lineage(asked.drawn) if asked.kin is None else iter(asked.kin)
    if as_json:
        asked = asked._replace(notes=())
    # A note stands where the last thing would stand that the exec started.
    following = asked.drawn[-1] + 1 if asked.drawn else 0
    notes = (Kin(following + place, note.top, replaces=False) for place, note in enumerate(asked.notes))
    forest = tree_layout.Forest(itertools.chain(kin, notes), reverse=values["reverse"])
    if as_json:
        sys.stdout.writelines(answered(history, _jsonl(history, asked, forest)))
    elif not pager.show(answered(history, _text(history, asked, forest, look)), look):
        return
    if asked.bounded is not None:
        asked.bounded.say()


def _asked(history: History, values: Mapping[str, Any]) -> _Asked:
    """Returns which execs to draw; says on stderr where execs are missing in their time."""
    wanted = build_filter(dict(values), history)
    if values["ids"]:
        matches = {number_of(history, text) for text in values["ids"]}
        return _with_descendants(history, array("q", sorted(matches)), wanted)
    if wanted.pids:
        of_pid = Filter(
            since_ns=wanted.since_ns, until_ns=wanted.until_ns, pids=wanted.pids, hosts=wanted.hosts
        )
        asked = bounded(history, of_pid)
        return _with_descendants(history, _numbers(history, asked.wanted), wanted, asked)
    asked = bounded(history, wanted)
    missing = warn(history, wanted)
    numbers = _numbers(history, dataclasses.replace(asked.wanted, reverse=False))
    found = _Asked(numbers, numbers, missing, asked)
    # Where all is wanted, nothing else is below.
    of_time = dataclasses.replace(wanted, since_ns=None, until_ns=None, hosts=(), limit=None, reverse=False)
    return found if of_time == Filter() else _with_what_is_below(history, found, asked.wanted.until_ns)


def _with_what_is_below(history: History, asked: _Asked, until_ns: int | None) -> _Asked:
    """Returns the same with all that came of the matches, whoever ran it; if it is much, with notes."""
    kin = tuple(history.lineage(asked.matches))
    tops = set(asked.matches)
    for each in kin:
        if each.parent in tops:
            tops.add(each.number)
    below = history.below(
        sorted(tops),
        drawn=[each.number for each in kin],
        until_ns=until_ns,
        most=_MOST_COUNTED,
    )
    if len(below) <= _MOST_BELOW:
        return asked._replace(drawn=array("q", sorted({*asked.matches, *below})))
    users = history.users_of([*below])
    by_top: dict[int, Counter[str]] = {}
    for number, top in below.items():
        by_top.setdefault(top, Counter())[user_text(*users.get(number, (None, None)))] += 1
    are_all = len(below) < _MOST_COUNTED
    notes = tuple(Note(top, _note(by_top[top], are_all=are_all)) for top in sorted(by_top))
    return asked._replace(kin=kin, notes=notes)


def _note(users: Counter[str], *, are_all: bool) -> str:
    """Returns what is said of what is not drawn: `12 more below, as root`."""
    names = [name for name, _ in users.most_common(_MOST_USERS)]
    others = "" if len(users) <= _MOST_USERS else " and others"
    return f"({users.total()}{'' if are_all else ' or more'} more below, as {', '.join(names)}{others})"


def _with_descendants(
    history: History, matches: array[int], wanted: Filter, asked: Bounded | None = None
) -> _Asked:
    drawn = history.descendants(matches, newest=wanted.limit)
    ends = history.fetch([*matches[:1], *drawn[-1:]])
    span = Filter(since_ns=wanted.since_ns, until_ns=wanted.until_ns, hosts=wanted.hosts)
    if ends:
        times = [found.event.time_ns for found in ends]
        hosts = tuple(dict.fromkeys(globs.literal(found.event.host) for found in ends))
        span = Filter(since_ns=min(times), until_ns=Nanoseconds(max(times) + 1), hosts=hosts)
    return _Asked(matches, drawn, warn(history, span), asked)


def _numbers(history: History, wanted: Filter) -> array[int]:
    numbers = array("q", (found.number for found in history.find(wanted)))
    # Of several hosts they come in the order of time.
    if all(before < after for before, after in itertools.pairwise(numbers)):
        return numbers
    return array("q", sorted(numbers))


def _has(numbers: array[int], number: int) -> bool:
    place = bisect_left(numbers, number)
    return place < len(numbers) and numbers[place] == number


def _read(history: History, places: Iterator[TreeRow]) -> Iterator[tuple[TreeRow, ExecEvent]]:
    """Yields the execs that stand in the drawing, in its order; not those that vanish meanwhile."""
    while page := list(itertools.islice(places, _PAGE)):
        events = {found.number: found.event for found in history.fetch([p.number for p in page])}
        yield from ((place, events[place.number]) for place in page if place.number in events)


def _jsonl(history: History, asked: _Asked, forest: tree_layout.Forest) -> Iterator[str]:
    for place, event in _read(history, forest.walk()):
        matched = asked.role(place.number) is Role.MATCH
        yield f'{json_line(event)[:-1]},"depth":{place.depth},"matched":{json_text(matched)}}}\n'
    for record in asked.missing:
        yield json_text(record) + "\n"


def _text(history: History, asked: _Asked, forest: tree_layout.Forest, look: Look) -> Iterator[str]:
    style = summary_line.Style(
        glyphs=tree_layout.glyphs_for(sys.stdout.encoding),
        width=terminal.width(),
        colour=look.has_colour,
        times=TimeColumn(None, now_ns=clock.wall_ns()),
        day=_day(history, asked),
        marked=len(forest) > len(asked.matches),
    )
    yield summary_line.tree_header(style) + "\n"
    if asked.notes:
        yield from _with_notes(history, asked, forest, style)
        return
    for place, event in _read(history, forest.walk(style.glyphs, most=style.most_columns)):
        yield summary_line.tree_line(event, place.lead, asked.role(place.number), style) + "\n"


def _with_notes(
    history: History, asked: _Asked, forest: tree_layout.Forest, style: summary_line.Style
) -> Iterator[str]:
    """Yields the lines of a drawing, of which some say what is not drawn."""
    first = asked.drawn[-1] + 1
    places = forest.walk(style.glyphs, most=style.most_columns)
    while page := list(itertools.islice(places, _PAGE)):
        numbers = [place.number for place in page if place.number < first]
        events = {found.number: found.event for found in history.fetch(numbers)}
        for place in page:
            event = events.get(place.number)
            if place.number >= first:
                yield summary_line.note_line(asked.notes[place.number - first].text, place.lead, style) + "\n"
            elif event is not None:
                yield summary_line.tree_line(event, place.lead, asked.role(place.number), style) + "\n"


def _day(history: History, asked: _Asked) -> str | None:
    """Returns the day of what was asked for, if it is one day; what led to it may be older."""
    ends = history.fetch([*asked.drawn[:1], *asked.drawn[-1:]])
    days = {summary_line.day_of(found.event.time_ns, None) for found in ends}
    return days.pop() if len(days) == 1 else None
