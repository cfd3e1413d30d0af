"""What a text takes on a terminal."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import wcswidth

from execaudit.output.widths import columns, cut, padded

shown = st.text(st.characters().filter(str.isprintable) | st.sampled_from("e\u0301漢\ufe0f❤a"))
"""What `text.printable` leaves as it is."""


@pytest.mark.parametrize(
    ("text", "width"), [("", 0), ("ls", 2), ("e\u0301", 1), ("漢", 2), ("\u0301", 0), ("❤\ufe0f", 2)]
)
def test_columns(text: str, width: int) -> None:
    """An accent that stands on another character takes none, a wide character two."""
    assert width == columns(text)
    assert width + 3 == len(padded(text, width + 3)) - len(text) + width


@given(shown, st.integers(0, 30), st.sampled_from(["…", "...", "+"]))
def test_a_cut_text_fits(text: str, width: int, mark: str) -> None:
    """And no more of it fitted; what fits is not cut."""
    result = cut(text, width, mark)

    assert wcswidth(result) <= max(width, len(mark))
    if wcswidth(text) <= width and len(text) <= 4 * width:
        assert text == result
    else:
        assert result.endswith(mark)
        kept = result.removesuffix(mark)
        assert text.startswith(kept)
        if len(kept) < min(len(text), 4 * width) and width >= len(mark):
            assert wcswidth(text[: len(kept) + 1]) > width - len(mark)


def test_ascii_needs_no_tables() -> None:
    """They take longer to load than most answers to be found."""
    program = (
        "import sys; from execaudit.output.widths import columns, cut, padded\n"
        "columns('a'), cut('a' * 90, 20, '...'), padded('a', 3)\n"
        "print('wcwidth' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "False\n" == done.stdout
