"""The totals of a whole history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.exec_id import ExecKey
from execaudit.query import find, summary
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from tests.histories import at, make_event, make_exit, make_gap, make_history
from tests.query.filter_model import found

if TYPE_CHECKING:
    from pathlib import Path


def test_the_summary_adds_up(tmp_path: Path) -> None:
    """Execs, times, gaps, what is missing, ends and runs of a history are as they were stored."""
    made = [make_event(b"a", seconds=5), make_event(b"b", seconds=2), make_event(b"c", seconds=9, host="db1")]
    gaps = [make_gap(1, 2, count=3, exits=5), make_gap(2, 3, count=None, exits=6)]
    exits = [make_exit(made[0].key, 6), make_exit(ExecKey(0, 1, 2), 6), make_exit(ExecKey(0, 1, 3), 6)]
    make_history(tmp_path / "h.db", made, gaps, exits)
    with open_history(tmp_path / "h.db") as connection:
        assert summary.Summary(
            3, at(2), at(9), gaps=2, missed=3, runs=2, exits=1, stray_exits=2, missed_exits=11
        ) == summary.summary(connection)
        assert find.last_number(connection) == 3


def test_an_empty_history_is_a_history(tmp_path: Path) -> None:
    """Before the first exec every question has an answer."""
    make_history(tmp_path / "h.db", [])
    with open_history(tmp_path / "h.db") as connection:
        assert summary.Summary(
            0, None, None, gaps=0, missed=0, runs=0, exits=0, stray_exits=0, missed_exits=0
        ) == summary.summary(connection)
        assert [] == found(connection, Filter(since_ns=at(0), limit=5))
        assert [] == found(connection, Filter(under=(1,)))
        assert find.last_number(connection) == 0
        assert find.locate(connection, make_event().key) is None
