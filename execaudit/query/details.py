"""Count further: errors, statuses, containers, privileges; and the longest, and new programs."""

from __future__ import annotations

from collections import Counter
from heapq import nlargest
from typing import TYPE_CHECKING, NamedTuple

from execaudit.query import find
from execaudit.query.container import container_id
from execaudit.query.new_programs import new_programs
from execaudit.query.rows import to_end
from execaudit.query.statements import (
    CGROUPS,
    NEWEST_ORIGIN,
    details_statement,
    later_ends_statements,
    longest_statement,
    sightings_statement,
)
from execaudit.query.stats import counted, most

if TYPE_CHECKING:
    import sqlite3

    from execaudit.event import End, ExecEvent, Nanoseconds
    from execaudit.query.filter import Filter


class NewProgram(NamedTuple):
    """A program that the history does not have before some time."""

    exe: bytes
    first_ns: Nanoseconds
    """Wall clock of its first exec."""
    execs: int


class Details(NamedTuple):
    """The counts. The most frequent first."""

    errors: list[tuple[int, int]]
    """Error numbers of failed execs."""
    ends: list[tuple[End, int]]
    """How programs ended, but for those that exited with 0; without their durations."""
    containers: list[tuple[str, int]]
    longest: list[ExecEvent]
    """The longest first."""
    new: list[NewProgram] | None
    """The first first; None: nobody asked since when."""


def gather(
    connection: sqlite3.Connection, wanted: Filter, *, top: int, new_since_ns: int | None = None
) -> Details:
    """Counts what is wanted, and returns the `top` of each kind. Raises FilterError.

    New programs are those of the whole history, after `new_since_ns`.
    """
    find.prepare(connection, wanted)
    errors: Counter[int] = Counter()
    ends: Counter[End] = Counter()
    containers: Counter[str] = Counter()
    longest: list[tuple[int, int]] = []
    by_origin: dict[int, str] = {}
    newest = 0
    for part in find.parts(connection, wanted):
        # So that nothing is pruned before it is looked up.
        with find.one_moment(connection):
            for cgroup, ids in connection.execute(CGROUPS, {"after": newest}):
                container = container_id(cgroup)
                if container is not None:
                    by_origin.update(dict.fromkeys(map(int, ids.split(",")), container))
            newest = connection.execute(NEWEST_ORIGIN).fetchone()[0]
            problems, origins = connection.execute(*details_statement(wanted, part, by_origin)).fetchone()
            late, late_longest = later_ends_statements(wanted, part, top)
            ((late_problems,),) = connection.execute(*late)
            for text in filter(None, (problems, late_problems)):
                for code, count in counted(text).items():
                    if code < 0:
                        errors[-code] += count
                    else:
                        ends[to_end(code, 0, None)] += count
            if origins:
                for origin, count in counted(origins).items():
                    containers[by_origin[origin]] += count
            took = [
                *connection.execute(*longest_statement(wanted, part, top)),
                *connection.execute(*late_longest),
            ]
            longest = nlargest(top, longest + [each for each in took if each[0] is not None])
    numbers = [number for _, number in longest]
    found = {each.number: each.event for each in find.fetch(connection, numbers)}
    return Details(
        errors=most(errors, top),
        ends=most(ends, top),
        containers=most(containers, top),
        longest=[found[number] for number in numbers if number in found],
        new=None if new_since_ns is None else _new(connection, new_since_ns),
    )


def _new(connection: sqlite3.Connection, since_ns: int) -> list[NewProgram]:
    found = []
    for exe, launches in new_programs(connection, since_ns).items():
        execs, first_ns = connection.execute(*sightings_statement(launches)).fetchone()
        if execs:
            found.append(NewProgram(exe, first_ns, execs))
    return sorted(found, key=lambda each: (each.first_ns, each.exe))
