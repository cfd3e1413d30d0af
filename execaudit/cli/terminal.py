"""What the terminal can show, if the output is one."""

from __future__ import annotations

import os
import sys

_USUAL_WIDTH, _USUAL_HEIGHT = 80, 24
_DIGITS = 5


def width() -> int | None:
    """Returns the terminal's width, as $COLUMNS or the terminal says; None: the output is none."""
    # Not shutil.get_terminal_size: importing shutil takes 10 ms, for its archives.
    return _size(1, "COLUMNS", _USUAL_WIDTH, 0) if sys.stdout.isatty() else None


def height() -> int:
    """Returns the terminal's height, as $LINES or the terminal says."""
    return _size(1, "LINES", _USUAL_HEIGHT, 1)


def nearest_width() -> int:
    """Returns the width of the terminal, of the output or else of the user: the output may go to `less`."""
    number = next((number for number in (1, 2, 0) if os.isatty(number)), 1)
    return _size(number, "COLUMNS", _USUAL_WIDTH, 0)


def _size(number: int, variable: str, usual: int, place: int) -> int:
    given = os.environ.get(variable, "")
    if given.isascii() and given.isdigit() and len(given) <= _DIGITS and int(given):
        return int(given)
    try:
        return os.get_terminal_size(number)[place] or usual
    except OSError:
        return usual
