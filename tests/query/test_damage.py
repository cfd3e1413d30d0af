"""Rows that make no sense are named as damage."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest

from execaudit.enums import Truncated
from execaudit.errors import DamagedStoreError
from execaudit.event import Hole
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from tests.histories import make_event, make_gap, make_history
from tests.query.filter_model import found

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM argv",
        "DELETE FROM clock",
        "UPDATE exec SET kind = 7",
        "UPDATE exec SET truncated = 7",
        "UPDATE argv_cut SET holes = '[['",
        "UPDATE argv_cut SET holes = '7'",
        "UPDATE argv_cut SET holes = '[[1, 2, 3]]'",
        "DELETE FROM argv_cut",
    ],
)
def test_an_exec_that_makes_no_sense_is_damage(tmp_path: Path, damage: str) -> None:
    """An exec of which a part is missing, or means nothing, is named, and is no traceback."""
    path = tmp_path / "h.db"
    make_history(path, [make_event(b"a", holes=(Hole(1, 5),), truncated=Truncated.LIMIT)])
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(damage)
    with (
        open_history(path) as connection,
        pytest.raises(DamagedStoreError, match=r"exec number 1 makes no sense[^\n]*keep a copy"),
    ):
        found(connection, Filter())


def test_a_gap_that_makes_no_sense_is_damage(tmp_path: Path) -> None:
    """A gap for a reason that there is not is no traceback."""
    path = tmp_path / "h.db"
    make_history(path, [make_event(b"a")], [make_gap(1, 2)])
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE gap SET reason = 'boredom'")
    with open_history(path) as connection, pytest.raises(DamagedStoreError, match="gap makes no sense"):
        find.gaps(connection, Filter())
