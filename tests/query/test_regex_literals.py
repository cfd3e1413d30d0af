"""Texts of a regular expression, without which it finds nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.errors import FilterError
from execaudit.query.regex_literals import literals
from execaudit.query.timelimit import searcher
from tests.examples import examples

_KNOWN = {
    "curl": [["curl"]],
    "curl .*(http|ftp)://": [["curl ", "://"]],
    "^wget|nc -l+ x$": [["wget"], ["nc -l", " x"]],
    r"a\.b\s+c": [["a.b", "c"]],
    "ab?c": [["a", "c"]],
    "ab+c": [["ab", "c"]],
    "ab*?c": [["a", "c"]],
    "[]a]b[^]]c": [["b", "c"]],
    "(a|b)c": [["c"]],
    "(?:a|b[)])c": [["c"]],
    "a|": [],
    "a|.": [],
    ".*": [],
    "": [],
    "(?i)curl": [],
    "(?:curl){e<=1}": [],
    "ab{0}c": [],
    r"\x41b": [],
    r"\p{Lu}b": [],
    r"\N{DIGIT ONE}b": [],
    "[[:alpha:]]b": [],
    r"[\x41]b": [],
    "é": [],
    "(a": [],
}


@pytest.mark.parametrize("regex", _KNOWN)
def test_texts_are_found_where_they_are_certain(regex: str) -> None:
    """And none where they are not."""
    assert _KNOWN[regex] == literals(regex)


_PIECES = st.sampled_from(
    [*"ab |()[]?*+.^$\\-", "(?:", "\\.", "\\d", "[ab]", "[^a]", "ab", "b+", "a|", "{2}", "(?i)", "\\b"]
)


@examples(2000)
@given(
    st.lists(_PIECES, max_size=8).map("".join),
    st.lists(st.sampled_from([*"abAB .-1"]), max_size=8).map("".join),
)
def test_what_an_expression_finds_has_its_texts(regex: str, text: str) -> None:
    """Of any expression and any text."""
    ways = literals(regex)
    try:
        is_found = searcher(regex)(text)
    except FilterError:
        return
    if ways and is_found:
        assert any(all(each in text for each in texts) for texts in ways)
