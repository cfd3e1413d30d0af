"""Who is in a history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.database.id_list import json_ids

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

_NAMED = "SELECT DISTINCT l.uid FROM launch AS l JOIN user AS u ON u.id = l.user_id WHERE u.v = ? AND l.uid NOT NULL"


def has_user(connection: sqlite3.Connection, name: bytes) -> bool:
    """Says whether somebody in the history has this name."""
    return connection.execute("SELECT 1 FROM user WHERE v = ?", (name,)).fetchone() is not None


def uids_of(connection: sqlite3.Connection, name: bytes) -> set[int]:
    """Returns the uids that a name has in the history."""
    return {uid for (uid,) in connection.execute(_NAMED, (name,))}


def has_setuid(connection: sqlite3.Connection, uids: Iterable[int]) -> bool:
    """Says whether the history has programs that ran as one of the users, and were started by another."""
    sql = (
        "SELECT 1 FROM launch AS l WHERE l.euid <> l.uid"
        " AND l.euid IN (SELECT value FROM json_each(?)) LIMIT 1"
    )
    return connection.execute(sql, (json_ids(uids),)).fetchone() is not None
