"""What `execaudit db info` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from execaudit.cli.run.missing import say
from execaudit.daemon.settings import upkeep
from execaudit.database import files
from execaudit.database.revision import schema_revision
from execaudit.escaping import printable
from execaudit.output.json_lines import json_text
from execaudit.output.summary_line import local_text
from execaudit.query import find, recorders, summary
from execaudit.query.filter import Filter
from execaudit.store import limits
from execaudit.system import clock
from execaudit.times import utc_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from execaudit.cli.context import State
    from execaudit.cli.run.missing import Missed


def write(state: State, *, as_json: bool) -> None:
    """Writes what the database holds to standard output; says on stderr if nobody records into it."""
    facts, missed = _facts(state, utc_text if as_json else local_text)
    say(missed)
    if as_json:
        click.echo(json_text(facts))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        click.echo(f"{name.replace('_', ' '):<{width}}  {'-' if value is None else printable(str(value))}")


def _facts(state: State, time_text: Callable[[int], str]) -> tuple[dict[str, object], list[Missed]]:
    """Returns what the database holds, and since when nobody records if nobody does."""

    def text(time_ns: int | None) -> str | None:
        return None if time_ns is None else time_text(time_ns)

    path = state.database()
    kept = limits.effective(path, upkeep(state.settings()).limits)
    with state.local() as history:
        connection = history.connection
        found, gone = summary.summary(connection), summary.pruned(connection)
        silent = recorders.silences(connection, (), find.gaps(connection, Filter()), now_ns=clock.wall_ns())
        facts: dict[str, object] = {
            "path": str(path),
            "schema": schema_revision(connection),
            "bytes": files.size_of(path),
            "execs": found.execs,
            "first": text(found.first_ns),
            "last": text(found.last_ns),
            "exits": found.exits,
            "stray_exits": found.stray_exits,
            "gaps": found.gaps,
            "missed": found.missed,
            "missed_exits": found.missed_exits,
            "recorder_runs": found.runs,
            "imports": found.imports,
            "max_size": kept.max_bytes,
            "max_age": None if kept.max_age_ns is None else limits.time_text(kept.max_age_ns),
            "min_age": limits.time_text(kept.min_age_ns),
            "pruned": 0 if gone is None else gone.execs,
            "pruned_until": text(None if gone is None else gone.until_ns),
        }
    return facts, [silence for silence in silent if silence.to_ns is None]
