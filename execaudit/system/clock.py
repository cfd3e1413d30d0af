"""Read the clocks. Pure modules do not call this: they are given times."""

from __future__ import annotations

import time
from pathlib import Path

from execaudit.event import Nanoseconds

# The two clocks cannot be read at the same instant. A smaller change than this is an error of measurement,
# not a step. Slewing (NTP) changes the speed of both clocks alike; only a step changes the offset.
_JITTER_NS = 1_000_000
# A process that must wait for a CPU reads slowly. Then it reads again, until one reading is fast enough.
_SAMPLES = 5
_MOST_SAMPLES = 100


def wall_ns() -> Nanoseconds:
    """Returns the wall clock, ns since 1970."""
    return Nanoseconds(time.time_ns())


def boot_ns() -> Nanoseconds:
    """Returns the boot clock, ns since the machine was started, time asleep included."""
    return Nanoseconds(time.clock_gettime_ns(time.CLOCK_BOOTTIME))


def boot_id() -> str:
    """Returns the kernel's boot id, a UUID."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def namespace_offset_s(proc: Path = Path("/proc")) -> int:
    """Returns how many seconds the boot clock of this process is ahead of the kernel's own.

    It is 0 outside of a time namespace (time_namespaces(7)). In one it may be another number, and then the
    times of the probe are not those of this process.
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
    """Returns wall clock minus boot clock in ns, from the fastest of some readings."""
    readings: list[tuple[int, int]] = []
    while len(readings) < _SAMPLES or (min(readings)[0] >= _JITTER_NS and len(readings) < _MOST_SAMPLES):
        before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        wall = time.time_ns()
        after = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        readings.append((after - before, wall - (before + after) // 2))
    return min(readings)[1]


class WallOffset:
    """Wall clock minus boot clock: one number, which changes only when the wall clock is stepped.

    So the boot clock of every stored exec can be computed exactly from its wall clock.
    """

    def __init__(self) -> None:
        self.ns = measure_offset()

    def check(self) -> int:
        """Reads the clocks again. Returns how many ns the wall clock was stepped, or 0."""
        now = measure_offset()
        step = now - self.ns
        if abs(step) < _JITTER_NS:
            return 0
        self.ns = now
        return step
