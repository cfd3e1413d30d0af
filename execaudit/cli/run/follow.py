"""The rounds of `--follow`: it looks at what came, again and again, until nothing more can come."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from execaudit.cli.run.missing import say, say_complete
from execaudit.output.json_lines import json_text
from execaudit.query import recorders
from execaudit.system import clock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from execaudit.cli.run.missing import Missed, Missing
    from execaudit.query.filter import Filter
    from execaudit.query.local_history import LocalHistory

_SECONDS = 0.2
# An exec is in the history within a second of happening: it waits so long after --until.
_LATE_NS = 1_000_000_000


def rounds(
    history: LocalHistory, wanted: Filter, missing: Missing, in_json: Sequence[Missed] | None
) -> Iterator[None]:
    """Yields when it is time to look at what came; after that, says what is missing when it becomes known.

    `in_json` is what is missing of what is there, if records are to be written of what is missing.
    """
    if in_json is not None:
        write_missing(missing.records(in_json))
        sys.stdout.flush()
    over = False
    while not over:
        over = _is_over(history, wanted)
        yield
        news = missing.news()
        say(news)
        if in_json is not None and news:
            write_missing(missing.records(news))
            sys.stdout.flush()
        time.sleep(0 if over else _SECONDS)


def write_missing(records: Iterable[dict[str, object]]) -> None:
    """Writes records of what is missing to standard output, each in a line."""
    for record in records:
        sys.stdout.write(json_text(record) + "\n")


def _is_over(history: LocalHistory, wanted: Filter) -> bool:
    """Says whether nothing more can come that is wanted; on stderr, if it waits for that no longer."""
    now_ns = clock.wall_ns()
    if wanted.until_ns is None or now_ns < wanted.until_ns:
        return False
    complete_ns = recorders.complete_until(history.connection, wanted.hosts)
    if complete_ns is None or complete_ns >= wanted.until_ns:
        return True
    if now_ns < wanted.until_ns + _LATE_NS:
        return False
    say_complete(complete_ns)
    return True
