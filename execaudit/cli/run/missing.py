"""Say what an answer lacks: gaps, times without a recorder, and until when it is complete."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, NamedTuple

import click

from execaudit.enums import GapReason
from execaudit.escaping import printable
from execaudit.event import Gap, Nanoseconds
from execaudit.output import notices
from execaudit.output.record import gap_record
from execaudit.query import recorders
from execaudit.query.filter import Filter
from execaudit.query.recorders import Silence
from execaudit.store.limits import time_text
from execaudit.system import clock
from execaudit.times import zone_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from execaudit.query.history import History
    from execaudit.query.recorders import Complete

Missed = Gap | Silence

_SECOND = 1_000_000_000
# More lines would hide the answer.
_MOST_LINES = 10
# An exec is stored within a second.
_LATE_SECONDS, _LOOK_SECONDS = 1.0, 0.05
_LAST_NS = 2**63 - 1
# Of a fleet: an answer waits for no host that was not heard of for longer. An export, which the next one goes
# on from, waits as long as `fleet status` does before it calls a host silent.
_ANSWER_PATIENCE_NS, _EXPORT_PATIENCE_NS = 120 * _SECOND, 900 * _SECOND
# More names would hide the rest.
_MOST_NAMED = 5


class Missing:
    """Finds what is missing in the range of a filter, now and again as the history changes."""

    def __init__(self, history: History, wanted: Filter) -> None:
        self._history, self._wanted = history, wanted
        self._known: set[Missed] = set()

    def news(self) -> list[Missed]:
        """Returns what is missing and was not found by the last call, the earliest first.

        Raises DamagedStoreError for a gap that makes no sense.
        """
        wanted = self._wanted
        gaps = self._history.gaps(wanted)
        found: list[Missed] = [*gaps]
        found += (
            silence
            for silence in self._history.silences(wanted.hosts, gaps, now_ns=clock.wall_ns())
            if recorders.overlaps(silence, wanted.since_ns, wanted.until_ns)
        )
        new = [missed for missed in found if missed not in self._known]
        self._known = set(found)
        return sorted(new, key=lambda missed: missed.from_ns or 0)

    def records(self, missed: Iterable[Missed]) -> Iterator[dict[str, object]]:
        """Yields the record of each."""
        return (missing_record(each, self._wanted.since_ns) for each in missed)


def warn(history: History, wanted: Filter) -> list[dict[str, object]]:
    """Says on stderr what is missing in the range of a filter. Returns records of it."""
    missing = Missing(history, wanted)
    missed = missing.news()
    say(missed)
    warn_of_pruning(history, wanted)
    return [*missing.records(missed)]


def say(missed: Sequence[Missed]) -> None:
    """Says on stderr what is missing: the latest few lines, and how many more there are."""
    older = len(missed) - _MOST_LINES
    for each in missed[-_MOST_LINES:]:
        click.echo(notices.missing_line(each, None), err=True)
    if older > 0:
        more = f"{older} more {'gap' if older == 1 else 'gaps'}"
        click.echo(f"gap: and {more} before these: `execaudit stats` lists all", err=True)


def missing_record(missed: Missed, since_ns: int | None) -> dict[str, object]:
    """Returns the record of a gap, or of a silence as if it were one.

    Its end is null while it goes on. What was before the first recorder begins where the question does.
    """
    if isinstance(missed, Gap):
        return gap_record(missed)
    start = since_ns if missed.from_ns is None else missed.from_ns
    end = missed.to_ns
    record = gap_record(
        Gap(
            missed.host or "",
            Nanoseconds(start or 0),
            Nanoseconds(end or 0),
            GapReason.RECORDER_STOPPED,
            None,
        )
    )
    known = {"from": start, "to": end, "host": missed.host}
    return {**record, **{name: None for name, value in known.items() if value is None}}


def warn_of_pruning(history: History, wanted: Filter) -> None:
    """Says on stderr that a part of the range was pruned; not where only the newest execs are asked for."""
    gone = history.pruned()
    if gone is None or (wanted.since_ns is None and wanted.limit is not None):
        return
    if wanted.since_ns is None or wanted.since_ns < gone.until_ns:
        click.echo(notices.pruned_line(*gone, None), err=True)


class Bounded(NamedTuple):
    """The filter that is answered, which may end before the one that was asked for."""

    wanted: Filter
    complete_ns: Nanoseconds | None
    """Until when it is complete, where the next answer can begin; None: there is nothing to say."""
    held_by: tuple[str, ...] = ()
    """The hosts for which it ends so early."""
    left_out: tuple[str, ...] = ()
    """The hosts of which it may lack what comes later."""

    def say(self) -> None:
        """Says on stderr until when the answer is complete, if there is more to come."""
        if self.left_out:
            click.echo(
                f"not waited for: {_named(self.left_out)}: not heard of for {time_text(_EXPORT_PATIENCE_NS)}:"
                " export them again when they are back, or retire them with `execaudit fleet forget`",
                err=True,
            )
        if self.held_by:
            click.echo(f"held up by {_named(self.held_by)}: nothing later has come from there", err=True)
        if self.complete_ns is not None:
            say_complete(self.complete_ns)


def _named(hosts: Sequence[str]) -> str:
    more = len(hosts) - _MOST_NAMED
    return ", ".join(map(printable, hosts[:_MOST_NAMED])) + (f" and {more} more" if more > 0 else "")


def bounded(history: History, wanted: Filter) -> Bounded:
    """Returns the filter, with an end up to which the history is complete, if it asks for an end.

    Waits a second at most until the history has what is asked for.
    """
    if wanted.until_ns is None:
        return Bounded(wanted, None)
    complete_ns = _completed(history, wanted, _ANSWER_PATIENCE_NS).until_ns
    if complete_ns is None or complete_ns >= wanted.until_ns:
        return Bounded(wanted, None)
    return _cut(wanted, complete_ns)


def bounded_export(history: History, wanted: Filter) -> Bounded:
    """Returns the filter with an end up to which the history is complete.

    So exports of which each begins where the one before says lose nothing and have nothing twice.
    """
    complete = _completed(history, wanted, _EXPORT_PATIENCE_NS)
    end_ns = _end(history, wanted) if complete.until_ns is None else complete.until_ns
    ends = [at for at in (end_ns, wanted.until_ns) if at is not None]
    asked = _cut(wanted, min(ends)) if ends else Bounded(wanted, None)
    is_held = complete.until_ns is not None and asked.complete_ns == complete.until_ns
    return asked._replace(held_by=complete.held_by if is_held else (), left_out=complete.left_out)


def _cut(wanted: Filter, end_ns: Nanoseconds) -> Bounded:
    until_ns = Nanoseconds(max(end_ns, wanted.since_ns or 0))
    return Bounded(dataclasses.replace(wanted, until_ns=until_ns), until_ns)


def _end(history: History, wanted: Filter) -> Nanoseconds | None:
    """Returns the time after all execs of the hosts; None: there are none, or there is no later time."""
    if wanted.hosts:
        ends = [host.last_ns for host in history.by_host(Filter(hosts=wanted.hosts))]
    else:
        ends = [Nanoseconds(end) for _, end in filter(None, (history.times(Filter()),))]
    return None if not ends or max(ends) >= _LAST_NS else Nanoseconds(max(ends) + 1)


def _completed(history: History, wanted: Filter, patience_ns: int) -> Complete:
    """Returns until when the history is complete, after a second at most."""
    now_ns = clock.wall_ns()
    target_ns = now_ns if wanted.until_ns is None else min(wanted.until_ns, now_ns)
    deadline = time.monotonic() + _LATE_SECONDS
    while True:
        complete = history.complete_until(wanted.hosts, now_ns=now_ns, patience_ns=patience_ns)
        until_ns = complete.until_ns
        if until_ns is None or until_ns >= target_ns or complete.held_by or time.monotonic() >= deadline:
            return complete
        time.sleep(_LOOK_SECONDS)


def say_complete(until_ns: Nanoseconds) -> None:
    """Says on stderr until when an answer is complete, and how to ask for the rest."""
    second, fraction = divmod(until_ns, _SECOND)
    click.echo(
        f"complete until {zone_text(until_ns, None)}: go on with --since @{second}.{fraction:09d}", err=True
    )
