"""Read the kernel's own trace of every exec in tracefs, without BPF and without execaudit."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_INSTANCES = Path("/sys/kernel/tracing/instances")
_EVENTS = ("sched/sched_process_exec", "syscalls/sys_exit_execve", "syscalls/sys_exit_execveat")
_KB_PER_CPU = 16 * 1024
_EXEC = re.compile(r" (\d+)\.(\d{6}): sched_process_exec: filename=(.*) pid=(\d+) old_pid=\d+$")
_REFUSAL = re.compile(r" (\d+)\.(\d{6}): sys_execve(?:at)? -> 0xf")


class TracedExec(NamedTuple):
    """One line of the trace."""

    boot_us: int
    """CLOCK_BOOTTIME in microseconds."""
    filename: str
    pid: int


class KernelTrace:
    """An instance of the kernel's tracing, with a buffer of its own."""

    def __init__(self, instance: Path) -> None:
        self._instance = instance

    def write(self, name: str, text: str) -> None:
        """Writes into one of its control files."""
        (self._instance / name).write_text(text)

    def lost(self) -> int:
        """Returns how many events the kernel's trace lost. If any, it cannot be the truth."""
        stats = [path.read_text() for path in self._instance.glob("per_cpu/cpu*/stats")]
        return sum(int(n) for text in stats for n in re.findall(r"(?:overrun|dropped events): (\d+)", text))

    def execs(self) -> list[TracedExec]:
        """Returns the lines that were traced so far."""
        return [TracedExec(_boot_us(match), match[3], int(match[4])) for match in self._found(_EXEC)]

    def refusals(self) -> list[int]:
        """Returns the times of failed execs: CLOCK_BOOTTIME in microseconds."""
        return [_boot_us(match) for match in self._found(_REFUSAL)]

    def _found(self, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
        with (self._instance / "trace").open(errors="replace") as lines:
            yield from filter(None, map(pattern.search, lines))


def _boot_us(match: re.Match[str]) -> int:
    return int(match[1]) * 1_000_000 + int(match[2])


@contextlib.contextmanager
def all_execs() -> Iterator[KernelTrace]:
    """Traces all execs of the host, successful and failed, while the body runs."""
    instance = _INSTANCES / f"execaudit-test-{os.getpid()}"
    instance.mkdir()
    try:
        trace = KernelTrace(instance)
        trace.write("trace_clock", "boot")
        trace.write("buffer_size_kb", str(_KB_PER_CPU))
        for event in _EVENTS:
            if event.startswith("syscalls"):
                trace.write(f"events/{event}/filter", "ret < 0")
            trace.write(f"events/{event}/enable", "1")
        yield trace
    finally:
        # An instance that is tracing cannot be removed.
        (instance / "events/enable").write_text("0")
        instance.rmdir()
