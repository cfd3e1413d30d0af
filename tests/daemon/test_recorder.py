"""The daemon: what the probe gives reaches the sinks, whatever one of them does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from execaudit.capture.snapshot import Beginning, Present, Roots
from execaudit.daemon import recorder
from execaudit.daemon.log_file import LogFile
from execaudit.daemon.recorder import Totals
from execaudit.daemon.sinks.database import DatabaseSink
from execaudit.daemon.sinks.json_log import JsonLogSink
from execaudit.enums import GapReason, Kind
from execaudit.errors import StoreError
from execaudit.output import json_lines
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.system import clock
from execaudit.system.procfs import Running
from tests.daemon.recording import BOOT, KeepingSink, numbers, opened_store, record
from tests.fakes import FakeRing, FakeSource, exec_record
from tests.wirebytes import EXEC, EXEC_MORE, LAST, Facts, Head, ended, first, more

if TYPE_CHECKING:
    from pathlib import Path


def test_everything_reaches_every_sink_in_order() -> None:
    """Batches of the probe come to each sink once, and the totals say how many execs."""
    source = FakeSource([[exec_record(n) for n in range(1, 6)], [], [exec_record(6)]])
    one, other = KeepingSink(), KeepingSink()

    assert Totals(execs=6, missed=0) == record(source, one, other)
    assert [1, 2, 3, 4, 5, 6] == numbers(one.events) == numbers(other.events)
    assert source.detached


def running(pid: int, ppid: int) -> Running:
    """A process as a scan has it."""
    return Running(
        pid=pid, ppid=ppid, started_ticks=0, kernel_thread=False, read_from_ns=0, read_to_ns=0, uid=0, euid=0,
        gid=0, auid=None, session=None, tty=None, comm=b"sh", cgroup=b"/", exe=b"/bin/sh", inode=1, device=1,
        nlink=1, cwd=b"/", root=None, mnt_ns=None, argv=b"sh\0",
    )  # fmt: skip


def test_what_ran_before_comes_first_and_what_is_named_later_follows() -> None:
    """Rows of running programs reach the sinks; of one that may have ended, when it is named."""
    sink = KeepingSink()
    found = Present([running(70, 1)], {71: running(71, 70), 72: running(72, 70)})
    roots = Roots(found, Beginning("host", BOOT, lambda uid: f"u{uid}", 5, 0))
    child = first(EXEC, Head(9, 80, 80, flags=LAST), Facts(parent=(0, 71)), b"")
    end = ended(Head(boot_ns=11, pid=80), (9, 80), 256)
    totals = record(FakeSource([[child, end]]), sink, roots=roots)

    assert totals == Totals(execs=1, missed=0)
    assert {(event.pid, event.kind) for event in sink.events} == {
        (70, Kind.SNAPSHOT),
        (71, Kind.SNAPSHOT),
        (80, Kind.EXEC),
    }
    by_pid = {event.pid: event for event in sink.events}
    assert by_pid[80].parent == by_pid[71].key
    assert by_pid[71].parent == by_pid[70].key
    assert [(ended_.exec, ended_.status) for ended_ in sink.exits] == [(by_pid[80].key, 256)]


def test_what_was_captured_before_recording_began_is_recorded() -> None:
    """Execs of the time in which the running programs were read come first."""
    sink = KeepingSink()
    record(FakeSource([[exec_record(2)]]), sink, begun_with=[exec_record(1)])

    assert numbers(sink.events) == [1, 2]


def test_history_and_json_log_say_the_same(tmp_path: Path) -> None:
    """A line of the JSON log is the line that a query prints for the same exec, but for its end."""
    source = FakeSource([[exec_record(n, b"\xff\x1b", b"") for n in range(1, 50)]])
    with opened_store(tmp_path / "x.db") as store:
        log = JsonLogSink(LogFile(tmp_path / "x.jsonl"))
        record(source, DatabaseSink(store, host="host"), log)
        log.close()
    with open_history(tmp_path / "x.db") as connection:
        printed = "".join(json_lines.jsonl(found.event for found in find.find(connection, Filter())))

    assert printed.count("\n") == 49
    assert printed.replace('"ended":"unknown"', '"ended":null') == (tmp_path / "x.jsonl").read_text()


def test_a_clock_that_is_set_moves_later_execs_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a step of the wall clock, new execs have the new time, and every id stays what it was."""
    stepped_ns = 0
    real = clock.measure_offset
    monkeypatch.setattr(clock, "measure_offset", lambda: real() + stepped_ns)

    class SteppingSource(FakeSource):
        """The clock is set between its two batches."""

        def read(self) -> list[bytes]:
            nonlocal stepped_ns
            if self.looks:
                stepped_ns = -3_600_000_000_000
            return super().read()

    with opened_store(tmp_path / "x.db") as store:
        record(SteppingSource([[exec_record(1)], [exec_record(2)]]), DatabaseSink(store, host="host"))
    with open_history(tmp_path / "x.db") as connection:
        before, after = sorted((f.event for f in find.find(connection, Filter())), key=lambda e: e.boot_ns)

        gaps = find.gaps(connection, Filter())

    assert (1, 2) == (before.boot_ns, after.boot_ns)
    assert abs(after.time_ns - before.time_ns + 3_600_000_000_000) < 1_000_000_000
    # The step itself is in the history, between the two times that the clock had then.
    assert [(GapReason.CLOCK, 0)] == [(gap.reason, gap.count) for gap in gaps]
    # Two clocks are read one after the other.
    assert abs(gaps[0].to_ns - gaps[0].from_ns - 3_600_000_000_000) < 1_000_000_000
    assert abs(gaps[0].to_ns - time.time_ns()) < 60_000_000_000


def test_the_time_before_it_is_a_gap() -> None:
    """From when the last recorder stopped until this one was attached nobody can say what was missed."""
    sink = KeepingSink()
    stopped_ns = clock.wall_ns()
    record(FakeSource([[exec_record(1)]]), sink, stopped_ns=stopped_ns)

    [gap] = sink.gaps
    assert (GapReason.RECORDER_STOPPED, None) == (gap.reason, gap.count)
    assert stopped_ns == gap.from_ns <= gap.to_ns <= sink.seen_ns[0] + 1_000_000_000


def test_what_was_seen_is_said_when_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Now and then the sinks hear until when all is stored, for the gap that the next recorder may find."""
    monkeypatch.setattr(recorder, "_IDLE_NS", 1)
    monkeypatch.setattr(recorder, "_FLUSH_SECONDS", 0)
    sink = KeepingSink()
    record(FakeRing(1 << 20), sink, should_stop=lambda: len(sink.seen_ns) > 3)

    assert [] == sink.events
    assert sorted(sink.seen_ns) == sink.seen_ns
    assert sink.seen_ns[-1] > sink.seen_ns[0]


@pytest.mark.parametrize(
    "failure", [StoreError("cannot write: disk full: make room"), ZeroDivisionError("a bug")]
)
def test_one_failing_sink_does_not_keep_the_others_from_anything(failure: Exception) -> None:
    """The recorder stops with that failure, after the other sinks have all that was captured."""
    source = FakeSource([[exec_record(n)] for n in range(1, 30)])
    bad, good = KeepingSink(), KeepingSink()
    bad.failure = failure

    with pytest.raises(type(failure), match=str(failure)):
        record(source, bad, good)
    assert list(range(1, 30)) == numbers(good.events)
    assert source.detached


def test_a_record_that_is_none_is_left_out_alone() -> None:
    """What the probe cannot have sent is counted, in one gap for a look; all others are recorded."""
    nonsense = [
        b"nonsense",
        ended(Head(pid=2**32 - 1), (1, 1), 0),
        more(EXEC_MORE, Head(boot_ns=2**64 - 1), b"x"),
    ]
    sink = KeepingSink()
    with capture_logs() as said:
        totals = record(
            FakeSource([[exec_record(1), *nonsense, exec_record(2), *nonsense], [exec_record(3)]]), sink
        )

    assert Totals(execs=3, missed=2) == totals
    assert [1, 2, 3] == numbers(sink.events)
    assert [(GapReason.UNSTORABLE, 2, 2)] == [(gap.reason, gap.count, gap.exits) for gap in sink.gaps]
    (line,) = [line for line in said if line["event"] == "records_unreadable"]
    assert 6 == line["records"]
