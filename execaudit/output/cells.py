"""Texts for the cells of tables, trees and counts. Pure."""

from __future__ import annotations

from execaudit.escaping import printable

UNKNOWN = "-"


def user_text(name: str | None, uid: int | None) -> str:
    """Returns a user's name, safe to show; if there is none, the uid."""
    if name is not None:
        return printable(name)
    return UNKNOWN if uid is None else str(uid)
