"""Gaps that follow each other are joined, no count is lost, and the talk about them is bounded."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from execaudit.daemon.gap_log import GapLog
from execaudit.enums import GapReason
from tests.histories import make_gap

if TYPE_CHECKING:
    from execaudit.event import Gap


def gap(at: int, uid: int | None = None, reason: GapReason = GapReason.RING_FULL) -> Gap:
    """Returns a gap of a second, of one exec."""
    return replace(make_gap(at, at + 1, count=1, exits=2), reason=reason, uid=uid)


def test_the_first_is_stored_at_once_and_what_follows_is_joined() -> None:
    """For some seconds; until then nothing after the first one that is held is finished."""
    gaps = GapLog()
    assert [gap(1)] == gaps.take([gap(1)], now_s=1)
    assert [] == gaps.take([gap(2)], now_s=2)
    assert gaps
    assert [gap(2, uid=7)] == gaps.take([gap(2, uid=7), gap(3)], now_s=3)
    assert gap(2).from_ns == gaps.since_ns()

    [joined] = gaps.take([], now_s=11)
    assert (gap(2).from_ns, gap(3).to_ns, 2, 4) == (joined.from_ns, joined.to_ns, joined.count, joined.exits)
    assert not gaps
    assert gaps.since_ns() is None
    # It goes on being joined, until nothing more comes.
    assert [] == gaps.take([gap(12)], now_s=12)
    assert 1 == len(gaps.take([], now_s=21))
    assert [] == gaps.take([], now_s=31)
    assert [gap(32)] == gaps.take([gap(32)], now_s=32)


def test_stops_and_steps_of_the_clock_stay_apart() -> None:
    """Each is an event of its own."""
    gaps = GapLog()
    both = [
        gap(at, reason=reason) for at in (1, 5) for reason in (GapReason.CLOCK, GapReason.RECORDER_STOPPED)
    ]

    assert both == gaps.take(both, now_s=0)


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.lists(st.none() | st.integers(0, 100), max_size=5)), max_size=200
    )
)
def test_no_count_is_lost(steps: list[tuple[int, list[int | None]]]) -> None:
    """Whoever's they are, however many users there are."""
    gaps = GapLog()
    now = total = 0
    out = []
    for passed, uids in steps:
        now += passed
        total += len(uids)
        out += gaps.take([gap(now, uid=uid) for uid in uids], now_s=now)
    out += gaps.take([], now_s=now, ends=True)

    assert (total, 2 * total) == (sum(each.count or 0 for each in out), sum(each.exits for each in out))
    assert not gaps


def test_a_flood_of_gaps_is_few_lines() -> None:
    """And a count of those that were left out."""
    gaps = GapLog()
    with capture_logs() as said:
        for second in range(120):
            gaps.take([gap(second, uid=uid) for uid in range(20)], now_s=second)
        gaps.take([], now_s=120, ends=True)

    lines = [line["event"] for line in said]
    assert lines.count("execs_missed") <= 30
    left_out = sum(line["lines"] for line in said if line["event"] == "gap_lines_left_out")
    # Each of 20 users has the first one, and then one each ten seconds.
    assert 20 * 12 <= lines.count("execs_missed") + left_out <= 20 * 14
