"""One place builds statements: they serve SQLite directly, and through SQLAlchemy, as any other database."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from execaudit.event import Nanoseconds
from execaudit.query import find, lineage, stats
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter, UserMatch
from execaudit.query.statements import Span, newest_statement, statement
from tests.examples import examples
from tests.families import make_family
from tests.query.filter_model import histories, stored, wanted_filters
from tests.query.test_argv_search import index, small
from tests.query.test_plans import ALONE, TIMES

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

    from tests.events import Batch


class _Rows:
    """What a statement found, as a cursor gives it."""

    def __init__(self, rows: Iterator[tuple[Any, ...]]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self._rows

    def fetchone(self) -> tuple[Any, ...] | None:
        return next(self._rows, None)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return list(self._rows)

    def close(self) -> None:
        """Ends nothing: the rows were all read."""


class ThroughText:
    """Runs what has named parameters as SQLAlchemy's text(); the rest is SQLite's own, and the driver's."""

    def __init__(self, connection: sa.Connection) -> None:
        self.texts: set[str] = set()
        self._connection = connection
        self._driver = cast("sqlite3.Connection", connection.connection.driver_connection)

    def execute(self, sql: str, parameters: Any = ()) -> _Rows | sqlite3.Cursor:  # noqa: ANN401  # sqlite3's
        """Runs a statement."""
        if not isinstance(parameters, dict):
            return self._driver.execute(sql, parameters)
        self.texts.add(sql)
        result = self._connection.execute(sa.text(sql), parameters)
        return _Rows(iter([tuple(row) for row in result] if result.returns_rows else []))

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # any of the driver's
        return getattr(self._driver, name)


@contextlib.contextmanager
def through_text(path: Path) -> Iterator[sqlite3.Connection]:
    """Opens a history with SQLAlchemy, read-only; it is what our functions take."""
    engine = sa.create_engine(f"sqlite:///file:{path}?mode=ro&uri=true")
    try:
        with engine.connect() as connection:
            yield cast("sqlite3.Connection", ThroughText(connection))
    finally:
        engine.dispose()


def answers(connection: sqlite3.Connection, wanted: Filter) -> list[object]:
    """Returns what all questions about what is wanted give."""
    found = list(find.find(connection, wanted))
    numbers = [each.number for each in found[:3]]
    return [
        found,
        find.count(connection, wanted),
        find.gaps(connection, wanted),
        stats.gather(connection, wanted, now_ns=100, top=3),
        stats.by_host(connection, wanted),
        find.fetch(connection, numbers),
        list(lineage.lineage(connection, numbers)),
        lineage.descendants(connection, numbers),
        [
            (
                find.locate(connection, each.event.key),
                lineage.children(connection, each.number, most=None),
                lineage.count_children(connection, each.number, most=2),
                lineage.siblings(connection, each.number, most=2),
            )
            for each in found[:3]
        ],
    ]


def test_every_filter_serves_both(tmp_path: Path) -> None:
    """Each way to filter, in any range of time, has the same answer through text()."""
    path = make_family(tmp_path / "history.db").path
    with open_history(path) as direct, through_text(path) as other:
        for wanted in [Filter(**alone, **time) for alone in ALONE for time in TIMES]:
            assert answers(direct, wanted) == answers(other, wanted)
        assert len(cast("ThroughText", other).texts) > len(ALONE) * len(TIMES)


@examples(15)
@given(histories, st.lists(wanted_filters, min_size=1, max_size=8), st.integers(0, 30))
def test_sqlalchemy_gives_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, batches: list[Batch], asked: list[Filter], steps: int
) -> None:
    """Whatever is asked, the same text and parameters find the same, with and without an index of lines."""
    folder = tmp_path_factory.mktemp("history")
    path = folder / "history.db"
    with small(), stored(folder, batches):
        index(path, steps)
        with open_history(path) as direct, through_text(path) as other:
            for wanted in asked:
                assert answers(direct, wanted) == answers(other, wanted)


def test_values_are_bound() -> None:
    """The text of a statement has none of the values that were asked for, its parameters have all."""
    number, name = 987_654_321, "zqx"
    word, glob = name.encode(), b"*zqx?"
    wanted = Filter(
        since_ns=Nanoseconds(number),
        until_ns=Nanoseconds(number + 1),
        pids=(number + 2,),
        ppids=(number + 3,),
        comms=(word, glob),
        exes=(glob,),
        filenames=(glob,),
        cwds=(b"zqx*",),
        args=(word, b"zqx y"),
        args_regex=(b"zqx$",),
        users=(UserMatch(name, number + 4), UserMatch(None, number + 5)),
        login_users=(UserMatch(name, number + 4), UserMatch(None, number + 5)),
        ttys=(word,),
        cgroups=(glob, b"zqx*"),
        containers=(name,),
        hosts=("zqx.example",),
    )
    for sql, parameters in (
        statement(wanted, Span(number + 6, number + 7), most=number + 8),
        newest_statement(wanted, Span(number + 6, number + 7), number + 8),
    ):
        assert not re.search(r"zqx|98765432|['\"]", sql)
        assert set(re.findall(r":(p\d+)", sql)) == set(parameters)
        for value in (
            word, glob, b"zqx*", b"zqx y", b"zqx$", name, "zqx.example", *range(number, number + 6)
        ):  # fmt: skip
            assert value in parameters.values()
