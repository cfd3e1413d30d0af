"""The daemon: what the probe gives reaches the sinks, whatever one of them does."""

from __future__ import annotations

import contextlib
import json
import threading
from typing import TYPE_CHECKING

import pytest

from execaudit import query, recorder, render
from execaudit.assemble import Assembler, Origin
from execaudit.errors import StoreError
from execaudit.event import ExecEvent, Gap, GapReason, Nanoseconds
from execaudit.query import Filter
from execaudit.reader import open_history
from execaudit.recorder import Recorder, Totals, merged
from execaudit.sinks import JsonLogSink, StoreSink, open_json_log
from execaudit.store import Run, Store
from execaudit.wire import WireError
from tests.fakes import FakeSource, exec_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from execaudit.sinks import Sink

BOOT = "dd0b22f0-c730-46c7-8272-c5ebd89a5692"


class KeepingSink:
    """Keeps all in memory; can be made to wait, or to fail."""

    name = "memory"

    def __init__(self) -> None:
        self.events: list[ExecEvent] = []
        self.gaps: list[Gap] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.failure: Exception | None = None

    def accept(self, events: Sequence[ExecEvent], gaps: Sequence[Gap]) -> None:
        """Keeps a batch."""
        self.go_on.wait(30)
        if self.failure is not None:
            raise self.failure
        self.events += events
        self.gaps += gaps

    def close(self) -> None:
        """Nothing to free."""


def record(source: FakeSource, *sinks: Sink) -> Totals:
    """Records until the source is empty."""
    assembler = Assembler(Origin("host", BOOT, lambda uid: f"u{uid}"))
    return Recorder(source, assembler, sinks, host="host").run(source.emptied.is_set)


def numbers(events: Iterable[ExecEvent]) -> list[int]:
    """Returns the fake execs' numbers."""
    return [event.pid for event in events]


@contextlib.contextmanager
def opened_store(path: Path) -> Iterator[Store]:
    """A real history of a run."""
    with Store(path) as store:
        store.begin_run(Run(boot_id=BOOT, host="host", version="0", started_ns=Nanoseconds(1)))
        yield store


def test_everything_reaches_every_sink_in_order() -> None:
    """Batches of the probe come to each sink once, and the totals say how many execs."""
    source = FakeSource([[exec_record(n) for n in range(1, 6)], [], [exec_record(6)]])
    one, other = KeepingSink(), KeepingSink()

    assert Totals(execs=6, missed=0) == record(source, one, other)
    assert [1, 2, 3, 4, 5, 6] == numbers(one.events) == numbers(other.events)
    assert source.detached


def test_history_and_json_log_say_the_same(tmp_path: Path) -> None:
    """A line of the JSON log is the line that a query prints for the same exec."""
    source = FakeSource([[exec_record(n, b"\xff\x1b", b"") for n in range(1, 50)]])
    with opened_store(tmp_path / "x.db") as store:
        log = JsonLogSink(open_json_log(tmp_path / "x.jsonl"))
        record(source, StoreSink(store), log)
        log.close()
    with open_history(tmp_path / "x.db") as connection:
        printed = "".join(render.jsonl(found.event for found in query.find(connection, Filter())))

    assert printed.count("\n") == 49
    assert printed == (tmp_path / "x.jsonl").read_text()


def test_losses_become_gaps_with_exact_counts() -> None:
    """What the ring refused is counted once, in gaps that lie in the time of recording."""
    source = FakeSource([[exec_record(1)], [], [exec_record(2)], []], losses=[0, 5, 0, 7])
    sink = KeepingSink()

    assert Totals(execs=2, missed=12) == record(source, sink)
    assert sum(gap.count or 0 for gap in sink.gaps) == 12
    assert {GapReason.RING_FULL} == {gap.reason for gap in sink.gaps}
    assert all(gap.from_ns <= gap.to_ns for gap in sink.gaps)


def test_losses_before_the_start_are_not_ours() -> None:
    """Counters that stand at something when recording begins make no gap."""
    source = FakeSource([[exec_record(1)]])
    source._lost = 99
    sink = KeepingSink()
    record(source, sink)

    assert sink.gaps == []


def test_a_slow_sink_does_not_stop_the_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a sink hangs, the probe is read until the queue is full, and nothing is lost."""
    size = len(exec_record(1))
    monkeypatch.setattr(recorder, "_QUEUE_BYTES", 20 * size)
    source = FakeSource([[exec_record(n)] for n in range(1, 101)])
    sink = KeepingSink()
    sink.go_on.clear()
    done: list[Totals] = []
    thread = threading.Thread(target=lambda: done.append(record(source, sink)))
    thread.start()
    for _ in range(500):
        if source.looks >= 20:
            break
        threading.Event().wait(0.01)
    looked = source.looks
    sink.go_on.set()
    thread.join(30)

    assert 20 <= looked < 100
    assert [Totals(execs=100, missed=0)] == done
    assert list(range(1, 101)) == numbers(sink.events)


def test_one_failing_sink_does_not_keep_the_others_from_anything() -> None:
    """The recorder stops with that failure, after the other sink has all that was captured."""
    source = FakeSource([[exec_record(n)] for n in range(1, 30)])
    bad, good = KeepingSink(), KeepingSink()
    bad.failure = StoreError("cannot write: disk full: make room")

    with pytest.raises(StoreError, match="disk full"):
        record(source, bad, good)
    assert list(range(1, len(good.events) + 1)) == numbers(good.events)
    assert len(good.events) == source.looks or not source._batches
    assert source.detached


@pytest.mark.parametrize("failure", [ZeroDivisionError("a bug"), OSError(28, "No space left on device")])
def test_what_the_storing_thread_raises_ends_the_recorder(failure: Exception) -> None:
    """Neither a bug nor a full disk leaves a recorder that looks alive and stores nothing."""
    sink = KeepingSink()
    sink.failure = failure

    with pytest.raises(type(failure)):
        record(FakeSource([[exec_record(1)], [exec_record(2)]]), sink)


def test_a_record_that_is_none_ends_the_recorder() -> None:
    """Bytes that the probe cannot have sent mean that it and the package do not fit."""
    with pytest.raises(WireError):
        record(FakeSource([[exec_record(1), b"nonsense"]]), KeepingSink())


def test_neighbouring_gaps_of_a_flush_are_one() -> None:
    """One storm is one gap, its counts added up; others stay apart."""

    def gap(start: int, end: int, count: int | None) -> Gap:
        return Gap("host", Nanoseconds(start), Nanoseconds(end), GapReason.RING_FULL, count)

    assert [gap(1, 3, 7), gap(4, 5, 1)] == merged([gap(1, 2, 3), gap(2, 3, 4), gap(4, 5, 1)])
    assert [gap(1, 3, None)] == merged([gap(1, 2, 3), gap(2, 3, None)])


def test_a_line_that_was_half_written_is_ended(tmp_path: Path) -> None:
    """After a crash in the middle of a line, the next recorder's lines are whole."""
    log = tmp_path / "x.jsonl"
    log.write_bytes(b'{"id": "whole"}\n{"id": "ha')
    sink = JsonLogSink(open_json_log(log))
    record(FakeSource([[exec_record(1)]]), sink)
    sink.close()
    lines = log.read_bytes().split(b"\n")

    assert [b'{"id": "whole"}', b'{"id": "ha', b""] == [lines[0], lines[1], lines[-1]]
    assert json.loads(lines[2])["argv"] == ["1"]


def test_gaps_are_lines_of_the_json_log(tmp_path: Path) -> None:
    """A reader of the log alone learns what was missed."""
    sink = JsonLogSink(open_json_log(tmp_path / "x.jsonl"))
    record(FakeSource([[exec_record(1)]], losses=[3]), sink)
    sink.close()
    lines = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]

    assert [(None, "exec"), (3, "gap")] == [(line.get("count"), line["kind"]) for line in lines]


def test_the_json_log_is_not_for_everybody(tmp_path: Path) -> None:
    """Command lines hold secrets: others do not read the log."""
    open_json_log(tmp_path / "x.jsonl").close()

    assert (tmp_path / "x.jsonl").stat().st_mode & 0o007 == 0
