"""What was dropped is said with whose it was, and adds up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from execaudit.daemon.losses import MOST_NAMED, Counts, Shares, gaps_by_account, total
from execaudit.enums import GapReason
from execaudit.event import Nanoseconds

if TYPE_CHECKING:
    import random

NUMBERS = st.integers(0, 100)
COUNTS = st.tuples(NUMBERS, NUMBERS)
ACCOUNTS = st.one_of(st.none(), st.integers(0, 2**32 - 1))


@given(st.dictionaries(ACCOUNTS, COUNTS, max_size=30), st.integers(0, 9), st.integers(0, 9))
def test_gaps_name_those_who_lost_most_and_add_up(
    counts: dict[int | None, Counts], from_ns: int, to_ns: int
) -> None:
    """Each named one has its own count, nobody else lost more, and all is in some gap."""
    gaps = gaps_by_account("host", GapReason.RING_FULL, Nanoseconds(from_ns), Nanoseconds(to_ns), counts)
    named = [gap for gap in gaps if gap.uid is not None]

    assert len(named) <= MOST_NAMED
    assert len(gaps) <= len(named) + 1
    assert all((gap.count, gap.exits) == counts[gap.uid] and gap.from_ns <= gap.to_ns for gap in named)
    assert total(counts.values()) == total((gap.count or 0, gap.exits) for gap in gaps)
    others = [execs for uid, (execs, _) in counts.items() if uid not in {gap.uid for gap in gaps}]
    assert max(others, default=0) <= min((gap.count or 0 for gap in named), default=100)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans()), max_size=60), st.randoms())
def test_each_loss_is_charged_once(losses: list[tuple[int, bool, bool]], at_random: random.Random) -> None:
    """However late a look is at the totals, or at the accounts: the totals are met, and nobody pays twice."""
    shares = Shares()
    counters: dict[int, Counts] = {}
    lost = [0, 0]
    charged: dict[int | None, Counts] = {}
    for account, is_exit, has_counter in losses:
        if has_counter:
            execs, exits = counters.get(account, (0, 0))
            counters[account] = execs + (not is_exit), exits + is_exit
        early = dict(counters)
        looked_between = at_random.random() < 0.2
        if looked_between:
            _charge(charged, shares, (lost[0], lost[1]), early)
            lost = [0, 0]
        lost[is_exit] += 1
        if at_random.random() < 0.3:
            _charge(charged, shares, (lost[0], lost[1]), counters)
            lost = [0, 0]
    _charge(charged, shares, (lost[0], lost[1]), counters)

    happened = sum(not is_exit for _, is_exit, _ in losses), sum(is_exit for _, is_exit, _ in losses)
    assert total(charged.values()) == happened
    for account, (execs, exits) in counters.items():
        paid = charged.get(account, (0, 0))
        assert paid[0] <= execs
        assert paid[1] <= exits
    if all(has_counter for _, _, has_counter in losses):
        assert {uid: each for uid, each in charged.items() if uid is not None} == counters


def _charge(
    charged: dict[int | None, Counts], shares: Shares, lost: Counts, counters: dict[int, Counts]
) -> None:
    for uid, each in shares.divide(lost, counters).items():
        charged[uid] = total([charged.get(uid, (0, 0)), each])
