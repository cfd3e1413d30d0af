"""What a recorder writes into the JSON log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from execaudit.daemon.log_file import LogFile
from execaudit.daemon.sinks.json_log import JsonLogSink
from tests.daemon.recording import record
from tests.fakes import FakeSource, exec_record

if TYPE_CHECKING:
    from pathlib import Path


def test_a_line_that_was_half_written_is_ended(tmp_path: Path) -> None:
    """After a crash in the middle of a line, the next recorder's lines are whole."""
    log = tmp_path / "x.jsonl"
    log.write_bytes(b'{"id": "whole"}\n{"id": "ha')
    sink = JsonLogSink(LogFile(log))
    record(FakeSource([[exec_record(1)]]), sink)
    sink.close()
    lines = log.read_bytes().split(b"\n")

    assert [b'{"id": "whole"}', b'{"id": "ha', b""] == [lines[0], lines[1], lines[-1]]
    assert json.loads(lines[2])["argv"] == ["1"]


def test_gaps_are_lines_of_the_json_log(tmp_path: Path) -> None:
    """A reader of the log alone learns what was missed."""
    sink = JsonLogSink(LogFile(tmp_path / "x.jsonl"))
    record(FakeSource([[exec_record(1)]], losses=[3]), sink)
    sink.close()
    lines = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]

    assert [(None, "exec"), (3, "gap")] == [(line.get("count"), line["kind"]) for line in lines]


def test_the_json_log_is_not_for_everybody(tmp_path: Path) -> None:
    """Command lines hold secrets: others do not read the log."""
    LogFile(tmp_path / "x.jsonl").close()

    assert (tmp_path / "x.jsonl").stat().st_mode & 0o007 == 0
