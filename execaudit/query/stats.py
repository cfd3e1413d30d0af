"""Count a part of the history: totals, what is most frequent, what took longest, and when."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from execaudit.database.enum_codes import KINDS
from execaudit.enums import Gained, Kind
from execaudit.event import Nanoseconds
from execaudit.query import find, globs
from execaudit.query.filter import Filter
from execaudit.query.statements import Times, hosts_statement
from execaudit.query.tally import Tally

if TYPE_CHECKING:
    import sqlite3
    from collections import Counter
    from collections.abc import Hashable, Sequence
    from typing import TypeVar

    from execaudit.event import End, ExecEvent
    from execaudit.query.tally import Counts, User

    _Thing = TypeVar("_Thing", bound=Hashable)

_SECOND = 1_000_000_000
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
# Seconds that a piece of time may have; longer ones are so many years.
_WIDTHS = (
    1, 2, 5, 10, 15, 30, _MINUTE, 2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE,
    _HOUR, 2 * _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR, _DAY, 2 * _DAY, 7 * _DAY, 14 * _DAY, 28 * _DAY, 91 * _DAY,
)  # fmt: skip
_YEAR = 365 * _DAY
_MOST_PIECES = 24
_ALL_HOSTS = "SELECT DISTINCT host FROM run"
_HOSTS = "SELECT k.id, r.host FROM clock AS k JOIN run AS r ON r.id = k.run_id"


class Stats(NamedTuple):
    """The counts. The most frequent first; equal counts by name."""

    execs: int
    """With those that failed, and those that ran when recording began."""
    failed: int
    already: int
    """Ran when recording began."""
    programs: int
    """Different images."""
    commands: list[tuple[bytes | None, int]]
    users: list[tuple[User, int]]
    parents: list[tuple[bytes | None, int]]
    privileged: list[tuple[tuple[bytes | None, Gained], int]]
    """Programs whose file gave them privileges, and which."""
    errors: list[tuple[int, int]]
    """Error numbers of failed execs."""
    ends: list[tuple[End, int]]
    """How programs ended, but for those that exited with 0; without their durations."""
    containers: list[tuple[str, int]]
    longest: list[ExecEvent]
    """The longest first."""
    times: Times | None
    """None: the history is empty there."""
    counts: list[int]
    """Of each piece of time."""


class HostCount(NamedTuple):
    """How many execs there are of a host."""

    host: str
    execs: int
    """With those that failed, and those that ran when recording began."""
    failed: int
    first_ns: Nanoseconds
    """Wall clock of its first and of its last one."""
    last_ns: Nanoseconds


def by_host(connection: sqlite3.Connection, wanted: Filter) -> list[HostCount]:
    """Counts what is wanted for each host: the most first, equal ones by name. Raises FilterError."""
    found: dict[str, HostCount] = {}
    hosts: dict[int, str] = {}
    for part in find.parts(connection, wanted):
        with find.one_moment(connection):
            rows = connection.execute(*hosts_statement(wanted, part)).fetchall()
            hosts.update(connection.execute(_HOSTS).fetchall())
        for clock, *counts in rows:
            each = HostCount(hosts[clock], *counts)
            found[each.host] = both(found[each.host], each) if each.host in found else each
    return sorted(found.values(), key=lambda each: (-each.execs, each.host))


def both(one: HostCount, other: HostCount) -> HostCount:
    """Returns two counts of a host as one."""
    return HostCount(
        one.host,
        one.execs + other.execs,
        one.failed + other.failed,
        min(one.first_ns, other.first_ns),
        max(one.last_ns, other.last_ns),
    )


def gather(
    connection: sqlite3.Connection, wanted: Filter, *, now_ns: int, top: int, offset_ns: int = 0
) -> Stats:
    """Counts what is wanted, and returns the `top` most frequent of each kind. Raises FilterError.

    What was asked for from some time on goes until `now_ns`. `offset_ns`: see divide().
    """
    ends = _ends(connection, wanted)
    times = pieces_of(wanted, ends, now_ns=now_ns, offset_ns=offset_ns)
    tally = Tally(top)
    if times is None:
        find.prepare(connection, wanted)
    else:
        wanted = within(wanted, times)
        for part in find.parts(connection, wanted):
            # So that no launch is pruned before it is looked up.
            with find.one_moment(connection):
                tally.add(connection, wanted, part, times)
    found = {each.number: each.event for each in find.fetch(connection, tally.longest())}
    return to_stats(tally, times, [found[number] for number in tally.longest() if number in found], top)


def _ends(connection: sqlite3.Connection, wanted: Filter) -> tuple[int, int] | None:
    """Returns the times of the first and the last exec of the hosts in the range; None: there is none."""
    is_wanted = globs.matching_names(wanted.hosts)
    # Most histories are of one host, and then nothing is to be counted.
    if not wanted.hosts or all(is_wanted(host) for (host,) in connection.execute(_ALL_HOSTS)):
        return find.times(connection, wanted)
    return ends_of(by_host(connection, of_hosts(wanted)))


def of_hosts(wanted: Filter) -> Filter:
    """Returns the filter for all execs of the same hosts in the same range."""
    return Filter(since_ns=wanted.since_ns, until_ns=wanted.until_ns, hosts=wanted.hosts)


def ends_of(hosts: Sequence[HostCount]) -> tuple[int, int] | None:
    """Returns the times of the first and the last exec of hosts; None: there is none."""
    if not hosts:
        return None
    return min(host.first_ns for host in hosts), max(host.last_ns for host in hosts)


def to_stats(counts: Counts, times: Times | None, longest: list[ExecEvent], top: int) -> Stats:
    """Returns the `top` most frequent of each kind."""
    return Stats(
        execs=counts.kinds.total(),
        failed=counts.kinds[KINDS.index(Kind.FAILED)],
        already=counts.kinds[KINDS.index(Kind.SNAPSHOT)],
        programs=len(counts.programs),
        commands=_most(counts.commands, top),
        users=_most(counts.users, top),
        parents=_most(counts.parents, top),
        privileged=_most(counts.privileged, top),
        errors=_most(counts.errors, top),
        ends=_most(counts.ends, top),
        containers=_most(counts.containers, top),
        longest=longest,
        times=times,
        counts=[] if times is None else [counts.pieces[piece] for piece in range(times.pieces)],
    )


def within(wanted: Filter, times: Times) -> Filter:
    """Returns the filter without execs that are recorded during the count."""
    return replace(
        wanted,
        since_ns=times.start_ns if wanted.since_ns is None else wanted.since_ns,
        until_ns=times.end_ns if wanted.until_ns is None else wanted.until_ns,
    )


def pieces_of(wanted: Filter, ends: tuple[int, int] | None, *, now_ns: int, offset_ns: int) -> Times | None:
    """Returns the pieces of time of a filter's range; None: nothing is in it.

    `ends`: the times of the first and the last exec in it; None: there is none.
    """
    if ends is None:
        return None
    first, last = ends
    if wanted.since_ns is None:
        return divide(first, last + 1, offset_ns)
    end_ns = max(last + 1, now_ns) if wanted.until_ns is None else wanted.until_ns
    return divide(wanted.since_ns, end_ns, offset_ns)


def divide(start_ns: int, end_ns: int, offset_ns: int = 0) -> Times:
    """Returns at most 25 pieces of time that have what is from `start_ns` until before `end_ns`.

    They begin at round times of a clock that is `offset_ns` before UTC.
    """
    whole = max(end_ns - start_ns, 1)
    width = next((w for w in _WIDTHS if w * _SECOND * _MOST_PIECES >= whole), None)
    if width is None:
        width = _YEAR * -(-whole // (_YEAR * _SECOND * _MOST_PIECES))
    width_ns = width * _SECOND
    first_ns = (start_ns + offset_ns) // width_ns * width_ns - offset_ns
    return Times(Nanoseconds(first_ns), Nanoseconds(width_ns), max(1, -(-(end_ns - first_ns) // width_ns)))


def _most(counter: Counter[_Thing], top: int) -> list[tuple[_Thing, int]]:
    """Returns the `top` most frequent things with their counts; equal counts by name."""
    # Only those are sorted by name that may be among the first.
    least = sorted(counter.values(), reverse=True)[:top][-1:] or [0]
    among = (item for item in counter.items() if item[1] >= least[0])
    return sorted(among, key=lambda item: (-item[1], str(item[0])))[:top]
