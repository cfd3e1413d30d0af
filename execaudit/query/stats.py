"""Count a part of the history: totals, the most frequent commands, users and parents, and when."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from execaudit import native
from execaudit.database.enum_codes import KINDS
from execaudit.enums import Gained, Kind
from execaudit.escaping import exact
from execaudit.event import Nanoseconds
from execaudit.query import find
from execaudit.query.statements import launches_statement, tally_statement, times_statement, values_statement

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Hashable, Iterable
    from typing import TypeVar

    from execaudit.query.filter import Filter
    from execaudit.query.statements import Span

    _Thing = TypeVar("_Thing", bound=Hashable)

_SECOND = 1_000_000_000
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
# Seconds that a piece of time may have; longer ones are so many years.
_WIDTHS = (
    1, 2, 5, 10, 15, 30, _MINUTE, 2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE,
    _HOUR, 2 * _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR, _DAY, 2 * _DAY, 7 * _DAY, 14 * _DAY, 28 * _DAY, 91 * _DAY,
)  # fmt: skip
_YEAR = 365 * _DAY
_SHORT = 50_000
_MOST_PIECES = 24


class User(NamedTuple):
    """Who ran it."""

    name: str | None
    uid: int | None


class Times(NamedTuple):
    """The pieces of time that a range is cut into."""

    start_ns: Nanoseconds
    width_ns: Nanoseconds
    pieces: int

    @property
    def end_ns(self) -> Nanoseconds:
        """Returns when the last one ends."""
        return Nanoseconds(self.start_ns + self.pieces * self.width_ns)


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
    times: Times | None
    """None: the history is empty there."""
    counts: list[int]
    """Of each piece of time."""


def gather(
    connection: sqlite3.Connection, wanted: Filter, *, now_ns: int, top: int, offset_ns: int = 0
) -> Stats:
    """Counts what is wanted, and returns the `top` most frequent of each kind. Raises FilterError.

    What was asked for from some time on goes until `now_ns`. `offset_ns`: see divide().
    """
    times = _times(connection, wanted, now_ns, offset_ns)
    tally = _Tally()
    if times is None:
        find.prepare(connection, wanted)
    else:
        wanted = within(wanted, times)
        for part in find.parts(connection, wanted):
            # So that no launch is pruned before it is looked up.
            with find.one_moment(connection):
                tally.add(connection, wanted, part, times)
    return Stats(
        execs=tally.kinds.total(),
        failed=tally.kinds[KINDS.index(Kind.FAILED)],
        already=tally.kinds[KINDS.index(Kind.SNAPSHOT)],
        programs=len(tally.programs),
        commands=most(tally.commands, top),
        users=most(tally.users, top),
        parents=most(tally.parents, top),
        privileged=most(tally.privileged, top),
        times=times,
        counts=[] if times is None else [tally.pieces[piece] for piece in range(times.pieces)],
    )


def within(wanted: Filter, times: Times) -> Filter:
    """Returns the filter without execs that are recorded during the count."""
    return replace(
        wanted,
        since_ns=times.start_ns if wanted.since_ns is None else wanted.since_ns,
        until_ns=times.end_ns if wanted.until_ns is None else wanted.until_ns,
    )


def _times(connection: sqlite3.Connection, wanted: Filter, now_ns: int, offset_ns: int) -> Times | None:
    first, last = connection.execute(*times_statement(wanted)).fetchone()
    if first is None:
        return None
    if wanted.since_ns is None:
        start_ns, end_ns = first, last + 1 if wanted.until_ns is None else min(wanted.until_ns, last + 1)
    else:
        start_ns = wanted.since_ns
        end_ns = max(last + 1, now_ns) if wanted.until_ns is None else wanted.until_ns
    return divide(start_ns, end_ns, offset_ns)


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


class _Tally:
    """The counts so far. By value, because a dictionary may have a value twice.

    It grows with the number of values, not with the number of launches.
    """

    def __init__(self) -> None:
        self.kinds: Counter[int] = Counter()
        self.pieces: Counter[int] = Counter()
        self.programs: set[bytes] = set()
        self.commands: Counter[bytes | None] = Counter()
        self.users: Counter[User] = Counter()
        self.parents: Counter[bytes | None] = Counter()
        self.privileged: Counter[tuple[bytes | None, Gained]] = Counter()

    def add(self, connection: sqlite3.Connection, wanted: Filter, part: Span, times: Times) -> None:
        """Adds what is wanted of a part of the history."""
        statement = tally_statement(
            wanted, part, start_ns=times.start_ns, width_ns=times.width_ns, pieces=times.pieces
        )
        launches, moments = connection.execute(*statement).fetchone()
        if launches is None:
            return
        for moment, count in counted(moments).items():
            kind, piece = divmod(moment, times.pieces)
            self.kinds[kind] += count
            self.pieces[piece] += count
        self._add_launches(connection, counted(launches))

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


def most(counter: Counter[_Thing], top: int) -> list[tuple[_Thing, int]]:
    """Returns the `top` most frequent things with their counts; equal counts by name."""
    # Only those are sorted by name that may be among the first.
    least = sorted(counter.values(), reverse=True)[:top][-1:] or [0]
    among = (item for item in counter.items() if item[1] >= least[0])
    return sorted(among, key=lambda item: (-item[1], str(item[0])))[:top]
