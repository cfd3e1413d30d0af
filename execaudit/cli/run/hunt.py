"""What `execaudit hunt` writes, and what it says beside that on stderr."""

from __future__ import annotations

import dataclasses
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from execaudit.cli import terminal
from execaudit.cli.run.build_filter import build_filter
from execaudit.cli.run.follow import rounds, write_missing
from execaudit.cli.run.missing import Missing, bounded, say, warn_of_pruning
from execaudit.cli.run.progress import Progress, answering
from execaudit.enums import Kind
from execaudit.errors import ExecauditError
from execaudit.escaping import printable
from execaudit.output.timecolumn import TimeColumn
from execaudit.query import find, timelimit
from execaudit.query.expression import And, Not, OneOf
from execaudit.query.running import OF_ENDS, Running, is_about_ends
from execaudit.system import clock

try:
    from execaudit.hunt import hits
    from execaudit.hunt.correlator import Correlator
    from execaudit.hunt.paged import hunt_of
    from execaudit.hunt.rule_files import read_rules
    from execaudit.hunt.search import Correlations, Hunt
    from execaudit.hunt.sieve import Sieve
except ImportError as exc:
    raise ExecauditError(
        f"hunting needs Python 3.11 and packages that are not installed ({exc.name})",
        fix="`pip install 'execaudit[hunt]'`, or in a checkout `sudo make install EXTRAS=hunt`",
    ) from exc

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from execaudit.cli.run.missing import Missed
    from execaudit.hunt.rule_files import Rules
    from execaudit.hunt.search import Hit
    from execaudit.query.filter import Filter
    from execaudit.query.history import History
    from execaudit.query.local_history import LocalHistory

STARTED = Not(OneOf("kind", (Kind.FAILED,)))


class Read(NamedTuple):
    """The rules that were read."""

    sieve: Sieve
    correlations: Correlations | None
    refused: int
    """How many could not be compiled."""


def read(paths: Sequence[str], *, level: str | None) -> Read:
    """Reads rules, and says on stderr which of them cannot be hunted. Raises ExecauditError."""
    found = read_rules(paths)
    for file, why in found.refusals:
        click.echo(f"{printable(file)}: not hunted: {printable(why)}", err=True)
    if found.others:
        rules = "1 rule is" if found.others == 1 else f"{found.others} rules are"
        click.echo(f"{rules} not about execs on Linux: left out", err=True)
    if not found.rules and not found.refusals:
        names = ", ".join(printable(path) for path in paths)
        raise ExecauditError(
            f"there are no rules about execs on Linux in {names}", fix="name other files or folders"
        )
    sieve, correlations = arranged(found, level)
    if found.rules and not sieve.rules:
        click.echo(f"no rule is of level {level} or above: there is nothing to hunt", err=True)
    return Read(sieve, correlations, len(found.refusals))


def arranged(found: Rules, level: str | None) -> tuple[Sieve, Correlations | None]:
    """Returns what runs the rules of a level, and those that are counted by others; and what counts."""
    correlators = [Correlator(each) for each in found.correlations if each.reaches(level)]
    counts: dict[int, list[Correlator]] = {}
    shown: set[int] = set()
    for rule in found.rules:
        names = {rule.name, rule.id} - {None}
        counts[id(rule)] = [each for each in correlators if names.intersection(each.rule.rules)]
        uses = [each for each in found.correlations if names.intersection(each.rules)]
        if rule.reaches(level) and (not uses or any(each.are_shown for each in uses)):
            shown.add(id(rule))
    sieve = Sieve([rule for rule in found.rules if id(rule) in shown or counts[id(rule)]])
    return sieve, Correlations(counts, shown) if correlators else None


def check(read: Read) -> None:
    """Raises ExecauditError if a rule could not be hunted."""
    number = read.refused + len(read.sieve.aside)
    if number:
        raise ExecauditError(
            f"{number} {'rule' if number == 1 else 'rules'} could not be hunted: see above",
            fix="correct or remove them, or leave out --strict",
        )


def answer(history: History, values: dict[str, Any], read: Read, *, is_table: bool) -> None:
    """Writes the hits to standard output, and says on stderr what is missing of them.

    JSON lines have records of what is missing at their end. Raises FilterError; ExecauditError for an exec
    that is not in the history.
    """
    wanted = _of_started(build_filter(values, history))
    missing = Missing(history, wanted)
    asked = bounded(history, wanted)
    first = missing.news()
    say(first)
    warn_of_pruning(history, wanted)
    aside = _Aside(read.sieve)
    answering(history)  # it has a line of its own
    with Progress(lines=False) as progress:
        hunt = hunt_of(history, read.sieve, asked.wanted, read.correlations)
        found = hunt.hits(advance=lambda _: progress.say(f"{hunt.looked_at} execs looked at"))
        for text in _texts(found, is_table=is_table):
            progress.clear()
            sys.stdout.write(text)
    aside.say()
    if not is_table:
        write_missing(missing.records(first))
    asked.say()


def follow(history: LocalHistory, values: dict[str, Any], read: Read, *, is_table: bool) -> None:
    """Writes hits as they come, and says what is missing when it becomes known.

    JSON lines have records of that. Raises as answer().
    """
    wanted = _of_started(build_filter(values, history))
    missing = Missing(history, wanted)
    first = missing.news()
    say(first)
    warn_of_pruning(history, wanted)
    aside = _Aside(read.sieve)
    answering(history)  # nothing is waited for
    hunt = Hunt(history.connection, read.sieve, wanted, read.correlations)
    found = _follow(history, hunt, missing, aside, None if is_table else first)
    for text in _texts(found, is_table=is_table):
        sys.stdout.write(text)
        sys.stdout.flush()
    aside.say()


def _of_started(wanted: Filter) -> Filter:
    """Returns the filter for what is hunted: of failed execs nothing, unless they are asked for."""
    if wanted.failed:
        return wanted
    where = STARTED if wanted.where is None else And((wanted.where, STARTED))
    return dataclasses.replace(wanted, where=where)


def _texts(found: Iterator[Hit], *, is_table: bool) -> Iterator[str]:
    if is_table:
        return hits.table(found, TimeColumn(None, now_ns=clock.wall_ns()), width=terminal.width())
    return hits.jsonl(found)


def _follow(
    history: LocalHistory,
    hunt: Hunt,
    missing: Missing,
    aside: _Aside,
    in_json: Sequence[Missed] | None,
) -> Iterator[Hit]:
    """Yields the hits since the time that was asked for, or since now, then what comes.

    Says what is missing when it becomes known. `in_json` is what is missing of what is there, if records are
    to be written of what is missing.
    """
    wanted, connection = hunt.wanted, history.connection
    again = _Again(connection, hunt)
    last = 0 if wanted.since_ns is not None else find.last_number(connection)
    for _ in rounds(history, wanted, missing, in_json):
        end = find.last_number(connection)
        if end > last:
            # What arrives meanwhile is looked at in the next round.
            yield from again.first(last, end)
            last = end
        yield from again.ended()
        aside.say()


class _Again:
    """Runs rules on execs, and again when they end, if rules or filters speak of that: each hit comes once.

    Not with correlations, which would count an exec twice.
    """

    def __init__(self, connection: sqlite3.Connection, hunt: Hunt) -> None:
        self._hunt = hunt
        is_needed = is_about_ends(hunt.wanted.expression()) or hunt.is_about(OF_ENDS)
        self._running = Running(connection, is_needed=is_needed and not hunt.has_correlations)
        self._known: dict[int, set[int]] = defaultdict(set)
        """Which rules, by id(), hit an exec that runs."""

    def first(self, after: int, until: int) -> Iterator[Hit]:
        """Yields the hits among new execs."""
        self._running.note(after + 1, until)
        for hit in self._hunt.hits(after=after, until=until):
            if self._running.knows(hit.number):
                self._known[hit.number].add(id(hit.rule))
            yield hit

    def ended(self) -> Iterator[Hit]:
        """Yields what more hits execs that have ended since."""
        for low, high, _ in self._running.ended():
            for hit in self._hunt.hits(after=low - 1, until=high):
                if id(hit.rule) not in self._known[hit.number]:
                    yield hit
            for number in range(low, high + 1):
                self._known.pop(number, None)


class _Aside:
    """Says which rules were put aside, once."""

    def __init__(self, sieve: Sieve) -> None:
        self._sieve = sieve
        self._said = 0

    def say(self) -> None:
        """Says it on stderr."""
        for index in self._sieve.aside[self._said :]:
            self._said += 1
            click.echo(
                f"{printable(self._sieve.rules[index].file)}: put aside: its regular expression took more than"
                f" {timelimit.SECONDS:g} s on one text",
                err=True,
            )
