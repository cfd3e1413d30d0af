"""One pass for all rules finds what each rule alone finds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.hunt import paged, search, sieve
from execaudit.hunt.paged import PagedHunt
from execaudit.hunt.rule import Rule
from execaudit.hunt.search import Hunt
from execaudit.hunt.sieve import Sieve
from execaudit.query import find
from execaudit.query.local_history import LocalHistory
from tests.examples import examples
from tests.hunt.rules import rule_expressions
from tests.query.filter_model import filter_of, histories, stored

if TYPE_CHECKING:
    from execaudit.query.expression import Expression
    from tests.events import Batch

_wanted = st.fixed_dictionaries(
    {},
    optional={
        "since_ns": st.integers(0, 20),
        "args": st.just((b"a",)),
        "limit": st.integers(0, 6),
        "reverse": st.booleans(),
        "under": st.just((1,)),
    },
)


@examples(15)
@given(
    histories,
    st.lists(st.lists(rule_expressions, min_size=1, max_size=6), min_size=1, max_size=6),
    _wanted,
    st.integers(1, 30),
)
def test_all_rules_find_what_each_alone_finds(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[Batch],
    asked: list[list[Expression]],
    chosen: dict[str, Any],
    stride: int,
) -> None:
    """In the order of recording, of one exec in the order of the rules; with a limit the newest hits."""
    wanted = filter_of([chosen])
    with stored(tmp_path_factory.mktemp("history"), batches) as (connection, _):
        for expressions in asked:
            rules = [
                Rule(file=str(place), title="", expression=each) for place, each in enumerate(expressions)
            ]
            everything = replace(wanted, limit=None, reverse=False)
            by_rule = [
                {found.number for found in find.find(connection, replace(everything, where=each))}
                for each in expressions
            ]
            expected = [
                (found.number, str(place))
                for found in find.find(connection, everything)
                for place, numbers in enumerate(by_rule)
                if found.number in numbers
            ]
            if wanted.limit is not None:
                expected = expected[max(0, len(expected) - wanted.limit) :]
            if wanted.reverse:
                expected.reverse()
            with pytest.MonkeyPatch.context() as patched:
                # Little is read and remembered at a time.
                patched.setattr(search, "_STRIDE", stride)
                patched.setattr(search, "_PAGE", 2)
                patched.setattr(search, "_LOOKED_UP", 2)
                patched.setattr(search, "_MOST_REMEMBERED", 1)
                patched.setattr(sieve, "_MOST_REMEMBERED", 1)
                patched.setattr(sieve, "_PIECE", 3)
                patched.setattr(paged, "_TOGETHER", 2)
                hits = [*Hunt(connection, Sieve(rules), wanted).hits()]
                other = PagedHunt(LocalHistory(connection), Sieve(rules), wanted)

                assert hits == [*other.hits()]

            assert expected == [(hit.number, hit.rule.file) for hit in hits]
            if wanted.limit is None:
                assert len(list(find.find(connection, everything))) == other.looked_at
