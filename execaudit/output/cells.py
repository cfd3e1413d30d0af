"""What a cell shows in the tables, trees and counts for people. Pure."""

from __future__ import annotations

from execaudit.escaping import printable

UNKNOWN = "-"


def user_text(name: str | None, uid: int | None) -> str:
    """Returns a user's name, safe to show; without a name the uid."""
    if name is not None:
        return printable(name)
    return UNKNOWN if uid is None else str(uid)
