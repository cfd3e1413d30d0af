"""The probe itself, in this process: what it is told cannot all be said on a command line."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from execaudit.capture.assembler import Assembler, Machine
from execaudit.capture.probe import Probe
from execaudit.capture.probe_options import ProbeKind, ProbeOptions
from execaudit.event import ExecEvent, ExitEvent
from tests.kernels.inside.calls import in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WITH_TRACEPOINT = ProbeOptions(ProbeKind.KPROBE)
ALONE = ProbeOptions(ProbeKind.KPROBE, raw_tracepoints=False)


class Done(NamedTuple):
    """What a child did, and what was captured of it."""

    pid: int
    status: int
    execs: list[ExecEvent]
    exits: list[ExitEvent]


class Capture:
    """A probe, and what it captured so far."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self._assembler = Assembler(Machine("host", "0" * 32, lambda _uid: None, lambda _pid, _since: None))

    def take(self) -> tuple[list[ExecEvent], list[ExitEvent]]:
        """Returns what came since it was called last."""
        execs: list[ExecEvent] = []
        exits: list[ExitEvent] = []
        while records := self.probe.read():
            for event in self._assembler.feed(records, now_ns=time.monotonic_ns(), wall_offset_ns=0):
                if isinstance(event, ExecEvent):
                    execs.append(event)
                else:
                    exits.append(event)
        return execs, exits

    def of(self, act: Callable[[], object]) -> Done:
        """Has a child do it."""
        self.take()
        pid, status = in_child(act)
        execs, exits = self.take()
        return Done(
            pid, status, [one for one in execs if one.pid == pid], [one for one in exits if one.pid == pid]
        )


@contextlib.contextmanager
def capturing(options: ProbeOptions) -> Iterator[Capture]:
    """Captures while the body runs."""
    with Probe(options) as probe:
        yield Capture(probe)


@pytest.fixture(scope="module", params=[WITH_TRACEPOINT, ALONE], ids=["kprobe", "kprobe-only"])
def capture(request: pytest.FixtureRequest) -> Iterator[Capture]:
    """The probe with kprobes, beside raw tracepoints and alone: loading it is what takes the time."""
    with capturing(request.param) as running:
        yield running
