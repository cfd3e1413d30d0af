"""One exec with every field, and its relatives: what `execaudit show` writes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from execaudit.cli import terminal
from execaudit.cli.run import pager
from execaudit.cli.run.missing import warn
from execaudit.cli.run.references import number_of
from execaudit.enums import Kind
from execaudit.errors import ExecauditError
from execaudit.escaping import printable
from execaudit.event import Nanoseconds
from execaudit.exec_id import boot_is_made
from execaudit.output import summary_line, tree_layout
from execaudit.output.cells import LEVEL_WIDTH, level_text
from execaudit.output.json_lines import json_line, json_text
from execaudit.output.record import rule_record
from execaudit.output.shown_record import shown_record
from execaudit.query import globs
from execaudit.query.filter import Filter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from execaudit.cli.context import Look
    from execaudit.event import ExecEvent
    from execaudit.query.history import History
    from execaudit.query.hits import OfRule
    from execaudit.query.rows import Found

_SIBLINGS = 5
"""On each side."""
_COUNTED = 100_000
"""Children; more are too many, because counting takes its time."""
# Command lines can have megabytes: so many execs are in memory at a time.
_PAGE = 64
_INDENT = "  "


def show(history: History, named: str, look: Look, *, most: int | None, as_json: bool) -> None:
    """Writes an exec and so many of its children, None for all, to standard output.

    Raises ExecauditError if it is not in the history.
    """
    number = number_of(history, named)
    found = _Relatives(history, number, most=most)
    _warn(history, found.event)
    if as_json:
        sys.stdout.writelines(_json(found))
    else:
        pager.show(_text(found), look)


class _Relatives:
    """An exec and the row numbers of its relatives."""

    def __init__(self, history: History, number: int, *, most: int | None) -> None:
        """Takes the exec's row number, and how many children are wanted, None for all."""
        self._history = history
        found = history.fetch([number])
        if not found:
            raise ExecauditError("the exec was pruned just now", fix="take a newer one from `query`")
        self.event = found[0].event
        self.hits = history.hits_of([number]).get(number, [])
        """What detection rules hit while it was recorded."""
        self.lineage = [kin for kin in history.lineage([number]) if kin.number != number]
        """The first is the root."""
        self.children = history.children(number, most=most)
        self.more_children: int | None = 0
        """How many more there are; None: too many to count."""
        if len(self.children) == most:
            count = history.count_children(number, most=_COUNTED)
            self.more_children = None if count == _COUNTED else count - most
        self.siblings = history.siblings(number, most=_SIBLINGS)

    def read(self, numbers: Sequence[int]) -> Iterator[Found]:
        """Yields the execs of these numbers, a few in memory at a time."""
        for start in range(0, len(numbers), _PAGE):
            yield from self._history.fetch(numbers[start : start + _PAGE])

    def eldest(self) -> ExecEvent:
        """Returns the root of its ancestors, or the exec itself if it has none."""
        return next(
            (found.event for found in self.read([kin.number for kin in self.lineage[:1]])), self.event
        )

    def next_comm(self) -> bytes | None:
        """Returns the name of the program that replaced this one."""
        end = self.event.end
        if end is None or end.replaced_by is None:
            return None
        number = self._history.locate(end.replaced_by)
        found = [] if number is None else self._history.fetch([number])
        return found[0].event.launch.comm if found else None


def _warn(history: History, event: ExecEvent) -> None:
    """Says on stderr where execs are missing while it ran: they may be its children."""
    if event.kind is Kind.FAILED:
        return
    duration = None if event.end is None else event.end.duration_ns
    until = None if duration is None else Nanoseconds(event.time_ns + duration)
    warn(history, Filter(since_ns=event.time_ns, until_ns=until, hosts=(globs.literal(event.host),)))


def _json(found: _Relatives) -> Iterator[str]:
    yield f'{{"exec":{json_line(found.event)}'
    ancestors = [kin.number for kin in reversed(found.lineage)]
    for name, numbers in (
        ("ancestors", ancestors),
        ("children", found.children),
        ("siblings", found.siblings),
    ):
        yield f',"{name}":['
        for place, each in enumerate(found.read(numbers)):
            yield ("," if place else "") + json_line(each.event)
        yield "]"
    hit_by = [{**rule_record(each.rule), "left_out": each.left_out} for each in found.hits]
    yield f',"more_children":{json_text(found.more_children)},"hits":{json_text(hit_by)}}}\n'


def _text(found: _Relatives) -> Iterator[str]:
    event = found.event
    yield from _fields(event, summary_line.outcome(event, next_comm=found.next_comm()))
    yield from _hits(found.hits)
    width = terminal.width()
    style = summary_line.Style(
        glyphs=tree_layout.glyphs_for(sys.stdout.encoding),
        width=None if width is None else width - len(_INDENT),
        day=summary_line.day_of(event.time_ns, None),
    )
    places = list(tree_layout.Forest(found.lineage).walk(style.glyphs, most=style.most_columns))
    leads = {place.number: place.lead for place in places}
    inferred = " (imported: may be inferred from pids and times)" if boot_is_made(event.boot_id) else ""
    yield from _section(
        f"ancestors{inferred}", leads, found, style, leads=leads, note=_unknown_origin(found.eldest())
    )
    yield from _section("children", found.children, found, style, note=_more(found))
    yield from _section("siblings near in time", found.siblings, found, style)


def _fields(event: ExecEvent, outcome: str) -> Iterator[str]:
    """Yields a line for each field, and for what people want to know beside them."""
    shown = shown_record(event, outcome)
    width = max(map(len, shown))
    for name, value in shown.items():
        yield f"{name:<{width}}  {'-' if value is None else printable(value)}\n"


def _hits(found: Sequence[OfRule]) -> Iterator[str]:
    """Yields a title and a line for each rule that hit the exec; nothing if none did."""
    if found:
        yield "\nhit by\n"
    for rule, _, left_out in found:
        before = f"; {left_out} hits before this one were not stored" if left_out else ""
        where = f"({printable(rule.file)}{before})"
        yield f"{_INDENT}{level_text(rule.level):<{LEVEL_WIDTH}} {printable(rule.title)} {where}\n"


def _section(  # noqa: PLR0913  # each is needed
    title: str,
    numbers: Iterable[int],
    found: _Relatives,
    style: summary_line.Style,
    *,
    leads: dict[int, str] | None = None,
    note: str | None = None,
) -> Iterator[str]:
    """Yields a title and a line for each exec; a note that applies comes after them."""
    wanted = [*numbers]
    yield f"\n{title}{'' if wanted or note else ': none'}\n"
    for each in found.read(wanted):
        lead = leads[each.number] if leads else ""
        yield f"{_INDENT}{summary_line.kin_line(each.event, lead, style)}\n"
    if note:
        yield f"{_INDENT}({note})\n"


def _more(found: _Relatives) -> str | None:
    count = found.more_children
    if count == 0:
        return None
    many = f"more than {_COUNTED - len(found.children)}" if count is None else str(count)
    return f"{many} more: --all shows them"


def _unknown_origin(eldest: ExecEvent) -> str | None:
    """Returns what to say of an exec that has no parent in the history; of the first process nothing."""
    if eldest.ppid == 0:
        return None
    comm = "" if eldest.launch.parent_comm is None else f", {printable(eldest.launch.parent_comm)}"
    by = "" if eldest.ppid is None else f", pid {eldest.ppid}{comm}"
    return f"what led to {eldest.id} is not in the history{by}"
