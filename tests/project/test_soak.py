"""How the soak says what is missing, and whose it was."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.losses import Missed, Truth, in_history, in_log, missing, placed
from execaudit.enums import GapReason
from execaudit.output.json_lines import json_line, json_text
from execaudit.output.record import gap_record
from tests.histories import make_event, make_exit, make_gap, make_history

if TYPE_CHECKING:
    from pathlib import Path

EVENTS = [make_event(b"noop", b"soak7x1-%d" % n, seconds=n, pid=n + 10) for n in range(3)]
GAPS = [
    replace(make_gap(1, 2, count=40, exits=3), uid=65_534),
    replace(make_gap(3, 4, count=2), uid=65_534),
    replace(make_gap(5, 6, count=None), reason=GapReason.RECORDER_STOPPED),
]


def test_gaps_are_told_by_reason_and_user(tmp_path: Path) -> None:
    """Those of the history, and those of the JSON log, which are others."""
    path, log = tmp_path / "history.db", tmp_path / "log.jsonl"
    make_history(path, EVENTS, GAPS, [make_exit(event.key, 900) for event in EVENTS])
    log.write_text(
        "".join(f"{line}\n" for line in [*map(json_line, EVENTS[1:]), json_text(gap_record(GAPS[1]))])
    )
    truth = Truth(started=Counter({"soak7x1": 3}))
    history, logged = in_history(path, "soak7x"), in_log(log, "soak7x")

    assert {
        ("ring_full", 65_534): Missed(2, 42, 3),
        ("recorder_stopped", None): Missed(1, 0, 0, 1),
    } == history.gaps
    assert {("ring_full", 65_534): Missed(1, 2, 0)} == logged.gaps
    assert (Counter(), Counter({"soak7x1": 1})) == (missing(truth, history), missing(truth, logged))
    assert [
        "  ring_full: 42 execs and 3 ends of uid 65534, in 2 gaps",
        "  recorder_stopped: 0 execs and 0 ends of no known user, in 1 gaps, 1 of them without a number",
    ] == list(placed(missing(truth, history), history))
    assert "  missing: 1 of soak7x1" == list(placed(missing(truth, logged), logged))[-1]
