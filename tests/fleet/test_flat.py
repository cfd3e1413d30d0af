"""Flat rows make the same events again, byte for byte, whatever was recorded."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given

from execaudit.central.numbering import Numbers, Shift, Shifts
from execaudit.central.tables import EXEC
from execaudit.forward.flat import FlatRows
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.query.find import pages
from execaudit.store.writer import Store
from tests.events import Batch, events, lineages
from tests.examples import examples
from tests.histories import HOST, begin_run, make_event, make_history

_SHIFTS = Shifts(exec=Numbers((Shift(3, 1000),)), run=Numbers((Shift(0, 7),)))
_SEQ, _RUN, _PARENT, _NEXT = (EXEC.names.index(name) for name in ("seq", "run", "parent", "replaced_by"))


@examples(60)
@given(lineages({HOST: events(), "db1": events(host="db1")}))
def test_numbers_are_moved_and_nothing_else(batches: list[Batch]) -> None:
    """After a file was put back: its new rows, and what refers to them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.db"
        with Store(path) as store:
            for batch in batches:
                begin_run(store, batch.host)
                store.append(batch.events, (), batch.exits)
        with open_history(path) as connection:
            found = [*pages(connection, Filter())]
            plain = [row for page in found for row in FlatRows(5).of(page)]
        with open_history(path) as connection:
            moved = [row for page in pages(connection, Filter()) for row in FlatRows(5, _SHIFTS).of(page)]

    expected = []
    for row in plain:
        values = [*row]
        for at in (_SEQ, _PARENT, _NEXT):
            if values[at] is not None and values[at] > 3:
                values[at] += 1000
        values[_RUN] += 7
        expected.append(tuple(values))
    assert expected == moved
    assert {len(EXEC.columns)} >= {len(row) for row in plain}


def test_what_makes_no_sense_is_told_apart() -> None:
    """Its number is noted, and the others are made."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.db"

        make_history(path, [make_event(b"a", seconds=n, pid=n + 1) for n in range(3)])
        with open_history(path) as connection:
            (page,) = pages(connection, Filter())
            rows = [(*row[:7], 99, *row[8:]) if row[0] == 2 else row for row in page.rows]
            nonsense: list[int] = []
            made = [*FlatRows(5).of(page._replace(rows=rows), nonsense)]

    assert ([1, 3], [2]) == ([row[_SEQ] for row in made], nonsense)
