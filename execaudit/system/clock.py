"""Read the clocks. Only the recorder's edge and the CLI call this."""

from __future__ import annotations

import time
from pathlib import Path

from execaudit.event import Nanoseconds

# The offset cannot be read at one instant: below this, a change is measurement, not a step.
# Slewing (NTP) moves both clocks alike; only a step changes the offset.
_JITTER_NS = 1_000_000
# A process that must wait for a CPU reads slowly: then more readings, until one is tight.
_SAMPLES = 5
_MOST_SAMPLES = 100


def wall_ns() -> Nanoseconds:
    """Returns the wall clock, ns since 1970."""
    return Nanoseconds(time.time_ns())


def boot_ns() -> Nanoseconds:
    """Returns the boot clock, ns since the machine was started, sleep counted."""
    return Nanoseconds(time.clock_gettime_ns(time.CLOCK_BOOTTIME))


def boot_id() -> str:
    """Returns the kernel's boot id, a UUID."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def namespace_offset_s(proc: Path = Path("/proc")) -> int:
    """Returns by how many seconds the boot clock that programs here are shown differs from the kernel's own.

    0 outside of a time namespace (time_namespaces(7)); within one, the probe's times are of another clock.
    """
    try:
        # `boottime 604800 0`: seconds, rounded down, and nanoseconds.
        lines = (proc / "self/timens_offsets").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0  # a kernel without time namespaces
    offsets = {name: (int(seconds), int(ns)) for name, seconds, ns in map(str.split, lines)}
    seconds, nanoseconds = offsets.get("boottime", (0, 0))
    return seconds or (1 if nanoseconds else 0)


def measure_offset() -> int:
    """Returns wall clock minus boot clock in ns, from the tightest of a few readings."""
    readings: list[tuple[int, int]] = []
    while len(readings) < _SAMPLES or (min(readings)[0] >= _JITTER_NS and len(readings) < _MOST_SAMPLES):
        before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        wall = time.time_ns()
        after = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        readings.append((after - before, wall - (before + after) // 2))
    return min(readings)[1]


class WallOffset:
    """The offset of the wall clock to the boot clock, which changes only when it is stepped.

    Keeping one number between steps makes the boot clock of every stored exec exact again.
    """

    def __init__(self) -> None:
        self.ns = measure_offset()

    def check(self) -> int:
        """Reads the clocks again. Returns by how many ns the wall clock was stepped, or 0."""
        now = measure_offset()
        step = now - self.ns
        if abs(step) < _JITTER_NS:
            return 0
        self.ns = now
        return step
