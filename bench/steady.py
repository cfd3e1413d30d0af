"""Tell whether a measure grows after its first third. Pure."""

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
    """Returns how much larger the median of the last third is than that of the middle third, as a share.

    A bounded cache fills in the first third, so it does not count. Steady growth counts, in an hour as in a
    minute.
    """
    _, middle, last = thirds(values)
    return last / middle - 1
