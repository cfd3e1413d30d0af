"""What `execaudit query` writes, and what it says beside that on stderr."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from execaudit.cli.run import pager
from execaudit.cli.run.build_filter import build_filter
from execaudit.cli.run.follow import rounds, write_missing
from execaudit.cli.run.missing import (
    Missing,
    bounded,
    say,
    warn,
    warn_of_pruning,
)
from execaudit.cli.run.progress import answered, answering
from execaudit.cli.run.view import table_view
from execaudit.output import columns, csv_lines, json_lines, pages, table
from execaudit.output.format import Format
from execaudit.output.timecolumn import TimeColumn
from execaudit.query import find, sorting
from execaudit.query.running import Running, is_about_ends
from execaudit.query.statements import Span
from execaudit.system import clock

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from execaudit.cli.context import Look
    from execaudit.cli.run.missing import Missed
    from execaudit.event import ExecEvent
    from execaudit.query.filter import Filter
    from execaudit.query.history import History
    from execaudit.query.local_history import LocalHistory
    from execaudit.query.rows import Found

# As `tail -f` and `journalctl -f` begin.
_FOLLOW_BEGINS_WITH = 10
# The columns of a table are as wide as the first so many execs need.
_BATCH = 100


class Shape(NamedTuple):
    """How an answer is written."""

    fmt: Format
    columns: tuple[str, ...] | None
    """Only these fields of the record; None: all, or the table that people read."""
    sort: str | None
    """The field that gives the order; None: the order of recording."""
    raw: bool


def answer(history: History, values: dict[str, Any], shape: Shape, look: Look) -> None:
    """Writes what the options ask for to standard output, and says on stderr what is missing of it.

    JSON lines have records of what is missing at their end. Raises FilterError; ExecauditError for an exec
    that is not in the history.
    """
    wanted = build_filter(values, history)
    missing = Missing(history, wanted)
    asked = bounded(history, wanted)
    first = missing.news()
    say(first)
    warn_of_pruning(history, wanted)
    if shape.fmt is Format.TABLE:
        _show_table(history, asked.wanted, shape, look)
    elif shape.columns or shape.sort:
        found = answered(history, _events(history, asked.wanted, shape.sort))
        sys.stdout.writelines(_write(shape, found, look))
    else:
        sys.stdout.flush()
        encoding = sys.stdout.encoding
        texts = pages.texts(history, asked.wanted, shape.fmt, raw=shape.raw, encoding=encoding)
        sys.stdout.buffer.writelines(answered(history, texts))
    if _has_gaps(shape):
        write_missing(missing.records(first))
    asked.say()


def follow(history: LocalHistory, values: dict[str, Any], shape: Shape, look: Look) -> None:
    """Writes what there is and what comes, and says what is missing when it becomes known.

    JSON lines have records of that. Raises as answer().
    """
    wanted = build_filter(values, history)
    missing = Missing(history, wanted)
    first = missing.news()
    say(first)
    warn_of_pruning(history, wanted)
    answering(history)  # the first exec may come at any time
    events = _follow(history, wanted, missing, first if _has_gaps(shape) else None)
    span = history.times(wanted)
    for piece in _write(shape, events, look, newest_ns=span and span[1]):
        sys.stdout.write(piece)
        sys.stdout.flush()


def _has_gaps(shape: Shape) -> bool:
    # Of chosen fields a record is no record of a gap.
    return shape.fmt is Format.JSONL and shape.columns is None


def _show_table(history: History, wanted: Filter, shape: Shape, look: Look) -> None:
    """Writes the table, and says on stderr how many execs it has."""
    found = 0

    def counted(batches: Iterable[list[ExecEvent]]) -> Iterator[ExecEvent]:
        nonlocal found
        for batch in batches:
            found += len(batch)
            yield from batch

    batches = _batches(history, wanted, shape.sort)
    begin = next(batches, [])
    answering(history)
    events = counted(itertools.chain([begin], batches))
    if shape.columns is not None:
        pieces = _write(shape, events, look)
    else:
        first, last = _span(history, wanted, shape, begin)
        made = table.Table(_times(), table_view(look), hosts=history.hosts(wanted.hosts))
        made.fit(begin, first, last)
        pieces = table.table(events, made)
    if pager.show(pieces, look):
        click.echo(f"{found} {'exec' if found == 1 else 'execs'}", err=True)


def _batches(history: History, wanted: Filter, sort: str | None) -> Iterator[list[ExecEvent]]:
    """Yields some execs at a time: no more than are found without a wait."""
    found = [_events(history, wanted, sort)] if sort else map(_events_of, history.pages(wanted))
    for events in found:
        while batch := list(itertools.islice(events, _BATCH)):
            yield batch


def _events_of(page: find.Page) -> Iterator[ExecEvent]:
    return (found.event for found in find.found_of(page))


def _span(history: History, wanted: Filter, shape: Shape, begin: Sequence[ExecEvent]) -> tuple[int, int]:
    """Returns the times between which all execs of an answer probably are, of which these are the first."""
    first, last = history.times(wanted) or (clock.wall_ns(),) * 2
    if begin and not shape.sort:
        if wanted.reverse:
            last = min(last, begin[0].time_ns)
        else:
            first = max(first, begin[0].time_ns)
    return first, max(first, last)


def count(history: History, values: dict[str, Any]) -> None:
    """Writes how many execs the options ask for, and says on stderr what is missing of them."""
    wanted = build_filter(values, history)
    asked = bounded(history, wanted)
    warn(history, wanted)
    found = history.count(asked.wanted)
    answering(history)
    sys.stdout.write(f"{found}\n")
    asked.say()


def _events(history: History, wanted: Filter, sort: str | None) -> Iterator[ExecEvent]:
    if sort is not None:
        return sorting.sorted_events(history, wanted, sort)
    return (found.event for found in history.find(wanted))


def _write(
    shape: Shape, events: Iterator[ExecEvent], look: Look, *, newest_ns: int | None = None
) -> Iterator[str]:
    """Yields the text of the events; those that will come are of the day of the newest, most probably."""
    if shape.columns is not None:
        view = table_view(look)
        return columns.columns_text(
            events,
            shape.columns,
            shape.fmt,
            raw=shape.raw,
            times=_times(),
            width=view.width if view.is_cut else None,
        )
    if shape.fmt is Format.TABLE:
        made = table.Table(_times(), table_view(look))
        day_ns = clock.wall_ns() if newest_ns is None else newest_ns
        made.fit([], day_ns, day_ns)
        return table.table(events, made)
    if shape.fmt is Format.CSV:
        return csv_lines.csv_text(events, raw=shape.raw)
    return json_lines.jsonl(events)


def _times() -> TimeColumn:
    return TimeColumn(None, now_ns=clock.wall_ns())


def _follow(
    history: LocalHistory, wanted: Filter, missing: Missing, in_json: Sequence[Missed] | None
) -> Iterator[ExecEvent]:
    """Yields what is there, then what comes; says what is missing when it becomes known.

    `in_json` is what is missing of what is there, if records are to be written of what is missing.
    """
    connection = history.connection
    last = find.last_number(connection)
    running = Running(connection, is_needed=is_about_ends(wanted.expression()))
    running.note(1, last)
    begin = wanted
    if wanted.limit is None and wanted.since_ns is None:
        begin = dataclasses.replace(wanted, limit=_FOLLOW_BEGINS_WITH)
    for found in find.find(connection, begin):
        last = max(last, found.number)
        running.forget(found.number)
        yield found.event
    wanted = dataclasses.replace(wanted, limit=None)
    for _ in rounds(history, wanted, missing, in_json):
        high = find.last_number(connection)
        running.note(last + 1, high)
        spans = [*running.ended(), Span(last + 1, high)] if high > last else running.ended()
        last = high
        for found in _read(connection, wanted, spans):
            running.forget(found.number)
            yield found.event


def _read(connection: sqlite3.Connection, wanted: Filter, spans: Sequence[Span]) -> Iterator[Found]:
    """Yields what is wanted of some small parts of the history."""
    if spans:
        reader = find.PartReader(connection, wanted)
        for span in spans:
            for page in reader.pages(span):
                yield from find.found_of(page)
