"""The unit's CPUWeight=, as systemd passes it to the kernel: on a busy host, nothing is lost."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.commands import PATIENCE
from tests.live.load import Load, gaps_of
from tests.live.recording import recording

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live.recording import Recorded, Row
    from tests.truth.programs import Programs

_UNIT = Path(__file__).parents[2] / "execaudit.service"
# Each is as heavy as a service by default, and has two jobs that start programs.
_SERVICES = 8
# `make faults` has twenty times as many. With the default weight, a third of those would be lost.
_EXECS = int(os.environ.get("EXECAUDIT_TEST_WEIGHT_EXECS", "20000"))
_PROCESSORS = 2


class Controller(NamedTuple):
    """The cgroups that share processors."""

    top: Path
    file: str
    default: int
    """The weight of a group that says nothing: 100 for systemd."""

    @contextlib.contextmanager
    def group(self, weight: int) -> Iterator[Path]:
        """Makes a cgroup with a weight as a unit names it."""
        path = self.top / f"execaudit-test-{uuid.uuid4().hex}"
        path.mkdir()
        try:
            (path / self.file).write_text(str(weight * self.default // 100), encoding="ascii")
            yield path
        finally:
            _remove(path)


def _remove(group: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError):  # a process is not gone yet
            group.rmdir()
            return
        assert time.monotonic() < deadline, (group / "cgroup.procs").read_text()
        time.sleep(0.01)


@contextlib.contextmanager
def controller() -> Iterator[Controller]:
    """Yields the controller of this host, of version 1 or 2 (see systemd.resource-control(5))."""
    first = Path("/sys/fs/cgroup/cpu")
    if (first / "cpu.shares").exists():
        yield Controller(first, "cpu.shares", 1024)
        return
    top = Path("/sys/fs/cgroup")
    control = top / "cgroup.subtree_control"
    is_on = "cpu" in control.read_text().split()
    if not is_on:
        control.write_text("+cpu", encoding="ascii")
    try:
        yield Controller(top, "cpu.weight", 100)
    finally:
        if not is_on:
            control.write_text("-cpu", encoding="ascii")


def moved(pid: int, group: Path) -> None:
    """Moves a process into a cgroup, and to two processors for which all compete."""
    (group / "cgroup.procs").write_text(str(pid), encoding="ascii")
    chosen = sorted(os.sched_getaffinity(0))[:_PROCESSORS]
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), chosen)


def stored(recorded: Recorded, load: Load) -> list[Row]:
    """Returns of the load's execs what says which they are: 400 000 whole records would be large."""
    lines = "SELECT v FROM exec JOIN argv ON argv.id = argv_id WHERE instr(v, ?)"
    with contextlib.closing(sqlite3.connect(recorded.db)) as history:
        words = [line.decode().split("\0") for (line,) in history.execute(lines, (load.word.encode(),))]
    return [{"exe": load.program, "argv": argv} for argv in words if argv[0] == "noop"]


def test_nothing_is_lost_where_many_services_are_busy(tmp_path: Path, built: Programs) -> None:
    """What they start needs more of the recorder than a ninth of the processors would allow."""
    (weight,) = re.findall("^CPUWeight=([0-9]+)$", _UNIT.read_text(), re.MULTILINE)
    load = Load(built)
    with controller() as cpu, contextlib.ExitStack() as groups:
        ours = groups.enter_context(cpu.group(int(weight)))
        services = [groups.enter_context(cpu.group(100)) for _ in range(_SERVICES)]
        with recording(tmp_path) as recorded:
            moved(recorded.pid, ours)
            jobs = []
            for service in services * 2:
                jobs.append(load.start(_EXECS // _SERVICES // 2))
                moved(jobs[-1].pid, service)
            for job in jobs:
                job.communicate()
    assert recorded.status == 0, recorded.stderr()
    assert [0] * len(jobs) == [job.returncode for job in jobs]
    assert set() == load.missing(stored(recorded, load))
    assert [] == gaps_of(recorded)
