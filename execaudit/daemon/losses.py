"""Count dropped execs by account (see ExecEvent.account), make gaps of the counts, and join gaps. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from execaudit.enums import Kind
from execaudit.event import Gap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from execaudit.enums import GapReason
    from execaudit.event import ExecEvent, ExitEvent, Nanoseconds

# So many accounts get a gap of their own, and the rest share one: a flood by many users must not fill the
# history with gaps.
MOST_NAMED = 8
# In 2116.
_LAST_NS = 2**62

Counts = tuple[int, int]
"""Execs, and ends of programs."""


def account_of(event: ExecEvent) -> int | None:
    """Returns the uid that an exec is charged to; None: not known."""
    return event.launch.uid if event.account is None else event.account


def time_of(event: ExecEvent | ExitEvent, otherwise: Nanoseconds) -> Nanoseconds:
    """Returns when an event was. Of a bad one, whose time a gap cannot have, the other time."""
    return event.time_ns if 0 <= event.time_ns <= _LAST_NS else otherwise


def gaps_by_account(
    host: str,
    reason: GapReason,
    from_ns: Nanoseconds,
    to_ns: Nanoseconds,
    counts: Mapping[int | None, Counts],
) -> list[Gap]:
    """Returns a gap for each account of which something was dropped, those with most execs first.

    At most MOST_NAMED are named. What remains, and what is of no known account, is one gap
    with uid None. The times may be given in any order: the wall clock can be stepped back.
    """
    begin, end = min(from_ns, to_ns), max(from_ns, to_ns)
    known = [(uid, each) for uid, each in counts.items() if uid is not None and any(each)]
    known.sort(key=lambda item: (-item[1][0], -item[1][1], item[0]))
    named, others = known[:MOST_NAMED], known[MOST_NAMED:]
    gaps = [Gap(host, begin, end, reason, execs, exits, uid=uid) for uid, (execs, exits) in named]
    execs, exits = total([counts.get(None, (0, 0)), *(each for _, each in others)])
    if execs or exits:
        gaps.append(Gap(host, begin, end, reason, execs, exits))
    return gaps


def total(counts: Iterable[Counts]) -> Counts:
    """Returns the sums."""
    execs = exits = 0
    for some, ends in counts:
        execs += some
        exits += ends
    return execs, exits


class Lost:
    """Counts by account what is not kept."""

    def __init__(self) -> None:
        self._counts: dict[int | None, Counts] = {}

    def __bool__(self) -> bool:
        return bool(self._counts)

    @property
    def execs(self) -> int:
        """How many execs."""
        return total(self._counts.values())[0]

    def count(self, events: Iterable[ExecEvent], exits: int = 0) -> None:
        """Counts these execs, and so many ends. A program that ran already when recording began adds 0.

        The end of what an exec replaced is missing with it.
        """
        for event in events:
            is_exec = event.kind is not Kind.SNAPSHOT
            self.note(account_of(event), execs=int(is_exec), exits=int(event.replaces))
        if exits:
            self.note(None, exits=exits)

    def add(self, other: Lost) -> None:
        """Counts what another one has counted."""
        for account, (execs, exits) in other._counts.items():
            self.note(account, execs=execs, exits=exits)

    def note(self, account: int | None, *, execs: int = 0, exits: int = 0) -> None:
        """Counts so many of an account."""
        before = self._counts.get(account, (0, 0))
        self._counts[account] = before[0] + execs, before[1] + exits

    def gaps(self, host: str, reason: GapReason, from_ns: Nanoseconds, to_ns: Nanoseconds) -> list[Gap]:
        """Returns the gaps for what was counted: see gaps_by_account."""
        return gaps_by_account(host, reason, from_ns, to_ns, self._counts)


def joined(gaps: Iterable[Gap]) -> list[Gap]:
    """Returns one gap for each host, reason and user, from when the first begins to when the last ends."""
    return _joined(gaps, lambda _before, _gap: True)


def neighbours_joined(gaps: Iterable[Gap]) -> list[Gap]:
    """Joins only gaps of the same host, reason and user where one begins when the other ends."""
    return _joined(gaps, lambda before, gap: before.to_ns == gap.from_ns)


def _joined(gaps: Iterable[Gap], joins: Callable[[Gap, Gap], bool]) -> list[Gap]:
    found: list[Gap] = []
    last_of: dict[tuple[str, GapReason, int | None], int] = {}
    for gap in gaps:
        kind = gap.host, gap.reason, gap.uid
        at = last_of.get(kind)
        if at is not None and joins(found[at], gap):
            found[at] = union(found[at], gap)
        else:
            last_of[kind] = len(found)
            found.append(gap)
    return found


def union(one: Gap, other: Gap) -> Gap:
    """Returns a gap that covers two of the same host, reason and user."""
    count = None if one.count is None or other.count is None else one.count + other.count
    return replace(
        one,
        from_ns=min(one.from_ns, other.from_ns),
        to_ns=max(one.to_ns, other.to_ns),
        count=count,
        exits=one.exits + other.exits,
    )


class Shares:
    """Divides what the probe lost among accounts.

    The probe counts a loss first for its account and then in total, and the reader reads the totals first.
    So the account of each loss in the totals is known, unless the account has no counter. A loss that the
    totals do not have yet waits for the next call.
    """

    def __init__(self) -> None:
        self._read: dict[int, Counts] = {}
        self._waiting: dict[int, Counts] = {}

    def divide(self, lost: Counts, counters: Mapping[int, Counts]) -> dict[int | None, Counts]:
        """Returns how much each account lost since the last call; None: no known account.

        `counters` are those of the probe, which only grow.
        """
        for account, (execs, exits) in counters.items():
            before, waiting = self._read.get(account, (0, 0)), self._waiting.get(account, (0, 0))
            self._read[account] = execs, exits
            self._waiting[account] = execs - before[0] + waiting[0], exits - before[1] + waiting[1]
        execs_left, exits_left = lost
        shares: dict[int | None, Counts] = {}
        for account, (execs, exits) in list(self._waiting.items()):
            share = min(execs, execs_left), min(exits, exits_left)
            execs_left, exits_left = execs_left - share[0], exits_left - share[1]
            rest = execs - share[0], exits - share[1]
            if any(share):
                shares[account] = share
            if any(rest):
                self._waiting[account] = rest
            else:
                del self._waiting[account]
        if execs_left or exits_left:
            shares[None] = execs_left, exits_left
        return shares
