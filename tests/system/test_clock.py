"""The offset of the wall clock: one number between steps, whatever reading the clocks costs."""

from __future__ import annotations

import itertools
import re
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from execaudit.system import clock
from execaudit.system.clock import WallOffset
from tests.commands import EXECAUDIT, PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MS = 1_000_000
_WALL = 1_795_370_919_000 * MS
# From a few nanoseconds to what a loaded machine makes of a system call.
quick = st.integers(0, 1000)
slow = st.integers(0, 50 * MS)


class FakeClocks:
    """Boot and wall clock of a machine on which each reading takes its time."""

    CLOCK_BOOTTIME = time.CLOCK_BOOTTIME

    def __init__(self, delays: Iterable[int]) -> None:
        self._delays: Iterator[int] = itertools.chain(delays, itertools.repeat(100))
        self._boot_ns = 1000
        self.offset_ns = _WALL

    def clock_gettime_ns(self, number: int) -> int:
        """Reads the boot clock."""
        assert number == self.CLOCK_BOOTTIME
        self._boot_ns += next(self._delays)
        return self._boot_ns

    def time_ns(self) -> int:
        """Reads the wall clock."""
        return self.clock_gettime_ns(self.CLOCK_BOOTTIME) + self.offset_ns


@given(st.lists(st.one_of(quick, slow), max_size=200), st.integers(1, 20))
@example([100, 10 * MS, 0] * 30, 1)
def test_slow_readings_are_no_steps(delays: list[int], checks: int) -> None:
    """However long the process is kept from its readings, a wall clock that nobody set is not stepped."""
    clocks = FakeClocks(delays)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(clock, "time", clocks)
        offset = WallOffset()
        first = offset.ns
        steps = [offset.check() for _ in range(checks)]

    assert not any(steps)
    assert first == offset.ns
    assert abs(first - clocks.offset_ns) < MS


@given(st.lists(st.integers(-(10**15), 10**15).filter(lambda step: abs(step) > MS), max_size=10))
def test_steps_are_found(steps: list[int]) -> None:
    """Each time the wall clock is set the step is told once, and the offset is the new one."""
    clocks = FakeClocks([])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(clock, "time", clocks)
        offset = WallOffset()
        for step in steps:
            clocks.offset_ns += step
            assert step == offset.check()
            assert offset.check() == 0

    assert offset.ns == clocks.offset_ns


@given(st.lists(st.integers(-MS, MS), max_size=50))
def test_small_steps_add_up(steps: list[int]) -> None:
    """Steps too small to be told from measurement do not take the offset away from the clock."""
    clocks = FakeClocks([])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(clock, "time", clocks)
        offset = WallOffset()
        for step in steps:
            clocks.offset_ns += step
            offset.check()
            assert abs(offset.ns - clocks.offset_ns) < MS


def test_the_machines_own_clocks_agree() -> None:
    """The offset joins the boot clock with the wall clock of this machine."""
    wall = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + WallOffset().ns

    assert abs(wall - clock.wall_ns()) < 1000 * MS


def test_the_boot_id_is_a_uuid() -> None:
    """The boot id is the kernel's, without a line end."""
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", clock.boot_id())


def test_recording_in_a_time_namespace_is_refused(tmp_path: Path) -> None:
    """Execs would be days off there, with other parents: a line says where to record instead."""
    database = tmp_path / "history.db"
    command = [
        "unshare",
        "--time",
        "--boottime",
        "604800",
        "--fork",
        *EXECAUDIT,
        "--db",
        str(database),
        "record",
    ]
    refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)

    assert refused.returncode == 5
    assert "604800 s ahead of the kernel's: record outside of it" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
