"""A sink with a thread of its own: nobody waits for it, however slow it is."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from execaudit.daemon.backlog import Finished
from execaudit.daemon.sinks import threaded
from execaudit.daemon.sinks.sink import Sink
from execaudit.daemon.sinks.threaded import ThreadedSink
from execaudit.enums import GapReason
from execaudit.errors import ExecauditError
from execaudit.event import Nanoseconds
from tests.histories import HOST, make_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from execaudit.event import ExecEvent, Gap

PATIENCE = 60


class StuckSink(Sink):
    """Writes nothing until it may."""

    name = "stuck"

    def __init__(self) -> None:
        self.may_write = threading.Event()
        self.entered = threading.Event()
        self.events: list[ExecEvent] = []
        self.gaps: list[Gap] = []
        self.is_closed = False

    def accept(self, batch: Finished) -> None:
        """Waits as a write to a full pipe does."""
        self.entered.set()
        assert self.may_write.wait(PATIENCE)
        self.events += batch.events
        self.gaps += batch.gaps

    def close(self) -> None:
        """Notes it."""
        self.is_closed = True


def batch(number: int) -> Finished:
    """Returns a batch of one exec with an argument of 1000 bytes."""
    return Finished(
        [make_event(b"x" * 1000, pid=number, seconds=number)], [], [], Nanoseconds(number * 10**9)
    )


def await_true(condition: Callable[[], bool]) -> None:
    """Returns when it holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_nobody_waits_for_a_sink_that_is_stuck() -> None:
    """What exceeds its memory is a gap of this sink, whose count is exact; then it goes on."""
    sink = StuckSink()
    shell = ThreadedSink(sink, host=HOST, patient=False, most_bytes=20_000)
    shell.accept(batch(1))
    assert sink.entered.wait(PATIENCE)
    for number in range(2, 101):  # in this thread: a wait would never end
        shell.accept(batch(number))
    assert [] == sink.events
    sink.may_write.set()
    shell.finish()
    shell.close()

    assert {GapReason.STORE_FULL} == {gap.reason for gap in sink.gaps}
    assert 100 == len(sink.events) + sum(gap.count or 0 for gap in sink.gaps)
    assert 5 < len(sink.events) < 30
    assert sink.is_closed


def test_a_stop_leaves_a_stuck_sink_behind_and_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread stays, so what it uses is not closed under it."""
    monkeypatch.setattr(threaded, "FINISH_SECONDS", 0.05)
    sink = StuckSink()
    shell = ThreadedSink(sink, host=HOST, patient=False)
    shell.accept(batch(1))
    assert sink.entered.wait(PATIENCE)
    shell.accept(batch(2))
    with pytest.raises(ExecauditError, match=r"^the stuck did not take .*: 2 execs are not in it: see"):
        shell.finish()
    shell.close()
    assert not sink.is_closed

    sink.may_write.set()
    await_true(lambda: not shell._thread.is_alive())
    assert [1] == [event.pid for event in sink.events]


def test_a_pipe_that_nobody_reads_does_not_keep_the_interpreter() -> None:
    """The thread writes past Python's buffers, whose locks would be missed at the end."""
    import subprocess  # noqa: PLC0415  # for this test alone
    import sys  # noqa: PLC0415

    program = """
import functools
from execaudit.daemon.sinks import threaded
from execaudit.daemon.sinks.threaded import ThreadedSink
from execaudit.errors import ExecauditError
from execaudit.daemon.sinks.json_log import JsonStreamSink
from execaudit.system.stream import write_all
from tests.daemon.test_threaded_sink import batch
threaded.FINISH_SECONDS = 0.2
shell = ThreadedSink(JsonStreamSink(functools.partial(write_all, 1)), host="host", patient=False)
for number in range(200):
    shell.accept(batch(number))
try:
    shell.finish()
except ExecauditError as exc:
    raise SystemExit(str(exc))
"""
    ours, theirs = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            stdout=theirs,
            stderr=subprocess.PIPE,
            check=False,
            timeout=PATIENCE,
        )
    finally:
        os.close(ours)
        os.close(theirs)

    assert 1 == done.returncode
    assert b"execs are not in it" in done.stderr
    assert b"Fatal" not in done.stderr
