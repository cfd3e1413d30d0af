"""Unsigned numbers of 64 bits are kept in columns of signed ones."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from hypothesis import example, given
from hypothesis import strategies as st

from execaudit.database.signed64 import signed, unsigned


@given(st.integers(0, 2**64 - 1))
@example(0)
@example(2**63 - 1)
@example(2**63)
@example(2**64 - 1)
def test_a_number_is_read_as_it_was_stored(number: int) -> None:
    """SQLite takes what is stored for it, and the number comes back."""
    with closing(sqlite3.connect(":memory:")) as connection:
        stored = connection.execute("SELECT ?", (signed(number),)).fetchone()[0]

    assert number == unsigned(stored)


def test_unknown_stays_unknown() -> None:
    """NULL is neither 0 nor anything else."""
    assert (None, None) == (signed(None), unsigned(None))
