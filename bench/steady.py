"""Whether a measure stays where it is, once it has got there. Pure."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def thirds(values: Sequence[float]) -> tuple[float, float, float]:
    """Returns the medians of the first, middle and last third of a series of at least three values."""
    size = len(values) // 3
    return (
        statistics.median(values[:size]),
        statistics.median(values[size : len(values) - size]),
        statistics.median(values[len(values) - size :]),
    )


def growth(values: Sequence[float]) -> float:
    """Returns by what part the last third's median is above that of the middle third.

    What is filled in the first third, such as a bounded cache, is no growth; what grows all the
    time is, a tenth in an hour as in a minute.
    """
    _, middle, last = thirds(values)
    return last / middle - 1
