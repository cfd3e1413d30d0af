"""The daemon: what the probe gives reaches the sinks, whatever one of them does."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from execaudit.capture.assembler import Assembler, Machine
from execaudit.capture.probe import Losses
from execaudit.capture.snapshot import Beginning, Roots, Settled
from execaudit.capture.start import Begun
from execaudit.daemon import recorder, stopping
from execaudit.daemon.log_file import LogFile
from execaudit.daemon.losses import neighbours_joined
from execaudit.daemon.recorder import Recorder, Totals
from execaudit.daemon.sinks.database import DatabaseSink
from execaudit.daemon.sinks.json_log import JsonLogSink
from execaudit.daemon.stopping import StuckError
from execaudit.enums import GapReason, Kind
from execaudit.errors import StoreError
from execaudit.event import ExecEvent, ExitEvent, Gap, Nanoseconds
from execaudit.output import json_lines
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.find import Filter
from execaudit.store.writer import Run, Store
from execaudit.system import clock
from execaudit.system.procfs import Running
from tests.fakes import FakeRing, FakeSource, exec_record
from tests.wirebytes import EXEC, EXEC_MORE, LAST, Facts, Head, ended, first, more

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from execaudit.daemon.backlog import Finished
    from execaudit.daemon.sinks.sink import Sink

BOOT = "dd0b22f0-c730-46c7-8272-c5ebd89a5692"


class KeepingSink:
    """Keeps all in memory; can be made to wait, or to fail."""

    name = "memory"

    def __init__(self) -> None:
        self.events: list[ExecEvent] = []
        self.gaps: list[Gap] = []
        self.exits: list[ExitEvent] = []
        self.seen_ns: list[int] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.entered = threading.Event()
        self.failure: Exception | None = None

    def accept(self, batch: Finished) -> None:
        """Keeps a batch."""
        self.entered.set()
        self.go_on.wait(30)
        if self.failure is not None:
            raise self.failure
        self.events += batch.events
        self.gaps += batch.gaps
        self.exits += batch.exits
        self.seen_ns.append(batch.seen_ns)

    def waits(self) -> bool:
        """It keeps all at once."""
        return False

    def is_busy(self) -> bool:
        """It needs no call."""
        return False

    def finish(self) -> None:
        """All is kept."""

    def close(self) -> None:
        """Nothing to free."""


def record(
    source: FakeSource | FakeRing,
    *sinks: Sink,
    should_stop: Callable[[], bool] | None = None,
    begun_with: list[bytes] | None = None,
    roots: Roots | None = None,
    stopped_ns: Nanoseconds | None = None,
) -> Totals:
    """Records until told to stop, or until a source that can be is empty."""
    if should_stop is None:
        assert isinstance(source, FakeSource)
        should_stop = source.emptied.is_set
    if roots is None:
        roots = Roots(Settled([], {}), Beginning("host", BOOT, lambda uid: f"u{uid}", 1, 0))
    assembler = Assembler(Machine("host", BOOT, lambda uid: f"u{uid}", roots.key_of))
    begun = Begun(begun_with or [], roots, clock.wall_ns(), clock.wall_ns(), stopped_ns)
    return Recorder(source, assembler, sinks, host="host", begun=begun).run(should_stop)


@contextlib.contextmanager
def started(source: FakeRing, *sinks: Sink) -> Iterator[Future[Totals]]:
    """Records while the body runs; then the result is there."""
    stop = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        recording = executor.submit(record, source, *sinks, should_stop=stop.is_set)
        try:
            yield recording
        finally:
            stop.set()


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


def test_what_the_kernel_did_not_follow_is_a_gap_of_its_own() -> None:
    """Another reason than a full ring: a larger one would not help."""
    sink = KeepingSink()
    totals = record(FakeSource([[exec_record(1)]], losses=[2], lost_returns=3, skipped=(4, 5)), sink)

    assert totals == Totals(execs=1, missed=9)
    assert {(GapReason.RING_FULL, 2, 0), (GapReason.RECURSION, 7, 5)} == {
        (gap.reason, gap.count, gap.exits) for gap in sink.gaps
    }


class ForgetfulSource(FakeSource):
    """A kernel that does not tell one of its counters for a moment."""

    def losses(self) -> Losses:
        """Returns 5, then nothing, then 7 from there on."""
        return Losses(0, 0, 0, 0, skipped={1: 5, 2: 0}.get(self.looks, 7))


def test_a_counter_that_is_not_there_for_a_moment_makes_no_losses() -> None:
    """What was counted before it is not counted again after it; nothing is negative."""
    sink = KeepingSink()
    record(ForgetfulSource([[exec_record(1)], [exec_record(2)], [exec_record(3)]]), sink)

    assert [5, 2] == [gap.count for gap in sink.gaps]


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
    settled = Settled([running(70, 1)], {71: running(71, 70), 72: running(72, 70)})
    roots = Roots(settled, Beginning("host", BOOT, lambda uid: f"u{uid}", 5, 0))
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


def test_losses_from_the_first_moment_are_in_a_gap() -> None:
    """What the ring refused before the recorder looked for the first time is missed too."""
    sink = KeepingSink()
    source = FakeRing(0)
    source.emit(exec_record(1))
    record(source, sink, should_stop=lambda: True)

    assert [(gap.count, gap.exits) for gap in sink.gaps] == [(1, 0)]


def test_lost_ends_are_in_a_gap() -> None:
    """A refused end of a program is no missed exec, but it is not silent."""
    sink = KeepingSink()
    record(FakeSource([[]], lost_exits=[3]), sink)

    assert [(gap.count, gap.exits) for gap in sink.gaps] == [(0, 3)]


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


def test_losses_become_gaps_with_exact_counts() -> None:
    """What the ring refused is counted once, in gaps that lie in the time of recording."""
    source = FakeSource([[exec_record(1)], [], [exec_record(2)], []], losses=[0, 5, 0, 7])
    sink = KeepingSink()

    assert Totals(execs=2, missed=12) == record(source, sink)
    assert sum(gap.count or 0 for gap in sink.gaps) == 12
    assert {GapReason.RING_FULL} == {gap.reason for gap in sink.gaps}
    assert all(gap.from_ns <= gap.to_ns for gap in sink.gaps)


def test_a_slow_sink_does_not_stop_the_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a sink hangs, the probe is read until the queue is full, and nothing is lost."""
    size = len(exec_record(1))
    monkeypatch.setattr(recorder, "_QUEUE_BYTES", 20 * size)
    monkeypatch.setattr(recorder, "_FLUSH_SECONDS", 0.0)  # so the sink hangs at the first exec
    monkeypatch.setattr(recorder, "_FLUSH_SECONDS", 0)  # the first exec is in the sink, and hangs
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


def test_what_does_not_fit_is_counted_to_the_last_exec(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a sink hangs the ring fills; each exec is then in the history or in a gap's count."""
    size = len(exec_record(1000))
    monkeypatch.setattr(recorder, "_QUEUE_BYTES", 10 * size)
    monkeypatch.setattr(recorder, "_FLUSH_SECONDS", 0)
    ring = FakeRing(5 * size)
    sink = KeepingSink()
    sink.go_on.clear()
    with started(ring, sink) as recording:
        for number in range(1000, 1010):
            ring.emit(exec_record(number))
            assert ring.await_empty()
        for number in range(1010, 1200):
            ring.emit(exec_record(number))
        assert sink.events == []
        sink.go_on.set()
        assert ring.await_empty()
    totals = recording.result()

    assert ring.refused > 100
    assert Totals(execs=200 - ring.refused, missed=ring.refused) == totals
    assert len(set(numbers(sink.events))) == totals.execs
    assert sum(gap.count or 0 for gap in sink.gaps) == ring.refused


class PatientSource(FakeSource):
    """Notes how long it was to wait, and does not."""

    def __init__(self, batches: Iterable[list[bytes]]) -> None:
        super().__init__(batches)
        self.timeouts: list[float] = []

    def wait(self, timeout_s: float) -> None:
        """Notes it."""
        self.timeouts.append(timeout_s)
        super().wait(0)


def test_a_host_at_rest_is_looked_at_less_often() -> None:
    """Never so seldom that an exec is not stored within a second; at the first one it is as before."""
    source = PatientSource([[], [], [], [], [exec_record(1)], [], [exec_record(2)]])
    sink = KeepingSink()
    record(source, sink)

    assert [0.1, 0.2, 0.4, 0.5, 0.5, 0.1, 0.2, 0.1] == source.timeouts
    assert [1, 2] == numbers(sink.events)


def test_the_most_that_was_queued_is_known() -> None:
    """Also when all of it has long been decoded: who looks now and then sees no queue."""
    roots = Roots(Settled([], {}), Beginning("host", BOOT, lambda uid: f"u{uid}", 1, 0))
    first_ = exec_record(1)
    begun = Begun([first_], roots, clock.wall_ns(), clock.wall_ns())
    source = FakeSource([])
    recording = Recorder(
        source, Assembler(Machine("host", BOOT, str, roots.key_of)), [KeepingSink()], host="host", begun=begun
    )
    assert len(first_) == recording.health().queued_bytes
    recording.run(source.emptied.is_set)

    assert (0, len(first_)) == (recording.health().queued_bytes, recording.health().most_queued_bytes)


def test_a_full_queue_costs_no_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing can be queued, the ring, which has records and would not wait, is not asked."""
    monkeypatch.setattr(recorder, "_QUEUE_BYTES", 1)
    monkeypatch.setattr(recorder, "_FLUSH_SECONDS", 0)
    monkeypatch.setattr(recorder, "_POLL_SECONDS", 0.001)
    ring = FakeRing(1_000_000)
    sink = KeepingSink()
    sink.go_on.clear()
    waits = []

    def should_stop() -> bool:
        """Notes how often the ring was asked, at each turn in which it is full; then lets go."""
        if sink.entered.is_set() and ring._records:
            waits.append(ring.waits)
        if len(waits) < 20:
            ring.emit(exec_record(1000 + ring.waits))
            return False
        sink.go_on.set()
        return True

    record(ring, sink, should_stop=should_stop)

    # One more look may have filled the queue.
    assert len(set(waits[2:])) == 1


def test_waiting_in_the_queue_does_not_make_an_exec_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exec whose records came together is whole, though storing the first ones took long."""
    now_ns = 0
    monkeypatch.setattr(time, "monotonic_ns", lambda: now_ns)
    monkeypatch.setattr(recorder, "_FLUSH_SECONDS", 0)
    head = Head(boot_ns=5, tid=5, pid=5, total=4, argc=2)
    begin = first(EXEC, head, Facts(caller_tid=5, cut_from=4, cut_to=4), b"a\0")
    end = more(EXEC_MORE, head._replace(offset=2, flags=LAST, seq=1), b"b\0")
    source = FakeSource([[exec_record(1), begin], [exec_record(2)], [exec_record(3)], [end]])

    class SlowSink(KeepingSink):
        """Takes a minute for each batch, while the recorder reads on."""

        def accept(self, batch: Finished) -> None:
            nonlocal now_ns
            source.emptied.wait(30)
            now_ns += 60_000_000_000
            super().accept(batch)

    sink = SlowSink()
    record(source, sink)

    assert [1, 2, 3, 5] == numbers(sink.events)
    assert sink.events[-1].argv == b"a\0b\0"
    assert sink.events[-1].truncated is None


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


@pytest.mark.parametrize("broken", ["wait", "read", "losses", "detach"])
def test_a_broken_source_ends_the_recorder(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    """What the probe raises ends the recorder and its thread; what was captured before is stored."""
    source = FakeSource([[exec_record(1)], [exec_record(2)]])
    healthy = getattr(source, broken)

    def breaks(*arguments: float) -> object:
        if source.looks > 1 or broken == "detach":
            raise OSError(5, "Input/output error")
        return healthy(*arguments)

    monkeypatch.setattr(source, broken, breaks)
    sink = KeepingSink()

    with pytest.raises(OSError, match="Input/output error"):
        record(source, sink)
    assert [1] == numbers(sink.events)[:1]
    assert "store" not in {thread.name for thread in threading.enumerate()}


def test_a_stop_that_takes_too_long_only_counts_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """What still waits then is a gap, whose times and user are right."""
    monkeypatch.setattr(recorder, "_FLUSH_SECONDS", 0)
    source = FakeSource([[exec_record(n)] for n in range(1, 101)])
    late = threading.Event()
    monkeypatch.setattr(stopping.Deadline, "is_late", lambda _: late.is_set())

    class SlowSink(KeepingSink):
        """Is so slow that the first batch takes all the time of the stop."""

        def accept(self, batch: Finished) -> None:
            assert source.emptied.wait(30)
            late.set()
            super().accept(batch)

    sink = SlowSink()
    began = clock.wall_ns()
    totals = record(source, sink)

    assert 100 == totals.execs + totals.missed == len(sink.events) + sum(gap.count or 0 for gap in sink.gaps)
    assert {(GapReason.STORE_FULL, Facts().uid)} == {(gap.reason, gap.uid) for gap in sink.gaps}
    assert all(began <= gap.from_ns <= gap.to_ns <= clock.wall_ns() for gap in sink.gaps)


def test_a_stop_does_not_wait_for_ever_for_a_database_that_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, with what is lost, and leaves the thread behind."""
    monkeypatch.setattr(stopping, "LEAVE_SECONDS", 0.2)
    sink = KeepingSink()
    sink.go_on.clear()
    with pytest.raises(StuckError, match=r"^the stop took longer than .*look at the disk"):
        record(FakeSource([[exec_record(1)]]), sink)
    sink.go_on.set()


@pytest.mark.parametrize("failure", [ZeroDivisionError("a bug"), OSError(28, "No space left on device")])
def test_what_the_storing_thread_raises_ends_the_recorder(failure: Exception) -> None:
    """Neither a bug nor a full disk leaves a recorder that looks alive and stores nothing."""
    sink = KeepingSink()
    sink.failure = failure

    with pytest.raises(type(failure)):
        record(FakeSource([[exec_record(1)], [exec_record(2)]]), sink)


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


def test_neighbouring_gaps_of_a_flush_are_one() -> None:
    """One storm is one gap, its counts added up; others stay apart."""

    def gap(start: int, end: int, count: int | None) -> Gap:
        return Gap("host", Nanoseconds(start), Nanoseconds(end), GapReason.RING_FULL, count)

    assert [gap(1, 3, 7), gap(4, 5, 1)] == neighbours_joined([gap(1, 2, 3), gap(2, 3, 4), gap(4, 5, 1)])
    assert [gap(1, 3, None)] == neighbours_joined([gap(1, 2, 3), gap(2, 3, None)])


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
