"""What the commands that read execs write of them, and what they say beside it.

Apart from the commands: these are imported to complete an option, or for --help, and need none of this then.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from typing import TYPE_CHECKING

import click

from execaudit import clock, query, render
from execaudit.formats import Format

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from execaudit.event import ExecEvent
    from execaudit.query import Filter

_FOLLOW_SECONDS = 0.2
# An exec is in the history within a second of happening: --follow waits so long after --until.
_LATE_NS = 1_000_000_000
# As `tail -f` and `journalctl -f` begin.
_FOLLOW_BEGINS_WITH = 10


def answer(connection: sqlite3.Connection, wanted: Filter, fmt: Format, *, follow: bool, raw: bool) -> None:
    """Writes what is wanted to standard output, and says where execs are missing."""
    gaps = warn_of_gaps(connection, wanted)
    if follow:
        events = _follow(connection, wanted, gaps)
    else:
        events = (found.event for found in query.find(connection, wanted))
    for piece in write(fmt, events, raw=raw):
        sys.stdout.write(piece)
        if follow:
            sys.stdout.flush()


def write(fmt: Format, events: Iterator[ExecEvent], *, raw: bool) -> Iterator[str]:
    """Yields the text of the events in a format."""
    if fmt is Format.TABLE:
        return render.table(events, zone=None)
    if fmt is Format.CSV:
        return render.csv_text(events, raw=raw)
    return render.jsonl(events)


def warn_of_gaps(connection: sqlite3.Connection, wanted: Filter, *, known: int = 0) -> int:
    """Says on stderr where execs or ends are missing, after the first `known` gaps. Returns their number."""
    found = query.gaps(connection, wanted)
    for gap in found[known:]:
        click.echo(render.gap_line(gap, None), err=True)
    if not known:
        _warn_of_pruning(connection, wanted)
    return len(found)


def _warn_of_pruning(connection: sqlite3.Connection, wanted: Filter) -> None:
    """Says on stderr that the range reaches back to what was deleted; not where the newest are asked for."""
    gone = query.pruned(connection)
    if gone is None or (wanted.since_ns is None and wanted.limit is not None):
        return
    if wanted.since_ns is None or wanted.since_ns < gone.until_ns:
        click.echo(render.pruned_line(*gone, None), err=True)


def _follow(connection: sqlite3.Connection, wanted: Filter, gaps: int) -> Iterator[ExecEvent]:
    """Yields what is there, then what comes; warns of gaps after the first so many."""
    last = query.last_number(connection)
    begin = wanted
    if wanted.limit is None and wanted.since_ns is None:
        begin = dataclasses.replace(wanted, limit=_FOLLOW_BEGINS_WITH)
    for found in query.find(connection, begin):
        last = max(last, found.number)
        yield found.event
    wanted = dataclasses.replace(wanted, limit=None)
    over = False
    while not over:
        over = wanted.until_ns is not None and clock.wall_ns() >= wanted.until_ns + _LATE_NS
        for found in query.find(connection, wanted, after=last):
            last = found.number
            yield found.event
        gaps = warn_of_gaps(connection, wanted, known=gaps)
        time.sleep(0 if over else _FOLLOW_SECONDS)
