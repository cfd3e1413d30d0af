"""Texts for the cells of tables, trees and counts. Pure."""

from __future__ import annotations

from execaudit.escaping import printable

UNKNOWN = "-"


def user_text(name: str | None, uid: int | None) -> str:
    """Returns a user's name, safe to show; if there is none, the uid."""
    if name is not None:
        return printable(name)
    return UNKNOWN if uid is None else str(uid)


LEVEL_WIDTH = 8


def level_text(level: str | None) -> str:
    """Returns the level of a detection rule, in LEVEL_WIDTH columns at most."""
    return UNKNOWN if level is None else _LEVELS.get(level, level)


_LEVELS = {"informational": "info"}
