"""Relatives: who they are, in any history, and found by index alone."""

from __future__ import annotations

import atexit
import contextlib
import sqlite3
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import pytest
import sqlalchemy as sa
from hypothesis import example, given
from hypothesis import strategies as st

from execaudit.database import schema
from execaudit.query import lineage
from execaudit.query.lineage import Kin

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Row(NamedTuple):
    """What a history says of one exec; the first has number 1."""

    parent: int | None
    replaces: bool = False


@cache
def _empty() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    atexit.register(connection.close)
    engine = sa.create_engine("sqlite://", creator=lambda: connection, poolclass=sa.pool.StaticPool)
    schema.metadata.create_all(engine)
    return connection


@contextlib.contextmanager
def history(rows: Sequence[Row | None]) -> Iterator[sqlite3.Connection]:
    """Makes a history of these rows, until it is left; None is one that was lost."""
    connection = _empty()
    try:
        for number, row in enumerate(rows, 1):
            if row is not None:
                _insert(connection, number, row)
        yield connection
    finally:
        connection.rollback()


def _insert(connection: sqlite3.Connection, number: int, row: Row) -> None:
    connection.execute(
        "INSERT INTO exec (id, ts, clock_id, kind, pid, tid, argv_id, parent_id)"
        " VALUES (?, 0, 1, 0, 1, 1, 1, ?)",
        (number, row.parent),
    )
    if row.replaces and row.parent is not None:
        connection.execute(
            "INSERT OR IGNORE INTO exit (exec_id, duration_ns, replaced_by) VALUES (?, 0, ?)",
            (row.parent, number),
        )


# Parents that come later, or are missing, are those of a damaged history or a pruned one.
histories = st.lists(
    st.none() | st.builds(Row, st.none() | st.integers(1, 12), st.booleans()), min_size=1, max_size=12
)
numbers = st.lists(st.integers(1, 13), max_size=4, unique=True).map(sorted)


class Model:
    """The same answers, slowly."""

    def __init__(self, rows: list[Row | None]) -> None:
        self.rows = {number: row for number, row in enumerate(rows, 1) if row is not None}
        replaced: dict[int | None, int] = {}
        self.kin = {}
        for number, (parent, replaces) in self.rows.items():
            onward = replaces and parent is not None and replaced.setdefault(parent, number) == number
            sound = parent is not None and parent < number
            self.kin[number] = Kin(number, parent if sound else None, onward)

    def above(self, number: int) -> set[int]:
        """Returns an exec that is there, and its ancestors."""
        if number not in self.kin:
            return set()
        parent = self.kin[number].parent
        return {number} | (set() if parent is None else self.above(parent))

    def children(self, number: int) -> list[int]:
        """Returns an exec's children."""
        return [child.number for child in self.kin.values() if child.parent == number]

    def below(self, number: int) -> set[int]:
        """Returns an exec and its descendants, whether it is there or not."""
        return {number}.union(*(self.below(child) for child in self.children(number)))


@given(histories, numbers)
@example([Row(1)], [1])
@example([Row(2), Row(1)], [1, 2])
@example([None, Row(1, replaces=True)], [2])
def test_lineage_is_all_that_led_to_an_exec(rows: list[Row | None], asked: list[int]) -> None:
    """Each ancestor once, however many share it, in order; loops and missing parents end it."""
    model = Model(rows)
    expected = sorted(set().union(*(model.above(number) for number in asked)))
    with history(rows) as connection:
        found = list(lineage.lineage(connection, asked))

    assert [model.kin[number] for number in expected] == found


@given(histories, numbers, st.none() | st.integers(0, 5))
@example([Row(2), Row(1)], [1], None)
def test_descendants_are_all_that_came_of_an_exec(
    rows: list[Row | None], asked: list[int], newest: int | None
) -> None:
    """Each once, with those that were asked for; of too many the newest."""
    model = Model(rows)
    expected = sorted(set().union(*(model.below(number) for number in asked)))
    if newest is not None:
        expected = expected[max(0, len(expected) - newest) :]
    with history(rows) as connection:
        found = lineage.descendants(connection, asked, newest=newest)

    assert expected == found.tolist()


@given(histories, st.integers(1, 12), st.none() | st.integers(0, 5))
def test_children_are_listed_and_counted(rows: list[Row | None], number: int, most: int | None) -> None:
    """The first so many, and how many there are, up to a bound."""
    expected = Model(rows).children(number)
    with history(rows) as connection:
        found = lineage.children(connection, number, most=most)
        counts = [lineage.count_children(connection, number, most=bound) for bound in (2, 100)]

    assert expected[:most] == found
    assert [min(2, len(expected)), len(expected)] == counts


@given(histories, st.integers(1, 12), st.integers(0, 3))
def test_siblings_are_the_nearest(rows: list[Row | None], number: int, most: int) -> None:
    """As many on each side, in order, even if their parent is not in the history any more."""
    model = Model(rows)
    own = model.rows.get(number)
    like = [
        each
        for each, row in model.rows.items()
        if own and own.parent is not None and row.parent == own.parent
    ]
    before = [each for each in like if each < number]
    expected = before[max(0, len(before) - most) :] + [each for each in like if each > number][:most]
    with history(rows) as connection:
        found = lineage.siblings(connection, number, most=most)

    assert expected == found


@pytest.mark.parametrize(
    ("sql", "values"),
    [
        (lineage._LINEAGE, {"numbers": "[5]", "most": -1}),
        (lineage._DESCENDANTS, {"numbers": "[5]", "newest": -1}),
        (f"SELECT id {lineage._CHILDREN} ORDER BY id LIMIT 5", {"number": 5}),
        (f"SELECT count(*) {lineage._CHILDREN}", {"number": 5}),
        (lineage._SIBLINGS.format("<", "DESC"), {"number": 5, "most": 5}),
        (lineage._SIBLINGS.format(">", "ASC"), {"number": 5, "most": 5}),
    ],
    ids=["lineage", "descendants", "children", "count", "before", "after"],
)
def test_no_table_is_scanned(sql: str, values: dict[str, object]) -> None:
    """Whatever the size of the history, its rows are found by an index, and in their order."""
    with history([]) as connection:
        plan = [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]

    assert [step for step in plan if step.startswith("SEARCH")]
    assert not [step for step in plan if step.startswith("SCAN") and step.split()[1] in ("e", "exec", "x")]
    assert "SELECT id" not in sql[:9] or not [step for step in plan if "TEMP B-TREE" in step]


def test_long_lines_and_large_families() -> None:
    """Forty thousand generations are walked in both directions, and asked for all at once."""
    many = 40_000
    chain: list[Row | None] = [Row(number or None) for number in range(many)]
    with history(chain) as connection:
        assert many == sum(1 for _ in lineage.lineage(connection, [many]))
        assert many == sum(1 for _ in lineage.lineage(connection, range(1, many + 1)))
        assert many == len(lineage.descendants(connection, [1]))
