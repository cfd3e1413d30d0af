"""Colours of a terminal. Pure."""

from __future__ import annotations

DIM, BOLD, RED, YELLOW = "\x1b[2m", "\x1b[1m", "\x1b[31m", "\x1b[33m"
STANDOUT = "\x1b[1;35m"
"""For a program that pretends to be another one."""
QR = "\x1b[97;40m"
"""Cameras want a dark code on a bright ground."""
PLAIN = "\x1b[0m"


def painted(text: str, colour: str) -> str:
    """Returns a text in a colour, if there are both."""
    return f"{colour}{text}{PLAIN}" if text and colour else text
