"""Count what comes by second, for the last five minutes. Pure; its memory has a bound."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from execaudit.screen.seen import Pace

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping

    _Thing = TypeVar("_Thing", bound=Hashable)

WINDOW = 300
MINUTE, _NOW = 60, 5
_MOST_NAMES = 100
"""Different names of one piece of time that are kept: any user can start a program under any name."""
_SHOWN = 20


class _Read(NamedTuple):
    """What one reading counted."""

    second: int
    commands: Counter[bytes | None]
    users: Counter[str]
    unlisted: int
    unread: int


class Pacing:
    """How many execs came, and the names of their commands and users."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._read: list[_Read] = []

    def add(  # noqa: PLR0913  # each is counted
        self,
        second: int,
        counts: Mapping[int, int],
        commands: Counter[bytes | None],
        users: Counter[str],
        *,
        unlisted: int = 0,
        unread: int = 0,
    ) -> None:
        """Adds what was read at a second: execs by the second in which they happened."""
        self._counts.update(counts)
        self._read.append(_Read(second, _most(commands), _most(users), unlisted, unread))

    def at(self, second: int) -> Pace:
        """Returns the pace at a second, which itself does not count: it is not over. Forgets what is old."""
        for old in [old for old in self._counts if old < second - WINDOW]:
            del self._counts[old]
        self._read = [each for each in self._read if each.second > second - MINUTE]
        commands: Counter[bytes | None] = Counter()
        users: Counter[str] = Counter()
        for each in self._read:
            commands.update(each.commands)
            users.update(each.users)
        return Pace(
            now=self._mean(second, _NOW),
            minute=self._mean(second, MINUTE),
            five_minutes=self._mean(second, WINDOW),
            chart=tuple(self._counts[each] for each in range(second - MINUTE, second)),
            commands=tuple(_ranked(commands)),
            users=tuple(_ranked(users)),
            unlisted=sum(each.unlisted for each in self._read),
            unread=sum(each.unread for each in self._read),
        )

    def _mean(self, second: int, seconds: int) -> float:
        return sum(self._counts[each] for each in range(second - seconds, second)) / seconds


def _most(counter: Counter[_Thing]) -> Counter[_Thing]:
    return counter if len(counter) <= _MOST_NAMES else Counter(dict(counter.most_common(_MOST_NAMES)))


def _ranked(counter: Counter[_Thing]) -> Iterator[tuple[_Thing, int]]:
    among: Iterable[tuple[_Thing, int]] = counter.items()
    # Equal counts by name, so that they do not change places all the time.
    yield from sorted(among, key=lambda item: (-item[1], str(item[0])))[:_SHOWN]
