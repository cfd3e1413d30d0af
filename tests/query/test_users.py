"""Whom `--user` names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from execaudit.errors import FilterError
from execaudit.query import user_names
from execaudit.query.connection import open_history
from execaudit.query.filter import UserMatch
from execaudit.query.local_history import LocalHistory
from tests.histories import make_event, make_history

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", UserMatch(None, 0)),
        ("1000", UserMatch(None, 1000)),
        ("4294967295", UserMatch(None, 4294967295)),
        ("root", UserMatch("root", 0)),
        ("gone", UserMatch("gone", None)),
        ("g\udcffne", UserMatch("g\udcffne", None)),
    ],
)
def test_a_user_is_a_uid_or_a_name(tmp_path: Path, text: str, expected: UserMatch) -> None:
    """Digits are a uid; a name is one of this host, or one that only the history knows."""
    make_history(tmp_path / "h.db", [make_event(b"a", user="gone"), make_event(b"a", user="g\udcffne")])
    with open_history(tmp_path / "h.db") as connection:
        assert expected == user_names.user_match(LocalHistory(connection), text)


@pytest.mark.parametrize(
    "text", ["nobody-at-all", "", "-1", "1.5", "²", "4294967296", "9" * 5000, "a\0b", "Root"]
)
def test_an_unknown_user_is_refused(history: sqlite3.Connection, text: str) -> None:
    """Who is known nowhere, and a number that is no uid, is a mistake rather than an empty answer."""
    with pytest.raises(FilterError, match=r"^--user: [^\n]*$"):
        user_names.user_match(LocalHistory(history), text)
