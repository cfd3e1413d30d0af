"""Count the execs of a part of the history in one scan."""

from __future__ import annotations

from collections import Counter, defaultdict
from heapq import nlargest
from typing import TYPE_CHECKING, NamedTuple

from execaudit import native
from execaudit.enums import Gained
from execaudit.escaping import exact
from execaudit.query.container import container_id
from execaudit.query.rows import to_end
from execaudit.query.statements import (
    cgroups_statement,
    later_ends_statements,
    launches_statement,
    longest_statement,
    values_statement,
    whole_tally_statement,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from execaudit.event import End
    from execaudit.query.filter import Filter
    from execaudit.query.statements import Span, Times

_SHORT = 50_000
# Of a part, so much is looked at to know about how long the longest take.
_SAMPLED = 32


class User(NamedTuple):
    """Who ran it."""

    name: str | None
    uid: int | None


class Counts:
    """Counts by value, because a dictionary may have a value twice.

    They grow with the number of values, not with the number of execs.
    """

    def __init__(self, top: int) -> None:
        """Knows the `top` that took longest."""
        self.kinds: Counter[int] = Counter()
        """By database.enum_codes."""
        self.pieces: Counter[int] = Counter()
        """By piece of time."""
        self.programs: set[bytes] = set()
        self.commands: Counter[bytes | None] = Counter()
        self.users: Counter[User] = Counter()
        self.parents: Counter[bytes | None] = Counter()
        self.privileged: Counter[tuple[bytes | None, Gained]] = Counter()
        self.errors: Counter[int] = Counter()
        self.ends: Counter[End] = Counter()
        """Without durations."""
        self.containers: Counter[str] = Counter()
        self._top = top
        # Durations and numbers.
        self._longest: list[tuple[int, int]] = []

    def longest(self) -> list[int]:
        """Returns the numbers of those that took longest, these first."""
        return [number for _, number in self._longest]

    def add_longest(self, took: Iterable[tuple[int, int]]) -> None:
        """Adds durations and numbers of execs."""
        self._longest = nlargest(self._top, [*self._longest, *took])

    def add_problems(self, problems: Mapping[int, int]) -> None:
        """Adds counts of errors (-errno) and of ends (as wait(2) says, not 0)."""
        for code, count in problems.items():
            if code < 0:
                self.errors[-code] += count
            else:
                self.ends[to_end(code, 0, None)] += count

    def add_cgroup(self, cgroup: bytes, count: int) -> None:
        """Adds execs of a cgroup."""
        container = container_id(cgroup)
        if container is not None:
            self.containers[container] += count


class Tally(Counts):
    """Counts a local history."""

    def add(self, connection: sqlite3.Connection, wanted: Filter, part: Span, times: Times) -> None:
        """Adds what is wanted of a part of the history."""
        statement = whole_tally_statement(wanted, part, times, least_ns=self._least(connection, wanted, part))
        launches, moments, problems, origins, took = connection.execute(*statement).fetchone()
        if launches is None:
            return
        for moment, count in counted(moments).items():
            kind, piece = divmod(moment, times.pieces)
            self.kinds[kind] += count
            self.pieces[piece] += count
        self._add_launches(connection, counted(launches))
        self._add_origins(connection, counted(origins))
        late, late_longest = later_ends_statements(wanted, part, self._top)
        ((late_problems,),) = connection.execute(*late)
        for text in filter(None, (problems, late_problems)):
            self.add_problems(counted(text))
        longest = [_pair(each) for each in took.split(",")] if took else []
        longest += (each for each in connection.execute(*late_longest) if each[0] is not None)
        self.add_longest(longest)

    def _least(self, connection: sqlite3.Connection, wanted: Filter, part: Span) -> int:
        """Returns a duration that the longest of the part are not below, so that few are looked at."""
        if len(self._longest) == self._top:
            return self._longest[-1][0]
        few = part._replace(high=part.low + (part.high - part.low) // _SAMPLED)
        took = connection.execute(*longest_statement(wanted, few, self._top)).fetchall()
        return 0 if len(took) < self._top else took[-1][0] or 0

    def _add_origins(self, connection: sqlite3.Connection, origins: dict[int, int]) -> None:
        for origin, cgroup in connection.execute(*cgroups_statement(origins)):
            self.add_cgroup(cgroup, origins[origin])

    def _add_launches(self, connection: sqlite3.Connection, launches: dict[int, int]) -> None:
        exes: set[int | None] = set()
        privileged: Counter[tuple[int | None, int]] = Counter()
        commands: dict[int | None, int] = defaultdict(int)
        # Parent's command, user and uid: they are few.
        origins: dict[tuple[int | None, int | None, int | None], int] = defaultdict(int)
        if found := connection.execute(*launches_statement(launches)).fetchall():
            # By columns: there may be tens of thousands.
            ids, images, comms, *origin, gained = zip(*found, strict=True)
            counts = [*map(launches.pop, ids)]
            exes.update(images)
            for exe, bits, count in zip(images, gained, counts, strict=True):
                if bits:
                    privileged[exe, bits] += count
            for command, count in zip(comms, counts, strict=True):
                commands[command] += count
            for its, count in zip(zip(*origin, strict=True), counts, strict=True):
                origins[its] += count
        # Their records were lost.
        unknown = sum(launches.values())
        if unknown:
            commands[None] += unknown
            origins[None, None, None] += unknown
        paths = _values(connection, "path", exes)
        self.programs.update(paths.values())
        for (exe, bits), count in privileged.items():
            self.privileged[paths.get(exe), Gained(bits)] += count
        texts = _values(connection, "comm", {*commands, *(parent for parent, _, _ in origins)})
        names = _values(connection, "user", {user for _, user, _ in origins})
        for command, count in commands.items():
            self.commands[texts.get(command)] += count
        for (parent, user, uid), count in origins.items():
            name = names.get(user)
            self.parents[texts.get(parent)] += count
            self.users[User(None if name is None else exact(name), uid)] += count


def counted(text: str) -> dict[int, int]:
    """Returns how often each number is in a text of numbers with commas between."""
    # For a short one, loading the module would take longer.
    found = None if len(text) < _SHORT or native.fast is None else native.fast.counted(text)
    if found is None:
        found = {int(number): count for number, count in Counter(text.split(",")).items()}
    return found


def _values(
    connection: sqlite3.Connection, dictionary: str, ids: Iterable[int | None]
) -> dict[int | None, bytes]:
    known = (number for number in ids if number is not None)
    return dict(connection.execute(*values_statement(dictionary, known)))


def _pair(text: str) -> tuple[int, int]:
    duration, _, number = text.partition(":")
    return int(duration), int(number)
