"""What was sent last to a server that may lose its last seconds in a power cut. Pure.

Such a server has said that it has a block, and the disk had not. Which blocks then are lost nobody knows, not
always the newest. So the last minutes are noted as ranges of numbers, with how many rows each has. They are
counted again when somebody comes back.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_TOGETHER_SECONDS = 5
_KEPT_SECONDS = 180
_BELIEVED_SECONDS = 86_400
"""Later, nobody comes back after a power cut."""
_KEPT_DAYS = 2
"""Of younger days none is dropped."""


class Range(NamedTuple):
    """Rows of a table, by their numbers."""

    first: int
    last: int
    rows: int
    begun_s: int
    """When the first of them was sent: seconds of the sender's clock."""
    day: int
    """The first day of their execs, in days since 1970: the one that is dropped first."""


def with_block(ranges: Iterable[Range], rows: Iterable[tuple[int, int]], now_s: int) -> list[Range]:
    """Returns the ranges with rows that have arrived, by number and day.

    What is so old that the disk has it is left out.
    """
    kept = [each for each in ranges if 0 <= now_s - each.begun_s < _KEPT_SECONDS]
    days = dict(rows)
    if not days:
        return kept
    sent, day = sorted(days), min(days.values())
    if kept and now_s - kept[-1].begun_s < _TOGETHER_SECONDS and sent[0] > kept[-1].last:
        last = kept.pop()
        return [*kept, Range(last.first, sent[-1], last.rows + len(sent), last.begun_s, min(last.day, day))]
    return [*kept, Range(sent[0], sent[-1], len(sent), now_s, day)]


def to_count(ranges: Iterable[Range], now_s: int) -> list[Range]:
    """Returns the ranges whose rows must all be there."""
    # A clock may have been set back meanwhile.
    return [each for each in ranges if abs(now_s - each.begun_s) < _BELIEVED_SECONDS]


def may_be_dropped(each: Range, now_s: int) -> bool:
    """Says whether rows of a range may be of a day that was dropped at the centre."""
    return each.day < now_s // 86_400 - _KEPT_DAYS


def to_json(tables: Mapping[str, Iterable[Range]]) -> bytes:
    """Returns the ranges of all tables as they stand in a column."""
    return json.dumps({name: list(ranges) for name, ranges in tables.items() if ranges}).encode()


def from_json(text: bytes) -> dict[str, list[Range]]:
    """Returns what to_json() was given; nothing for a text that makes no sense: it is only a second look."""
    try:
        return {
            str(name): [Range(*map(int, each)) for each in ranges]
            for name, ranges in json.loads(text).items()
        }
    except (AttributeError, RecursionError, TypeError, ValueError):
        return {}
