"""Sizes as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.errors import FilterError
from execaudit.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0), ("4096", 4096), ("1B", 1), ("5kB", 5000), ("5K", 5120), ("5KiB", 5120), ("5 GB", 5 * 10**9),
        ("5gib", 5 * 2**30), ("2T", 2 * 2**40), (" 1MB ", 10**6),
    ],
)  # fmt: skip
def test_units(text: str, size: int) -> None:
    """Decimal with B, binary with iB or the letter alone; case does not matter."""
    assert size == parse_size(text)


@pytest.mark.parametrize(
    "text", ["", "GB", "-1", "1.5GB", "5 apples", "9" * 5000, "99999999999TB", "1\x1bGB"]
)
def test_what_is_no_size_is_refused_in_one_line(text: str) -> None:
    """With what to try, and nothing that a terminal would obey."""
    with pytest.raises(
        FilterError, match=r'^the size "[^\x1b\n]*" is (not understood|larger than any disk): try'
    ):
        parse_size(text)


@given(st.text(max_size=30))
def test_any_text_is_a_size_or_refused(text: str) -> None:
    """Nothing else comes out."""
    try:
        size = parse_size(text)
    except FilterError as exc:
        message: str | None = str(exc)
    else:
        message = None
        assert 0 <= size < 2**63

    assert "\n" not in (message or "")
