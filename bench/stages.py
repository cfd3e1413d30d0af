"""Measure the CPU time of each stage of a recorder, with the records of one storm.

`python -m bench.stages`, as root; `make bench` runs it. Each stage runs alone, with batches of the recorder's
size, and the best of some rounds counts. In a real storm the stages take longer, because recorder and storm
share the processors and their caches.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from execaudit.capture.assembler import Assembler, Machine
from execaudit.capture.probe import Probe
from execaudit.capture.probe_options import ProbeOptions
from execaudit.capture.wire import is_exit
from execaudit.event import ExecEvent, ExitEvent, Nanoseconds
from execaudit.output.json_lines import json_line
from execaudit.store.writer import Run, Store
from execaudit.system import clock

if TYPE_CHECKING:
    from collections.abc import Callable

_TRUTH = Path(__file__).parents[1] / "tests" / "truth"
_EXECS, _ROUNDS, _BATCH = 10_000, 7, 500
_HOUR_NS = 3_600_000_000_000


def _captured(folder: Path) -> tuple[list[bytes], float]:
    """Returns the records of a storm, and the CPU seconds that reading them took."""
    storm, noop = folder / "storm", folder / "noop"
    subprocess.run(["cc", "-O2", "-o", storm, _TRUTH / "storm.c"], check=True)
    subprocess.run(["cc", "-O2", "-nostdlib", "-static", "-o", noop, _TRUTH / "noop.c"], check=True)
    records: list[bytes] = []
    reading = 0.0
    with Probe(ProbeOptions(failed=False)) as probe:
        job = subprocess.Popen([storm, noop, str(_EXECS), "s", "0"], stdout=subprocess.DEVNULL)
        ended = False
        while not ended:
            ended = job.poll() is not None
            probe.wait(0.1)
            begin = time.process_time()
            records += probe.read()
            reading += time.process_time() - begin
    return records, reading


def _best(work: Callable[[], object]) -> float:
    """Returns the CPU seconds of the fastest round."""
    seconds = []
    for _ in range(_ROUNDS):
        begin = time.process_time()
        work()
        seconds.append(time.process_time() - begin)
    return min(seconds)


def _assembled(records: list[bytes]) -> tuple[list[ExecEvent], list[ExitEvent]]:
    origin = Machine("bench", clock.boot_id(), lambda _uid: "root", lambda _pid, _ppid: None)
    found = list(Assembler(origin).feed(records, now_ns=1, wall_offset_ns=clock.measure_offset()))
    execs = [each for each in found if isinstance(each, ExecEvent)]
    return execs, [each for each in found if isinstance(each, ExitEvent)]


def _stored(folder: Path, execs: list[ExecEvent], exits: list[ExitEvent]) -> float:
    """Returns the CPU seconds of the fastest round. Each round has new command lines, as a storm has."""
    path, best = folder / "stages.db", float("inf")
    with Store(path) as store:
        store.begin_run(Run(boot_id=clock.boot_id(), host="bench", version="0", started_ns=clock.wall_ns()))
        for number in range(_ROUNDS):
            mark = b"%d" % number

            def later(at: int, by: int = number * _HOUR_NS) -> Nanoseconds:
                return Nanoseconds(at + by)

            events = [
                event._replace(
                    boot_ns=later(event.boot_ns),
                    time_ns=later(event.time_ns),
                    argv=mark + event.argv,
                    argv_bytes=len(mark) + len(event.argv),
                )
                for event in execs
            ]
            ends = [
                end._replace(
                    exec=end.exec._replace(boot_ns=later(end.exec.boot_ns)), boot_ns=later(end.boot_ns)
                )
                for end in exits
            ]
            begin = time.process_time()
            for start in range(0, len(events), _BATCH):
                store.append(events[start : start + _BATCH], (), ends[start : start + _BATCH])
            best = min(best, time.process_time() - begin)
    return best


def main() -> None:
    """Prints a table: microseconds of CPU for each exec, its end included."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        records, reading = _captured(folder)
        execs, exits = _assembled(records)
        ended = sum(map(is_exit, records))
        rows = {
            "read from the ring, while it is filled": reading,
            "decode and assemble": _best(lambda: _assembled(records)),
            "JSON line": _best(lambda: [json_line(event) for event in execs]),
            "store": _stored(folder, execs, exits),
        }
    print(f"\nCPU µs for each of {len(execs)} execs ({ended} ends), each stage alone\n\n| | µs |\n|---|---|")
    for stage, seconds in rows.items():
        print(f"| {stage} | {seconds / len(execs) * 1e6:.1f} |")
    print(f"| all | {sum(rows.values()) / len(execs) * 1e6:.1f} |")


if __name__ == "__main__":
    main()
