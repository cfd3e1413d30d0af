"""The kinds of rows that are sealed. Pure."""

from __future__ import annotations

from enum import IntEnum


class Stream(IntEnum):
    """A kind of rows. Its rows have numbers that grow in the order of recording."""

    EXEC = 1
    EXIT = 2
    RUN = 3
    GAP = 4
    STRAY_EXIT = 5
    RULE = 6
    HIT = 7
    """By the number of the exec: of one there may be several."""
    ARGV_GRAMS = 8
    CHANGE = 9
    ACT = 10


ENDS = tuple(f"end_{stream.name.lower()}" for stream in Stream)
"""The columns of `seal` with the last number of each stream, after the segment's last entry."""
