"""Say whose execs were dropped: gaps by account, as `ExecEvent.account` has it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.event import Gap

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from execaudit.event import GapReason, Nanoseconds

# A flood that many users take part in must not fill the history with gaps: the rest share one.
MOST_NAMED = 8

Counts = tuple[int, int]
"""Execs, and ends of programs."""


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


class Shares:
    """Divides what the probe lost among accounts.

    The probe counts a loss for its account first and in total after that, and the reader reads in
    the other order. So each loss of the totals is known by account, unless that one has no counter;
    a loss that is known too early waits for the totals.
    """

    def __init__(self) -> None:
        self._read: dict[int, Counts] = {}
        self._waiting: dict[int, Counts] = {}

    def divide(self, lost: Counts, counters: Mapping[int, Counts]) -> dict[int | None, Counts]:
        """Returns whose they are of what was lost since the last call; None: of no known account.

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
