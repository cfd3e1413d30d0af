"""Recorders that are killed or stopped under load: what is missing is declared."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import time
from itertools import pairwise
from typing import TYPE_CHECKING

from tests.commands import PATIENCE
from tests.live.kept import ask_time, counted, is_sound, lines_of
from tests.live.load import Load, await_said, gaps_of
from tests.live.recording import paused, recording

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.recording import Recorded

# `make faults` has more of them, and stops it for longer.
_KILLS = int(os.environ.get("EXECAUDIT_TEST_KILLS", "1"))
_STOPPED_SECONDS = float(os.environ.get("EXECAUDIT_TEST_STOPPED", "0"))
_SMALL_RING = 1 << 20  # of 2800 execs of the load


def await_another(recorded: Recorded, load: Load) -> None:
    """Returns when the recorder has stored one more command line of the load."""
    deadline = time.monotonic() + PATIENCE
    newest = "SELECT max(id) FROM argv WHERE instr(v, ?)", (load.word.encode(),)
    with contextlib.closing(sqlite3.connect(f"file:{recorded.db}?mode=ro", uri=True)) as connection:
        before = connection.execute(*newest).fetchone()
        while connection.execute(*newest).fetchone() == before:
            assert time.monotonic() < deadline, recorded.stderr()
            time.sleep(0.1)


def test_killed_recorders_leave_what_they_stored_and_the_next_declares_the_rest(
    tmp_path: Path, load: Load
) -> None:
    """At whatever moment; between the neighbours of what is missing lies a gap."""
    chance = random.Random(4)
    job = load.start(10_000_000)
    try:
        # The first and the last store something for sure; those between are killed at any moment.
        with recording(tmp_path) as recorded:
            await_another(recorded, load)
            os.kill(recorded.pid, signal.SIGKILL)
        for _ in range(_KILLS):
            with recording(tmp_path) as recorded:
                time.sleep(chance.uniform(0, 1.5))
                os.kill(recorded.pid, signal.SIGKILL)
        with recording(tmp_path) as recorded:
            await_another(recorded, load)
        assert job.poll() is None
    finally:
        job.kill()
        job.communicate()
    assert is_sound(recorded.db)
    rows = sorted(
        (int(row["argv"][1].rpartition("-")[2]), row["time"])
        for row in recorded.rows()
        if row["exe"] == load.program
    )
    gaps = [(ask_time(gap["from"]), ask_time(gap["to"])) for gap in gaps_of(recorded)]
    holes = [(before[1], after[1]) for before, after in pairwise(rows) if after[0] != before[0] + 1]
    assert len(rows) == len({number for number, _ in rows})
    # One that was killed before it stored anything is in the gap of the next one.
    assert holes
    # The time between the two that are there is a time of which nobody claims to know everything.
    assert [] == [hole for hole in holes if not any(low <= hole[1] and hole[0] <= high for low, high in gaps)]


def test_stopped_recorder_costs_what_its_ring_cannot_hold_and_says_how_much(
    tmp_path: Path, load: Load
) -> None:
    """It goes on where it was; what the kernel had to refuse meanwhile is counted, and lies in a gap."""
    with recording(tmp_path, "--ring-size", str(_SMALL_RING)) as recorded:
        load.blow(20)
        with paused(recorded):
            until = time.monotonic() + _STOPPED_SECONDS
            meanwhile = load.blow(5000)
            while time.monotonic() < until:
                meanwhile += load.blow(5000)
        await_said(recorded, "execs_missed")
        load.blow(20)
    assert recorded.status == 0, recorded.stderr()
    for missing, gaps in (
        (load.missing(recorded.rows()), gaps_of(recorded)),
        (load.missing(lines_of(recorded.json_log)), recorded.gaps()),
    ):
        assert missing
        assert missing < set(meanwhile)
        # Others start programs here as well, but not as many.
        assert 0 <= counted(gaps, "ring_full") - len(missing) < len(missing)
    assert is_sound(recorded.db)
