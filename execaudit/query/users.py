"""Which user a filter means: the names of a history, and of this host."""

from __future__ import annotations

import pwd
from typing import TYPE_CHECKING

from execaudit.errors import FilterError
from execaudit.query.filter import UserMatch

if TYPE_CHECKING:
    import sqlite3

_LAST_UID = 2**32 - 1
_UID_DIGITS = 10


def user_match(connection: sqlite3.Connection, text: str, *, option: str = "--user") -> UserMatch:
    """Returns the user that a name or uid names, in this history or on this host.

    Raises FilterError, which names the option, for a name that is known in neither.
    """
    if text.isascii() and text.isdigit():
        # int() itself refuses very long ones.
        if len(text) > _UID_DIGITS or int(text) > _LAST_UID:
            raise FilterError(f"{option}: {text} is no uid", fix=f"they end at {_LAST_UID}")
        return UserMatch(None, int(text))
    try:
        uid = pwd.getpwnam(text).pw_uid
    except (KeyError, ValueError):
        uid = None
    if uid is None:
        name = text.encode("utf-8", "surrogateescape")
        if connection.execute("SELECT 1 FROM user WHERE v = ?", (name,)).fetchone() is None:
            raise FilterError(
                f"{option}: nobody is called {text!r}, in this history or on this host",
                fix="give a name or a uid",
            )
    return UserMatch(text, uid)
