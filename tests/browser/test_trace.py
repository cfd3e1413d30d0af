"""A trace in Perfetto, as docs/exporting.md says: it is read without errors, and has all execs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.browser import perfetto
from tests.commands import execaudit

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

_RANGE = ("--since=2026-11-22 22:00", "--until=2026-11-23 06:00")
# Each slice with the process of its track.
_SLICES = """select slice.name, slice.category, slice.dur, process.pid, process.name
    from slice join thread_track on slice.track_id = thread_track.id join thread using (utid) join process using (upid)"""


def test_perfetto_shows_every_exec(browser: Browser, history: Path, tmp_path: Path) -> None:
    """Its parser finds nothing wrong, spans are as long as programs ran, and a click shows the record."""
    trace = tmp_path / "night.trace"
    assert 0 == execaudit("--db", history, "export", *_RANGE, "-o", trace).status
    records = execaudit("--db", history, "query", *_RANGE, "--format", "jsonl").rows()
    with perfetto.opened(browser, trace.read_bytes()) as ask:
        wrong = ask("select name, value from stats where value > 0 and severity != 'info'")
        slices = ask(f"{_SLICES} where slice.category != 'gap'")
        gaps = ask("select name, dur from slice where category = 'gap'")
        (tee,) = ask("select arg_set_id from slice where name = 'tee'")
        known = dict(ask(f"select key, display_value from args where arg_set_id = {tee[0]}"))

    assert [] == wrong
    assert sorted((row["pid"], row["duration_ns"]) for row in records if row["duration_ns"]) == sorted(
        (pid, length) for _, _, length, pid, _ in slices if length > 0
    )
    assert len(records) == len(slices)
    # What runs has no end, and what failed no length.
    assert {"exec", "snapshot"} == {kind for _, kind, length, *_ in slices if length < 0}
    assert {"failed"} == {kind for _, kind, length, *_ in slices if length == 0}
    assert ("find", "find") in {(name, process) for name, *_, process in slices}
    assert [["gap: ring_full", 2_500_000_000]] == gaps
    record = next(row for row in records if row["comm"] == "tee")
    assert [record["id"], *record["argv"]] == [known[f"args.{name}"] for name in ("id", "argv[0]", "argv[1]")]
    assert json.dumps(record["duration_ns"]) == known["args.duration_ns"]
