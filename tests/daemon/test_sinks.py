"""The sinks: who gets execs, gaps and ends, and what of them is shown."""

from __future__ import annotations

import errno
import io
import json
import tracemalloc
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from execaudit.daemon.backlog import Finished
from execaudit.daemon.log_file import LogFile, Room, Rotation
from execaudit.daemon.sinks.database import DatabaseSink
from execaudit.daemon.sinks.json_log import JsonLogSink
from execaudit.daemon.sinks.terminal import TerminalSink
from execaudit.daemon.sinks.threaded import ThreadedSink
from execaudit.enums import Ended, Kind
from execaudit.event import End, Nanoseconds
from execaudit.output.record import gap_record, to_record
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.store.writer import Store
from tests.histories import HOST, begin_run, make_event, make_exit, make_gap

if TYPE_CHECKING:
    from pathlib import Path

RAN = make_event(b"init", pid=1, kind=Kind.SNAPSHOT)
EXEC = make_event(b"a", pid=2, seconds=1, parent=RAN.key)
GAP = make_gap(2, 3)
EXIT = make_exit(EXEC.key, 4)
ALL = Finished([RAN, EXEC], [GAP], [EXIT], Nanoseconds(1))


def test_the_history_gets_everything(tmp_path: Path) -> None:
    """Execs, gaps and ends are in the history when the sink returns."""
    path = tmp_path / "h.db"
    with Store(path) as store:
        begin_run(store)
        DatabaseSink(store, host=HOST).accept(ALL)

    with open_history(path) as connection:
        assert [End(Ended.UNKNOWN), End(Ended.EXITED, code=0, duration_ns=3_000_000_000)] == [
            found.event.end for found in find.find(connection, Filter())
        ]
        assert [GAP] == find.gaps(connection, Filter())


def test_the_log_has_a_line_for_each_exec(tmp_path: Path) -> None:
    """What ran already has a line too; an end has none, because no line is written twice."""
    path = tmp_path / "x.jsonl"
    sink = JsonLogSink(LogFile(path))
    sink.accept(ALL)
    sink.accept(Finished([], [], [EXIT], Nanoseconds(2)))
    sink.close()

    expected = [to_record(RAN), to_record(EXEC), gap_record(GAP)]
    assert expected == [json.loads(line) for line in path.read_text().splitlines()]


def test_the_terminal_shows_what_happens() -> None:
    """A header, once, then execs and gaps; neither what ran already nor ends."""
    file = io.BytesIO()
    sink = TerminalSink(file.write)
    sink.accept(ALL)
    sink.accept(Finished([], [], [EXIT], Nanoseconds(2)))
    header, row, gap = file.getvalue().decode().splitlines()

    assert ["ID", "PID", "USER", "RESULT", "COMMAND"] == header.split()[2:]
    assert "2" == row.split()[3]
    assert gap.startswith("gap: 7 execs")


def batch_of(uid: int, count: int, first: int = 0) -> Finished:
    """Returns a batch of somebody's failed execs, whose lines have 3 KB each."""
    events = [
        make_event(b"x" * 1000, pid=uid + n, uid=uid, account=uid, kind=Kind.FAILED, errno=2)
        for n in range(first, first + count)
    ]
    return Finished(events, [], [], Nanoseconds(1), HOST)


def test_a_log_at_its_limit_refuses_who_took_most(tmp_path: Path) -> None:
    """Others, and root, have their lines, and the log itself says whose are missing, and how many."""
    file = LogFile(tmp_path / "x.jsonl", Rotation(max_bytes=50_000, max_total=400_000, compress=False))
    sink = JsonLogSink(file, host=HOST)
    for uid in (1000, 0):
        sink.accept(batch_of(uid, 5))
    for _ in range(100):
        sink.accept(batch_of(65_534, 10))
    for uid in (1000, 0):
        sink.accept(batch_of(uid, 5, 5))
    sink.finish()
    sink.close()

    logs = list(tmp_path.iterdir())
    rows = [json.loads(line) for each in logs for line in each.read_text().splitlines()]
    counts = Counter(row["uid"] for row in rows if row["kind"] == "failed")
    missing = [(row["reason"], row["uid"], row["count"]) for row in rows if row["kind"] == "gap"]
    assert (10, 10) == (counts[1000], counts[0])
    assert {("store_full", 65_534)} == {each[:2] for each in missing}
    assert 1000 == counts[65_534] + sum(count for _, _, count in missing)
    assert 350_000 > sum(each.stat().st_size for each in logs) > 200_000


def test_a_batch_that_is_written_again_is_admitted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a full disk: its execs are neither charged nor counted twice."""
    file = LogFile(tmp_path / "x.jsonl")
    sink = JsonLogSink(file, host=HOST)
    monkeypatch.setattr(file, "room", lambda: Room(1.0, 0))
    batch = batch_of(1000, 5)
    with monkeypatch.context() as patched:

        def refuse(_lines: bytes) -> None:
            raise OSError(errno.ENOSPC, "full")

        patched.setattr(sink, "_write", refuse)
        for _ in range(3):
            with pytest.raises(OSError, match="full"):
                sink.accept(batch)
    sink.accept(batch)
    sink.close()

    [row] = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    assert ("gap", 5, 1000) == (row["kind"], row["count"], row["uid"])


def test_what_was_refused_last_is_said_at_the_end(tmp_path: Path) -> None:
    """By the thread that writes the log."""
    file = LogFile(tmp_path / "x.jsonl", Rotation(max_bytes=10_000, max_total=20_000, compress=False))
    sink = ThreadedSink(JsonLogSink(file, host=HOST), host=HOST, patient=True)
    for number in range(30):
        sink.accept(batch_of(65_534, 3, number))
    sink.finish()
    sink.close()

    rows = [json.loads(line) for each in tmp_path.iterdir() for line in each.read_text().splitlines()]
    assert 90 == sum(row.get("count", 1) for row in rows)
    assert "gap" in {row["kind"] for row in rows}


@pytest.mark.parametrize(("count", "size"), [(1, 4_000_000), (4, 1_000_000), (200, 20_000)])
def test_long_lines_are_not_all_made_at_once(tmp_path: Path, count: int, size: int) -> None:
    """What making them takes is bounded by the longest: a user chooses how long they are."""
    sink = JsonLogSink(LogFile(tmp_path / "x.jsonl"), host=HOST)
    events = [make_event(b"x" * size, pid=number) for number in range(1, count + 1)]
    batch = Finished(events, [], [], Nanoseconds(1))
    tracemalloc.start()
    try:
        sink.accept(batch)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    sink.close()

    rows = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    assert [to_record(event) for event in events] == rows
    assert most < 6.5 * size + 1_000_000
