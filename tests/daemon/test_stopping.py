"""How a recorder ends: with all that it has, within its time, or with the error that ended it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from execaudit.daemon import recorder, stopping
from execaudit.daemon.stopping import StuckError
from execaudit.enums import GapReason
from execaudit.system import clock
from tests.commands import PATIENCE
from tests.daemon.recording import KeepingSink, numbers, record
from tests.fakes import FakeSource, exec_record
from tests.wirebytes import Facts

if TYPE_CHECKING:
    from execaudit.daemon.backlog import Finished


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
            assert source.emptied.wait(PATIENCE)
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
