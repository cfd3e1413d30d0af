"""Run a recorder with a faked kernel, and a sink that keeps its batches."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from execaudit.capture.assembler import Assembler, Machine
from execaudit.capture.snapshot import Beginning, Present, Roots
from execaudit.capture.start import Begun
from execaudit.daemon.recorder import Recorder, Totals
from execaudit.daemon.sinks.sink import Sink
from execaudit.event import ExecEvent, ExitEvent, Gap, Nanoseconds
from execaudit.store.writer import Run, Store
from execaudit.system import clock
from tests.commands import PATIENCE
from tests.fakes import FakeRing, FakeSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from execaudit.daemon.backlog import Finished
    from execaudit.daemon.seals import Seals

BOOT = "dd0b22f0-c730-46c7-8272-c5ebd89a5692"


class KeepingSink(Sink):
    """A sink that keeps all batches in memory. A test can make it wait or fail."""

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
        self.go_on.wait(PATIENCE)
        if self.failure is not None:
            raise self.failure
        self.events += batch.events
        self.gaps += batch.gaps
        self.exits += batch.exits
        self.seen_ns.append(batch.seen_ns)


def record(  # noqa: PLR0913  # each is a part of a recorder
    source: FakeSource | FakeRing,
    *sinks: Sink,
    should_stop: Callable[[], bool] | None = None,
    begun_with: list[bytes] | None = None,
    roots: Roots | None = None,
    stopped_ns: Nanoseconds | None = None,
    seals: Seals | None = None,
) -> Totals:
    """Records until `should_stop` says so, or by default until the fake source is empty."""
    if should_stop is None:
        assert isinstance(source, FakeSource)
        should_stop = source.emptied.is_set
    if roots is None:
        roots = Roots(Present([], {}), Beginning("host", BOOT, lambda uid: f"u{uid}", 1, 0))
    assembler = Assembler(Machine("host", BOOT, lambda uid: f"u{uid}", roots.key_of))
    begun = Begun(begun_with or [], roots, clock.wall_ns(), clock.wall_ns(), stopped_ns)
    return Recorder(source, assembler, sinks, host="host", begun=begun, seals=seals).run(should_stop)


@contextlib.contextmanager
def started(source: FakeRing, *sinks: Sink) -> Iterator[Future[Totals]]:
    """Records while the body runs."""
    stop = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        recording = executor.submit(record, source, *sinks, should_stop=stop.is_set)
        try:
            yield recording
        finally:
            stop.set()


def numbers(events: Iterable[ExecEvent]) -> list[int]:
    """Returns the numbers of the fake execs."""
    return [event.pid for event in events]


@contextlib.contextmanager
def opened_store(path: Path) -> Iterator[Store]:
    """Opens a real history and begins a run."""
    with Store(path) as store:
        store.begin_run(Run(boot_id=BOOT, host="host", version="0", started_ns=Nanoseconds(1)))
        yield store
