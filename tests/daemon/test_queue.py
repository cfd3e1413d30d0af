"""What waits for a slow sink: bounded, counted, and cheap to wait for."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from execaudit.capture.assembler import Assembler, Machine
from execaudit.capture.snapshot import Beginning, Present, Roots
from execaudit.capture.start import Begun
from execaudit.daemon import recorder
from execaudit.daemon.recorder import Recorder, Totals
from execaudit.system import clock
from tests.commands import PATIENCE
from tests.daemon.recording import BOOT, KeepingSink, numbers, record, started
from tests.fakes import FakeRing, FakeSource, exec_record
from tests.wirebytes import EXEC, EXEC_MORE, LAST, Facts, Head, first, more

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

    from execaudit.daemon.backlog import Finished


def test_a_slow_sink_does_not_stop_the_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a sink hangs, the probe is read until the queue is full, and nothing is lost."""
    size = len(exec_record(1))
    monkeypatch.setattr(recorder, "_QUEUE_BYTES", 20 * size)
    monkeypatch.setattr(recorder, "_FLUSH_SECONDS", 0)  # the first exec is in the sink, and hangs
    source = FakeSource([[exec_record(n)] for n in range(1, 101)])
    sink = KeepingSink()
    sink.go_on.clear()
    done: list[Totals] = []
    thread = threading.Thread(target=lambda: done.append(record(source, sink)))
    thread.start()
    deadline = time.monotonic() + PATIENCE
    while source.looks < 20 and time.monotonic() < deadline:
        time.sleep(0.01)
    looked = source.looks
    sink.go_on.set()
    thread.join(PATIENCE)

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
    roots = Roots(Present([], {}), Beginning("host", BOOT, lambda uid: f"u{uid}", 1, 0))
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


class UntidySink(KeepingSink):
    """Has so many steps of work that can wait, and notes how many execs it had at each."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.left = steps
        self.tidied_at: list[int] = []
        self.is_done = threading.Event()

    def tidy(self) -> bool:
        """Does one of them."""
        self.tidied_at.append(len(self.events))
        self.left -= 1
        if self.left <= 0:
            self.is_done.set()
        return self.left > 0


def test_sinks_tidy_up_when_no_records_wait() -> None:
    """All that can wait is done, after the execs, though no more of them come."""
    ring, sink = FakeRing(100_000), UntidySink(5)
    for number in range(1, 4):
        ring.emit(exec_record(number))

    record(ring, sink, should_stop=lambda: sink.is_done.wait(0.01))

    assert [3] * 5 == sink.tidied_at[:5]


def test_sinks_do_not_tidy_up_while_records_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that wait come first, but not for ever: then there is a step after each batch."""
    monkeypatch.setattr(recorder, "_FLUSH_EVENTS", 1)
    source = FakeSource([[exec_record(number)] for number in range(1, 41)])

    class BusySink(UntidySink):
        """Is slower than the records come."""

        def accept(self, batch: Finished) -> None:
            assert source.emptied.wait(PATIENCE)
            super().accept(batch)

    patient = BusySink(10)
    record(source, patient)
    # Before the first exec is read, nothing waits.
    assert {0, 40} >= {*patient.tidied_at}

    monkeypatch.setattr(recorder, "_UNTIDY_SECONDS", 0.0)
    source = FakeSource([[exec_record(number)] for number in range(1, 41)])
    waited = BusySink(10)
    record(source, waited)
    assert [*range(1, 10)] == [count for count in waited.tidied_at if count][:9]


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
            source.emptied.wait(PATIENCE)
            now_ns += 60_000_000_000
            super().accept(batch)

    sink = SlowSink()
    record(source, sink)

    assert [1, 2, 3, 5] == numbers(sink.events)
    assert sink.events[-1].argv == b"a\0b\0"
    assert sink.events[-1].truncated is None
