"""The ranges of numbers that were sent last say what a server has lost."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from execaudit.forward import recent_blocks
from execaudit.forward.recent_blocks import Range, with_block

_BLOCKS = st.lists(
    st.tuples(st.integers(1, 50), st.integers(0, 40), st.integers(0, 3)), min_size=1, max_size=60
)


@given(_BLOCKS)
def test_each_block_of_the_last_minutes_is_in_one_range(blocks: list[tuple[int, int, int]]) -> None:
    """With as many rows as were sent, whatever the sizes, the pauses and the gaps between numbers."""
    ranges: list[Range] = []
    sent: list[tuple[int, int]] = []
    number = now = 0
    for count, pause, gap in blocks:
        now += pause
        numbers = range(number + gap + 1, number + gap + count + 1)
        number = numbers[-1]
        sent += [(each, now) for each in numbers]
        ranges = with_block(ranges, [(each, each % 7) for each in numbers], now)

    assert all(one.last < other.first for one, other in itertools.pairwise(ranges))
    assert all(each.rows == sum(each.first <= n <= each.last for n, _ in sent) for each in ranges)
    fresh = {n for n, at in sent if now - at < 170}
    assert fresh <= {n for each in ranges for n in range(each.first, each.last + 1)}
    # What is kept does not grow with the rate.
    assert len(ranges) <= 180 // 5 + 2
    assert {"exec": ranges} == recent_blocks.from_json(recent_blocks.to_json({"exec": ranges, "gap": []}))


def test_a_clock_that_was_set_back_forgets() -> None:
    """But what has a time in the future is counted, as is what is old."""
    ranges = with_block([], [(1, 9), (2, 8), (3, 9)], 1000)

    assert [Range(1, 3, 3, 1000, 8)] == ranges
    assert [Range(4, 4, 1, 10, 0)] == with_block(ranges, [(4, 0)], 10)
    assert ranges == recent_blocks.to_count(ranges, 10)
    assert [] == recent_blocks.to_count([ranges[0]._replace(begun_s=2 * 86_400)], 10)
    assert [] == recent_blocks.to_count(ranges, 1000 + 2 * 86_400)


def test_only_old_days_are_dropped() -> None:
    """Then a range may lack rows that had arrived."""
    now_s = 20_000 * 86_400 + 5

    assert not recent_blocks.may_be_dropped(Range(1, 2, 2, now_s, 20_000), now_s)
    assert not recent_blocks.may_be_dropped(Range(1, 2, 2, now_s, 19_998), now_s)
    assert recent_blocks.may_be_dropped(Range(1, 2, 2, now_s, 19_997), now_s)


def test_text_that_makes_no_sense_is_no_range() -> None:
    """Somebody else wrote into the table."""
    for text in (
        b"",
        b"{",
        b"[]",
        b"7",
        b'{"exec": 7}',
        b'{"exec": [[1]]}',
        b'{"exec": [["x", 1, 2, 3, 4]]}',
        b"\xff",
        b"[" * 100_000,
    ):
        assert {} == recent_blocks.from_json(text)
