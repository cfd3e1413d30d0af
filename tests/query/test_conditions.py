"""An expression finds in SQLite what it means in plain Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from execaudit.query import find
from execaudit.query.expression import And, Not, Or
from execaudit.query.filter import Filter
from tests.examples import examples
from tests.query.expression_model import expressions, leaves
from tests.query.filter_model import found, histories, reference, stored

if TYPE_CHECKING:
    import pytest

    from execaudit.query.expression import Expression
    from tests.events import Batch


@examples(60)
@given(histories, st.lists(leaves | expressions, min_size=1, max_size=20))
def test_an_expression_finds_what_it_means(
    tmp_path_factory: pytest.TempPathFactory, batches: list[Batch], asked: list[Expression]
) -> None:
    """Of each field, in each way, in any combination; and counted."""
    with stored(tmp_path_factory.mktemp("history"), batches) as (connection, everything):
        for expression in asked:
            wanted = Filter(where=expression)
            expected = reference(everything, wanted)

            assert expected == found(connection, wanted), expression
            assert len(expected) == find.count(connection, wanted)


@examples(30)
@given(histories, st.lists(expressions, min_size=1, max_size=10))
def test_not_is_the_exact_opposite(
    tmp_path_factory: pytest.TempPathFactory, batches: list[Batch], asked: list[Expression]
) -> None:
    """Each exec is wanted by an expression or by its opposite, also where fields are null."""
    with stored(tmp_path_factory.mktemp("history"), batches) as (connection, everything):
        for expression in asked:
            counts = [
                find.count(connection, Filter(where=each))
                for each in (expression, Not(expression), Or((expression, Not(expression))))
            ]
            assert [len(everything)] * 2 == [counts[0] + counts[1], counts[2]]
            assert find.count(connection, Filter(where=And((expression, Not(expression))))) == 0
