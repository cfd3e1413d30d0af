"""What the terminal can show, if the output is one."""

from __future__ import annotations

import os
import sys

_USUAL_WIDTH = 80
_DIGITS = 5


def width() -> int | None:
    """Returns the terminal's width, as $COLUMNS or the terminal says; None: the output is none."""
    # Not shutil.get_terminal_size: importing shutil takes 10 ms, for its archives.
    if not sys.stdout.isatty():
        return None
    given = os.environ.get("COLUMNS", "")
    if given.isascii() and given.isdigit() and len(given) <= _DIGITS and int(given):
        return int(given)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _USUAL_WIDTH
    except OSError:
        return _USUAL_WIDTH


def has_colour() -> bool:
    """Says whether the output is a terminal that may be coloured: see https://no-color.org."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
