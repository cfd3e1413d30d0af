"""Which row ids the execs of a time have: what the rows of `seg` say, whatever the clock did."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from execaudit.store import inserts, interning
from execaudit.store.engine import driver_of
from execaudit.store.segments import Segment, Segments
from tests.examples import examples
from tests.histories import make_event
from tests.store.recording import child_of, recording_to, rows

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    import pytest
    import sqlalchemy as sa

# Where a segment begins, how long it takes, and how long the last one takes when it was put before.
_times = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)), max_size=12)


@examples(200)
@given(_times, st.booleans(), st.integers(-1, 50), st.integers(0, 20))
def test_all_segments_of_a_time_are_between(
    times: list[tuple[int, int]],
    twice: bool,  # noqa: FBT001  # drawn
    first: int,
    length: int,
) -> None:
    """None is left out; and where the clock only goes on, no other is between."""
    rows = [Segment(10 * n + 1, 10 * n + 10, start, start + took) for n, (start, took) in enumerate(times)]
    segments = Segments(rows[:-1])
    for row in rows[-1:]:
        if twice:
            segments.put(row._replace(id_hi=row.id_lo, ts_min=row.ts_max))
        segments.put(row)
    found = segments.between(first, first + length)
    wanted = [row for row in rows if row.ts_max >= first and row.ts_min <= first + length]

    if wanted:
        assert found is not None
        low, high = found
        assert low <= wanted[0].id_lo
        assert high is None or high >= wanted[-1].id_hi
        if all(one.ts_max <= other.ts_min for one, other in pairwise(rows)):
            assert (low, high) == (wanted[0].id_lo, None if wanted[-1] is rows[-1] else wanted[-1].id_hi)


def test_old_parents_cost_no_more_in_a_long_history(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer reads the segments once, not for each parent that it has forgotten."""
    asked: list[str] = []

    def watched(connection: sa.Connection) -> sqlite3.Connection:
        driver = driver_of(connection)
        driver.set_trace_callback(asked.append)
        return driver

    monkeypatch.setattr(inserts, "BATCH_EVENTS", 1)
    monkeypatch.setattr(inserts, "driver_of", watched)
    monkeypatch.setattr(interning, "_MEGABYTE", 1000)
    daemons = [make_event(b"d", seconds=n, pid=n + 1) for n in range(50)]
    with recording_to(path) as opened:
        opened.append(daemons)
        for n, daemon in enumerate(daemons):
            opened.append([child_of(daemon, 100 + n, pid=100 + n)])

    assert [(50 + n, n) for n in range(1, 51)] == rows(path, "SELECT id, parent_id FROM exec WHERE id > 50")
    assert [100] == [row[0] for row in rows(path, "SELECT count(*) FROM seg")]
    looked_up = [sql for sql in asked if "e.pid = " in sql]
    assert len(looked_up) >= 40
    assert [] == [sql for sql in looked_up if "seg" in sql]
    assert 1 == len([sql for sql in asked if "FROM seg" in sql])
