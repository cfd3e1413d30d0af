"""Which user a filter means: the names of a history, and of this host."""

from __future__ import annotations

import pwd
from typing import TYPE_CHECKING

from execaudit.errors import FilterError
from execaudit.query.filter import UserMatch

if TYPE_CHECKING:
    from execaudit.query.history import History

_LAST_UID = 2**32 - 1
_UID_DIGITS = 10


def user_match(history: History, text: str, *, option: str = "--user") -> UserMatch:
    """Returns the user that a name or uid names, in this history or on this host.

    Raises FilterError, which names the option, for a name that is known in neither.
    """
    if (number := _number(text, option)) is not None:
        return UserMatch(None, number)
    uid = _uid_here(text)
    if uid is None and not history.has_user(_name(text)):
        raise _unknown(text, option)
    return UserMatch(text, uid)


def uids(history: History, text: str, *, option: str) -> list[int]:
    """Returns the uids that a name has, in this history and on this host, or the uid itself.

    Raises FilterError, which names the option, for a name that is known in neither.
    """
    if (number := _number(text, option)) is not None:
        return [number]
    found = history.uids_of(_name(text))
    here = _uid_here(text)
    if here is not None:
        found.add(here)
    if not found:
        raise _unknown(text, option)
    return sorted(found)


def _name(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _number(text: str, option: str) -> int | None:
    if not (text.isascii() and text.isdigit()):
        return None
    # int() itself refuses very long ones.
    if len(text) > _UID_DIGITS or int(text) > _LAST_UID:
        raise FilterError(f"{option}: {text} is no uid", fix=f"they end at {_LAST_UID}")
    return int(text)


def _uid_here(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):
        return None


def _unknown(text: str, option: str) -> FilterError:
    return FilterError(
        f"{option}: nobody is called {text!r}, in this history or on this host", fix="give a name or a uid"
    )
