"""Measure what recording costs: a storm of execs with no recorder, with execaudit, and with its peers.

`sudo make bench`; BENCH_ROUNDS=1 is quicker. Each round runs all recorders one after the other, and every
second round in the reverse order, so that a noisy machine affects all of them. Each job of the storm has a
processor of its own: where the scheduler moves them about, rates differ by half between rounds. The table has
medians, and ratios to the storm without a recorder in the same round. A line on standard error names each
peer that is not installed.
"""

from __future__ import annotations

import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench import auditd, machine
from bench.subjects import AUDITD, installed

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from bench.subjects import Running

_CHECKOUT = Path(__file__).parents[1]
_TRUTH = _CHECKOUT / "tests" / "truth"
_JOBS, _EACH = 2, 10_000
_EXECS = _JOBS * _EACH
_BATCHES, _CALLS = 20, 100_000
# A recorder that has used almost no CPU for so long has nothing left to do.
_QUIET_SECONDS, _PATIENCE_SECONDS = 1.0, 120.0
_NONE = "no recorder"


class Storm(NamedTuple):
    """One storm."""

    seconds: float
    cpu_seconds: float
    """CPU time of the programs that it started and of those that started them, in the kernel too."""


class Measured(NamedTuple):
    """One recorder in one round; times are microseconds for each exec."""

    rate: float
    """Execs a second."""
    programs_us: float
    """CPU time of the storm itself. The difference to no recorder is the cost of the hooks."""
    process_us: float | None
    """CPU time of the recorder."""
    bpf_us: float | None
    """Run time of its BPF programs. It has a storm of its own, because measuring it takes time."""
    memory: machine.Memory | None
    bytes: dict[str, float]
    """Bytes on the disk for each exec, by kind."""
    lost: int | None
    """Execs of the storms that the recorder did not write."""
    declared: int | None
    """Execs that the recorder says it lost."""
    call_ns: float
    """How long a getppid() takes."""


class Bench:
    """Compiles the programs, and measures one recorder at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # A name of its own, because another storm may run on this machine.
        self._name = f"noop{os.getpid()}"
        self._storm, self._noop, self._getppid = (folder / name for name in ("storm", self._name, "getppid"))
        bare = ("-nostdlib", "-static")
        for program, source, flags in (
            (self._storm, _TRUTH / "storm.c", ()),
            (self._noop, _TRUTH / "noop.c", bare),
            (self._getppid, _CHECKOUT / "bench" / "getppid.c", ()),
        ):
            subprocess.run(["cc", "-O2", *flags, "-o", program, source], check=True)
        self._programs = machine.Programs()

    def blow(self) -> Storm:
        """Runs the storm."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        begin = time.monotonic()
        processors = sorted(os.sched_getaffinity(0))
        jobs = [
            subprocess.Popen(
                ["taskset", "--cpu-list", str(processors[number % len(processors)]), self._storm, self._noop, str(_EACH), f"{self._name}-{number}", "0"],
                stdout=subprocess.PIPE,
            )
            for number in range(_JOBS)
        ]  # fmt: skip
        started = sum(int(job.communicate()[0] or 0) for job in jobs)
        seconds = time.monotonic() - begin
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if started != _EXECS:
            sys.exit(f"the storm started {started} of {_EXECS}")
        return Storm(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    def measure(self, start: Callable[[Path], AbstractContextManager[Running]]) -> Measured:
        """Returns what one recorder costs."""
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            loaded = self._programs.ids()
            process_us = bpf_us = memory = None
            started = _EXECS
            with start(Path(name)) as running:
                ours = self._programs.ids() - loaded
                before = machine.cpu_seconds(*running.pids)
                storm = self.blow()
                if running.pids:
                    _wait_until_idle(running)
                    process_us = (machine.cpu_seconds(*running.pids) - before) / _EXECS * 1e6
                call_ns = float(subprocess.check_output([self._getppid, str(_BATCHES), str(_CALLS)]))
                if running.has_programs:
                    with self._programs.counted():
                        self.blow()
                        bpf_us = self._programs.seconds(ours) / _EXECS * 1e6
                    started += _EXECS
                    _wait_until_idle(running)
                if running.pids:
                    memory = machine.memory(running.pids[0])
            sizes = {kind: file.stat().st_size / started for kind, file in running.kept.items()}
            lost = None if running.recorded is None else started - running.recorded(self._name)
            return Measured(
                _EXECS / storm.seconds,
                storm.cpu_seconds / _EXECS * 1e6,
                process_us,
                bpf_us,
                memory,
                sizes,
                lost,
                running.declared(),
                call_ns,
            )


def _wait_until_idle(running: Running) -> None:
    """Waits until a recorder has nothing left to do: to empty its queue is a part of its cost."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    before = -1.0
    while (now := machine.cpu_seconds(*running.pids)) > before + 0.02:
        if time.monotonic() > deadline:
            sys.exit(f"a recorder is busy {_PATIENCE_SECONDS:.0f} s after the storm")
        before = now
        time.sleep(_QUIET_SECONDS)


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _spread(values: list[float | None], form: str) -> str:
    """Returns the median, and the least and the most if they are several."""
    known = [value for value in values if value is not None]
    middle = _cell(_median(values), form)
    return f"{middle} ({min(known):{form}} to {max(known):{form}})" if len(known) > 1 else middle


def _row(name: str, rounds: list[Measured], none: list[Measured]) -> str:
    """Returns a row of the table. Ratios and differences are within a round, so both sides had its noise."""
    pairs = list(zip(rounds, none, strict=True))
    is_none = rounds is none
    memory = [each.memory for each in rounds if each.memory]
    sizes = {
        kind: _median([each.bytes[kind] for each in rounds if kind in each.bytes])
        for kind in ("database", "log")
    }
    cells = [
        _spread([each.process_us for each in rounds], ".1f"),
        _spread([one.rate / other.rate for one, other in pairs], ".2f"),
        _cell(_median([each.rate for each in rounds]), ".0f"),
        _cell(_median([each.bpf_us for each in rounds]), ".1f"),
        _cell(None if is_none else _median([a.programs_us - b.programs_us for a, b in pairs]), "+.1f"),
        _cell(_median([each.resident / 1e6 for each in memory]), ".0f"),
        _cell(_median([each.anonymous / 1e6 for each in memory]), ".0f"),
        _cell(sizes["database"], ".0f"),
        _cell(sizes["log"], ".0f"),
        _cell(_total([each.lost for each in rounds]), "d"),
        _cell(_total([each.declared for each in rounds]), "d"),
        _cell(None if is_none else _median([a.call_ns - b.call_ns for a, b in pairs]), "+.0f"),
    ]
    return f"| {name} | {' | '.join(cells)} |"


def _total(values: list[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


_HEADER = """\
| | CPU µs: recorder | speed, of none | execs/s | CPU µs: its BPF | programs | memory MB | own | bytes: database | log | lost | said | ns a call |
|---|---|---|---|---|---|---|---|---|---|---|---|---|"""


def main() -> None:
    """Prints the table."""
    rounds = int(os.environ.get("BENCH_ROUNDS", "5"))
    subjects, missing = installed()
    results: dict[str, list[Measured]] = {name: [] for name in subjects}
    aside = auditd.set_aside() if AUDITD in subjects else contextlib.nullcontext()
    with aside, tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        bench.blow()  # warm
        for number in range(rounds):
            order = list(subjects.items())
            for subject, start in reversed(order) if number % 2 else order:
                print(f"round {number + 1} of {rounds}: {subject}", file=sys.stderr)
                results[subject].append(bench.measure(start))
    for line in missing:
        print(line, file=sys.stderr)
    print(f"{_JOBS} jobs, {_EACH} execs each, median of {rounds} rounds, {os.cpu_count()} CPUs\n")
    print(_HEADER)
    for subject, measured in results.items():
        print(_row(subject, measured, results[_NONE]))
    call_ns = _median([each.call_ns for each in results[_NONE]])
    print(f"\nWith no recorder a call of getppid takes {_cell(call_ns, '.0f')} ns.")


if __name__ == "__main__":
    main()
