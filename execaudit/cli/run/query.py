"""What `execaudit query` writes, and what it says beside that on stderr."""

from __future__ import annotations

import dataclasses
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit.cli.run.build_filter import build_filter
from execaudit.cli.run.missing import (
    Bounded,
    Missing,
    bounded,
    say,
    say_complete,
    warn,
    warn_of_pruning,
)
from execaudit.cli.run.progress import answered, answering
from execaudit.output import columns, csv_lines, json_lines, pages, table
from execaudit.output.format import Format
from execaudit.output.timecolumn import TimeColumn
from execaudit.query import find, recorders, sorting
from execaudit.system import clock

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from execaudit.cli.run.missing import Missed
    from execaudit.event import ExecEvent
    from execaudit.query.filter import Filter

_FOLLOW_SECONDS = 0.2
# An exec is in the history within a second of happening: --follow waits so long after --until.
_LATE_NS = 1_000_000_000
# As `tail -f` and `journalctl -f` begin.
_FOLLOW_BEGINS_WITH = 10


class Shape(NamedTuple):
    """How an answer is written."""

    fmt: Format
    columns: tuple[str, ...] | None
    """Only these fields of the record; None: all, or the table that people read."""
    sort: str | None
    """The field that gives the order; None: the order of recording."""
    raw: bool


def answer(connection: sqlite3.Connection, values: dict[str, Any], shape: Shape, *, follow: bool) -> None:
    """Writes what the options ask for to standard output, and says on stderr what is missing of it.

    JSON lines have records of what is missing at their end; with `follow`, when it becomes known.
    Raises FilterError; ExecauditError for an exec that is not in the history.
    """
    wanted = build_filter(values, connection)
    missing = Missing(connection, wanted)
    asked = Bounded(wanted, None) if follow else bounded(connection, wanted)
    first = missing.news()
    say(first)
    warn_of_pruning(connection, wanted)
    # Of chosen fields a record is no record of a gap.
    in_json = shape.fmt is Format.JSONL and shape.columns is None
    if follow:
        answering(connection)  # the first exec may come at any time
        events = _follow(connection, wanted, missing, first if in_json else None)
        for piece in _write(shape, events):
            sys.stdout.write(piece)
            sys.stdout.flush()
    elif shape.fmt is Format.TABLE or shape.columns or shape.sort:
        sys.stdout.writelines(
            _write(shape, answered(connection, _events(connection, asked.wanted, shape.sort)))
        )
    else:
        sys.stdout.flush()
        encoding = sys.stdout.encoding
        texts = pages.texts(connection, asked.wanted, shape.fmt, raw=shape.raw, encoding=encoding)
        sys.stdout.buffer.writelines(answered(connection, texts))
    if in_json and not follow:
        write_missing(missing.records(first))
    asked.say()


def count(connection: sqlite3.Connection, values: dict[str, Any]) -> None:
    """Writes how many execs the options ask for, and says on stderr what is missing of them."""
    wanted = build_filter(values, connection)
    asked = bounded(connection, wanted)
    warn(connection, wanted)
    found = find.count(connection, asked.wanted)
    answering(connection)
    sys.stdout.write(f"{found}\n")
    asked.say()


def _events(connection: sqlite3.Connection, wanted: Filter, sort: str | None) -> Iterator[ExecEvent]:
    if sort is not None:
        return sorting.sorted_events(connection, wanted, sort)
    return (found.event for found in find.find(connection, wanted))


def write_missing(records: Iterable[dict[str, object]]) -> None:
    """Writes records of what is missing to standard output, each in a line."""
    for record in records:
        sys.stdout.write(json_lines.json_text(record) + "\n")


def _write(shape: Shape, events: Iterator[ExecEvent]) -> Iterator[str]:
    """Yields the text of the events."""
    times = TimeColumn(None, now_ns=clock.wall_ns())
    if shape.columns is not None:
        return columns.columns_text(events, shape.columns, shape.fmt, raw=shape.raw, times=times)
    if shape.fmt is Format.TABLE:
        return table.table(events, times)
    if shape.fmt is Format.CSV:
        return csv_lines.csv_text(events, raw=shape.raw)
    return json_lines.jsonl(events)


def _follow(
    connection: sqlite3.Connection, wanted: Filter, missing: Missing, in_json: Sequence[Missed] | None
) -> Iterator[ExecEvent]:
    """Yields what is there, then what comes; says what is missing when it becomes known.

    `in_json` is what is missing of what is there, if records are to be written of what is missing.
    """
    last = find.last_number(connection)
    begin = wanted
    if wanted.limit is None and wanted.since_ns is None:
        begin = dataclasses.replace(wanted, limit=_FOLLOW_BEGINS_WITH)
    for found in find.find(connection, begin):
        last = max(last, found.number)
        yield found.event
    if in_json is not None:
        write_missing(missing.records(in_json))
        sys.stdout.flush()
    wanted = dataclasses.replace(wanted, limit=None)
    over = False
    while not over:
        over = is_over(connection, wanted)
        for found in find.find(connection, wanted, after=last):
            last = found.number
            yield found.event
        news = missing.news()
        say(news)
        if in_json is not None and news:
            write_missing(missing.records(news))
            sys.stdout.flush()
        time.sleep(0 if over else _FOLLOW_SECONDS)


def is_over(connection: sqlite3.Connection, wanted: Filter) -> bool:
    """Says whether nothing more can come that is wanted; on stderr, if it waits for that no longer."""
    now_ns = clock.wall_ns()
    if wanted.until_ns is None or now_ns < wanted.until_ns:
        return False
    complete_ns = recorders.complete_until(connection, wanted.hosts)
    if complete_ns is None or complete_ns >= wanted.until_ns:
        return True
    if now_ns < wanted.until_ns + _LATE_NS:
        return False
    say_complete(complete_ns)
    return True
