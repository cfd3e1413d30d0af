"""Which index SQLite uses for a page of execs, for one exec, and for descendants."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from execaudit.database import id_lookup
from execaudit.query import find
from execaudit.query.filter import Filter
from execaudit.query.statements import Span, descendants_statement, statement
from tests.histories import at, make_event
from tests.query.filter_model import found

if TYPE_CHECKING:
    import sqlite3


def plan(connection: sqlite3.Connection, wanted: Filter) -> str:
    """Returns how SQLite goes about a page of what is wanted."""
    find.prepare(connection, wanted)
    sql, parameters = statement(wanted, Span(1, 1000))
    return "\n".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters))


@pytest.mark.parametrize(
    ("wanted", "step"),
    [
        (Filter(comms=(b"ls",)), "SEARCH e USING INDEX ix_exec_comm (comm_id=?"),
        (Filter(comms=(b"l*",)), "SEARCH e USING INDEX ix_exec_comm (comm_id=?"),
        (Filter(comms=(b"ls",), reverse=True), "SEARCH e USING INDEX ix_exec_comm (comm_id=?"),
        (Filter(pids=(7,)), "SEARCH e USING INDEX ix_exec_pid (pid=?"),
        (Filter(pids=(7, 8)), "SEARCH e USING INDEX ix_exec_pid (pid=?"),
        (Filter(since_ns=at(9)), "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        (Filter(until_ns=at(9)), "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        (Filter(under=(1,)), "SEARCH e USING INTEGER PRIMARY KEY (rowid=?)"),
        (Filter(under=(1,), since_ns=at(9)), "SEARCH h USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        (
            Filter(since_ns=at(9), until_ns=at(20), args=(b"x",)),
            "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        ),
    ],
)
def test_an_index_is_used(history: sqlite3.Connection, wanted: Filter, step: str) -> None:
    """Names, pids and times are searched for, and the execs never read from end to end."""
    steps = plan(history, wanted)

    assert step in steps
    assert "SCAN e\n" not in f"{steps}\n"


def test_the_newest_are_found_without_reading_on(history: sqlite3.Connection) -> None:
    """A limit ends the search, so that the newest of many cost a fraction of them all."""
    steps = []
    history.set_progress_handler(lambda: steps.append(1), 10)
    assert len(found(history, Filter(args=(b"ls",)))) == 100
    for_all = len(steps)
    steps.clear()
    assert [990] == [event.pid for event in found(history, Filter(args=(b"ls",), limit=1, reverse=True))]

    assert len(steps) < for_all / 10


def test_an_exec_is_located_without_reading_the_others(history: sqlite3.Connection) -> None:
    """The pid is searched for among the few that the time leaves; so are ids that begin alike."""
    for sql, step in (
        (id_lookup.FIND_BETWEEN, "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        (id_lookup.FIND_EXEC, "SEARCH e USING INDEX ix_exec_pid (pid=? AND rowid>? AND rowid<?)"),
        (id_lookup.FIND_EXEC_WITHIN, "SEARCH e USING INDEX ix_exec_pid (pid=? AND rowid>? AND rowid<?)"),
        (id_lookup.FIND_FAILED, "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    ):
        parameters = {**id_lookup.parameters(make_event().key), "most": 9, "low": 1, "high": 9}
        assert step in [row[3] for row in history.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]


def test_descendants_are_found_by_the_index(history: sqlite3.Connection) -> None:
    """From parent to child by the index alone; only what is new is looked at one by one."""
    find.prepare(history, Filter(under=(7, 8)))
    steps = {}
    for known in (None, 990):
        sql, parameters = descendants_statement((7, 8), known=known, last=1000)
        steps[known] = [row[3] for row in history.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]

    from_parent = "SEARCH e USING COVERING INDEX ix_exec_parent (parent_id=? AND rowid>? AND rowid<?)"
    assert from_parent in steps[None]
    assert "SEARCH e USING COVERING INDEX ix_exec_parent (parent_id=? AND rowid<?)" in steps[None]
    assert from_parent in steps[990]
    assert "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in steps[990]
    assert not [step for each in steps.values() for step in each if step.startswith("SCAN e")]
    assert "SCAN e\n" not in f"{plan(history, Filter(under=(7, 8), comms=(b'ls',)))}\n"
