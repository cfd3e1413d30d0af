"""The kprobe probe where the kernel does not follow all calls, and what it leaves behind.

Apart from the other tests: two such probes of one process would have events of the same name.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from execaudit.capture import kprobes, loader
from execaudit.capture.probe_options import ProbeKind, ProbeOptions
from tests.kernels.inside.calls import execve, execve_each, held_in_exec
from tests.kernels.inside.conftest import ALONE, WITH_TRACEPOINT, capturing

NOWHERE = b"/nonexistent/program"
TRUE = b"/bin/true"
EVENTS = Path("/sys/kernel/tracing/kprobe_events")


@pytest.mark.parametrize("options", [WITH_TRACEPOINT, ALONE], ids=["kprobe", "kprobe-only"])
def test_what_the_kernel_does_not_follow_is_counted(
    options: ProbeOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one call at a time that is followed to its return, and that one held fast, all others are losses.

    A success is none where the tracepoint has seen it.
    """
    monkeypatch.setattr(kprobes, "MOST_CALLS", 1)
    with capturing(options) as capture:
        with held_in_exec():
            refused = [capture.of(lambda: execve_each(NOWHERE, [b"1"], [b"2"])) for _ in range(3)]
            successful = capture.of(lambda: execve(TRUE, [b"3"]))
        seen = bool(successful.execs)

        assert [] == [row for done in refused for row in done.execs]
        assert options.raw_tracepoints == seen
        assert 6 + (not seen) == capture.probe.losses().returns
        # And when there is room again, all is as before.
        assert 1 == len(capture.of(lambda: execve(NOWHERE, [b"4"])).execs)
        assert 6 + (not seen) == capture.probe.losses().returns


def test_raw_tracepoints_that_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kprobes take over, and it is said."""
    monkeypatch.setattr(loader, "_HOOKS", ((b"no_such_tracepoint", b"on_exec"),))
    with capturing(ProbeOptions()) as capture:
        assert "kprobe-only" == capture.probe.uses
        assert 1 == len(capture.of(lambda: execve(TRUE, [b"1"])).execs)


def test_leaves_nothing_behind() -> None:
    """Neither a recorder that stops leaves kprobes in the kernel, nor one that was killed, for long."""
    killed = f"r_sys_execve_bcc_{2**22 + 1}"  # no pid is so large
    descriptor = os.open(EVENTS, os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, f"r1:kprobes/{killed} __x64_sys_execve\n".encode())
    os.close(descriptor)
    before = EVENTS.read_text()
    with capturing(ProbeOptions(ProbeKind.KPROBE)) as capture:
        meanwhile = EVENTS.read_text()

    assert killed in before
    assert killed not in meanwhile
    assert f"_bcc_{capture.probe.loader} " in meanwhile
    assert "" == EVENTS.read_text()
