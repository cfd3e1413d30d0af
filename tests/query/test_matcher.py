"""What an expression is in Python says the same as what it is in SQLite."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.query import find, matcher, text_tests
from execaudit.query.expression import And, Finds, InNetwork, Like, Passes, Text, Under, Wild, every
from execaudit.query.filter import Filter
from tests.examples import examples
from tests.histories import make_event
from tests.query.expression_model import expressions, leaves
from tests.query.filter_model import histories, stored, wanted_filters

if TYPE_CHECKING:
    import sqlite3

    from execaudit.query.expression import Expression
    from tests.events import Batch


def numbers(connection: sqlite3.Connection, expression: Expression) -> list[int]:
    """Returns the numbers of the execs that SQLite finds."""
    return [each.number for each in find.find(connection, Filter(where=expression))]


@examples(15)
@given(
    histories,
    st.lists(
        leaves
        | expressions
        | wanted_filters.map(lambda wanted: replace(wanted, under=(), not_under=()).expression()),
        min_size=1,
        max_size=24,
    ),
)
def test_python_finds_what_sqlite_finds(
    tmp_path_factory: pytest.TempPathFactory, batches: list[Batch], asked: list[Expression]
) -> None:
    """Of each field and each option, in each way, in any combination."""
    with stored(tmp_path_factory.mktemp("history"), batches) as (connection, _):
        everything = {each.number: each for each in find.find(connection, Filter())}
        for expression in asked:
            if any(isinstance(node, Under) for node in every(expression)):
                continue
            check = matcher.compiled(expression)
            passed = [
                number
                for number, (_, event, parent) in everything.items()
                if check(event, None if parent is None else everything[parent].event)
            ]

            assert numbers(connection, expression) == passed, expression


def test_what_needs_a_history_is_refused() -> None:
    """An exec alone does not say from which it descends."""
    with pytest.raises(TypeError):
        matcher.compiled(And((Under((1,)),)))


MEGABYTE = 2**20


@pytest.mark.parametrize(
    ("pattern", "text", "passes"),
    [
        ((Wild.MANY, b"a", Wild.MANY, b"a", Wild.MANY, b"a", Wild.MANY, b"b"), b"a" * MEGABYTE, False),
        (
            (Wild.MANY, b"a", Wild.ONE, b"a", Wild.MANY, b"a", Wild.ONE, b"b", Wild.MANY),
            b"a" * MEGABYTE,
            False,
        ),
        ((Wild.MANY, b"B"), b"a" * MEGABYTE + b"b", True),
        ((b"a", Wild.ONE, b"b"), b"A\0B", True),
        ((b"a", Wild.ONE, b"b"), b"a\nb", True),
        ((b"a", Wild.ONE, b"b"), b"a\xffb", True),
        ((b"a", Wild.ONE, b"b"), "aéb".encode(), True),
        ((b"a", Wild.ONE, Wild.ONE, b"b"), "aéb".encode(), False),
        (("É".encode(),), "é".encode(), False),
        ((), b"", True),
        ((), b"a", False),
        ((Wild.ONE,), b"", False),
        ((b"ab", Wild.MANY, b"ba"), b"aba", False),
        ((b"a", Wild.ONE, Wild.MANY, Wild.ONE, b"a"), b"aba", False),
        ((b"a", Wild.ONE, Wild.MANY, Wild.ONE, b"a"), b"abba", True),
    ],
)
def test_a_pattern_of_any_text(pattern: tuple[bytes | Wild, ...], text: bytes, *, passes: bool) -> None:
    """Any byte is possible, and no pattern takes long."""
    assert passes == text_tests.passing(Like(pattern))(text)


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        (
            "10.0.0.0/8",
            [b"10.1.2.3", b"10.255.255.255"],
            [b"11.0.0.1", b"10.1.2", b"", b"a", b"::1", b"\xff"],
        ),
        ("2001:db8::/32", [b"2001:DB8::1"], [b"2001:db9::1", b"10.0.0.1", b"1" * 100]),
    ],
)
def test_networks(network: str, inside: list[bytes], outside: list[bytes]) -> None:
    """A text that is no address is in no network."""
    is_in = text_tests.passing(InNetwork(network))

    assert all(map(is_in, inside))
    assert not any(map(is_in, outside))


def test_a_regular_expression_has_a_bound_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check says so by an exception."""
    monkeypatch.setattr("execaudit.query.timelimit.SECONDS", 0.05)
    check = matcher.compiled(Passes(Text("line"), Finds("(a|aa)+$")))

    with pytest.raises(TimeoutError):
        check(make_event(b"a" * 100 + b"b"), None)
