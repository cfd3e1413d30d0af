"""What a part of the history comes to: totals, who did most, and when. Reads; says nothing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from execaudit import query
from execaudit.codes import KINDS
from execaudit.event import Kind, Nanoseconds
from execaudit.filters import groups_statement, launches_statement, times_statement

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Hashable, Iterable
    from typing import TypeVar

    from execaudit.filters import Filter

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
_LAUNCHES = 10_000


class User(NamedTuple):
    """Who ran it."""

    name: str | None
    uid: int | None


class Times(NamedTuple):
    """The pieces of time that a range is cut into."""

    start_ns: Nanoseconds
    width_ns: Nanoseconds
    pieces: int


class Stats(NamedTuple):
    """What was counted. The most frequent first; what is as frequent, by name."""

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
    start_ns, width_ns = (0, 1) if times is None else times[:2]
    launches: Counter[int] = Counter()
    kinds: Counter[int] = Counter()
    pieces: Counter[int] = Counter()
    for part in query.parts(connection, wanted):
        statement = groups_statement(wanted, part, start_ns=start_ns, width_ns=width_ns)
        for (launch, kind, piece), count in Counter(connection.execute(*statement)).items():
            launches[launch] += count
            kinds[kind] += count
            pieces[piece] += count
    programs, commands, users, parents = _resolve(connection, launches)
    return Stats(
        execs=launches.total(),
        failed=kinds[KINDS.index(Kind.FAILED)],
        already=kinds[KINDS.index(Kind.SNAPSHOT)],
        programs=programs,
        commands=_most(commands, top),
        users=_most(users, top),
        parents=_most(parents, top),
        times=times,
        counts=[] if times is None else [pieces[piece] for piece in range(times.pieces)],
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


def _resolve(
    connection: sqlite3.Connection, launches: Counter[int]
) -> tuple[int, Counter[bytes | None], Counter[User], Counter[bytes | None]]:
    """Returns what launches are: how many images, and the commands, users and parents, counted.

    By value, because a dictionary may have one twice.
    """
    exes: set[int] = set()
    commands: Counter[bytes | None] = Counter()
    users: Counter[User] = Counter()
    parents: Counter[bytes | None] = Counter()
    unknown = launches[0]
    numbers = sorted(launches)
    for start in range(0, len(numbers), _LAUNCHES):
        rows = connection.execute(*launches_statement(numbers[start : start + _LAUNCHES]))
        for number, exe, comm, name, uid, parent in rows:
            count = launches[number]
            commands[comm] += count
            users[User(None if name is None else name.decode("utf-8", "surrogateescape"), uid)] += count
            parents[parent] += count
            if exe is not None:
                exes.add(exe)
    if unknown:
        commands[None] += unknown
        users[User(None, None)] += unknown
        parents[None] += unknown
    return _different_paths(connection, exes), commands, users, parents


def _different_paths(connection: sqlite3.Connection, ids: Iterable[int]) -> int:
    numbers = f"[{','.join(map(str, ids))}]"
    sql = "SELECT count(DISTINCT v) FROM path WHERE id IN (SELECT value FROM json_each(?))"
    return int(connection.execute(sql, (numbers,)).fetchone()[0])


def _most(counter: Counter[_Thing], top: int) -> list[tuple[_Thing, int]]:
    return sorted(counter.items(), key=lambda item: (-item[1], str(item[0])))[:top]
