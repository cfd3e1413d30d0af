"""What the soak takes for growth."""

from __future__ import annotations

import pytest

from bench.steady import growth, thirds


def test_what_is_filled_at_first_is_no_growth() -> None:
    """A cache that is full after a third of the time stays as it is."""
    assert 0 == growth([10, 20, 30, *[40] * 6])


def test_what_grows_all_the_time_is_seen() -> None:
    """A leak of the same size in each moment: from a median of 13.5 to one of 17.5."""
    assert pytest.approx(4 / 13.5) == growth(range(8, 20))


def test_a_peak_is_no_growth() -> None:
    """One sample in the middle of a batch says nothing of what stays."""
    assert 0 == growth([40] * 8 + [90])


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1, 2, 3], (1, 2, 3)), ([1, 2, 3, 4], (1, 2.5, 4)), ([1, 1, 2, 2, 3, 3], (1, 2, 3))],
)
def test_a_series_has_three_thirds(values: list[float], expected: tuple[float, float, float]) -> None:
    """What does not divide by three belongs to the middle."""
    assert expected == thirds(values)
