"""The wall clock is set while it records.

No test runs beside these: all programs on the machine see another time, and a `configure` refuses to go on.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.commands import NO_FAILED, execaudit
from tests.live.load import Load, await_said, gaps_of
from tests.live.recording import recording

if TYPE_CHECKING:
    from pathlib import Path

    from tests.truth.programs import Programs


@pytest.mark.parametrize("step", [30, -30])
def test_stepped_clock_is_declared(tmp_path: Path, built: Programs, step: int) -> None:
    """And nothing is missing, before it, after it, or after it was put back."""

    def set_by(seconds: float) -> None:
        time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME) + seconds)

    load = Load(built)
    with recording(tmp_path, NO_FAILED) as recorded:
        load.blow(20)
        set_by(step)
        try:
            await_said(recorded, "clock_stepped")
            load.blow(20)
        finally:
            set_by(-step)
        await_said(recorded, "clock_stepped", 2)
        load.blow(20)
    gaps = [gap for gap in gaps_of(recorded) if gap["reason"] == "clock"]
    rows = recorded.rows()

    assert set() == load.missing(rows)
    assert [30, 30] == [round((gap["to"] - gap["from"]) / 1e9) for gap in gaps]
    assert [0, 0] == [gap["count"] for gap in gaps]
    assert execaudit("--db", recorded.db, "query", "--limit", "1").err.count(b"(clock)") == 2
