"""The filter `under`: the descendants of an exec."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.store.writer import Store
from tests.events import Batch, with_ends
from tests.examples import examples
from tests.histories import begin_run, make_event, make_history
from tests.query.filter_model import histories, reference, some

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


@examples(12)
@given(histories, some(st.integers(1, 9)), st.sets(st.integers(0, 4)))
def test_descendants_that_come_later_are_found_too(
    tmp_path_factory: pytest.TempPathFactory, batches: list[Batch], under: tuple[int, ...], asked: set[int]
) -> None:
    """Asked again and again while it is recorded, each answer is right."""
    path = tmp_path_factory.mktemp("history") / "history.db"
    wanted = Filter(under=under)
    with Store(path) as opened, open_history(path) as connection:
        for number, batch in enumerate(batches):
            begin_run(opened, batch.host)
            opened.append(batch.events)
            if number in asked:
                assert count_under(batches[: number + 1], under) == find.count(connection, wanted)
        assert count_under(batches, under) == find.count(connection, wanted)


def count_under(batches: list[Batch], under: tuple[int, ...]) -> int:
    """Returns how many descendants there are."""
    return len(reference(with_ends(batches), Filter(under=under)))


def test_a_damaged_lineage_has_an_end(tmp_path: Path) -> None:
    """Execs that are made each other's ancestors are no endless search, and no wrong answer."""
    path = make_history(tmp_path / "h.db", [make_event(b"%d" % n, pid=n, seconds=n) for n in range(1, 5)])
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE exec SET parent_id = CASE id WHEN 1 THEN 4 ELSE id - 1 END")
    with open_history(path) as connection:
        assert [3, 4] == [each.number for each in find.find(connection, Filter(under=(2,)))]
        assert [2, 3, 4] == [each.number for each in find.find(connection, Filter(under=(1, 2)))]
