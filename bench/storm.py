"""What recording costs: an exec storm with no recorder, with execaudit, and with a peer.

`sudo make bench`. Each round runs all of them, one after the other, so that a noisy machine
is noisy for all; the table gives medians and ratios. The peer is libbpf-tools' execsnoop,
which prints and forgets; without it (`apt-get install libbpf-tools`) its row is left out.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHECKOUT = Path(__file__).parents[1]
TRUTH = CHECKOUT / "tests" / "truth"
JOBS, EACH, ROUNDS = 2, 10_000, 5
PEER = shutil.which("execsnoop", path="/usr/sbin")
TICK = os.sysconf("SC_CLK_TCK")


def compiled(folder: Path) -> None:
    """Builds the storm, and the smallest program that there is."""
    subprocess.run(["cc", "-O2", "-o", folder / "storm", TRUTH / "storm.c"], check=True)
    subprocess.run(["cc", "-O2", "-nostdlib", "-static", "-o", folder / "noop", TRUTH / "noop.c"], check=True)


def blow(folder: Path) -> float:
    """Runs the storm. Returns execs a second."""
    begin = time.monotonic()
    jobs = [
        subprocess.Popen(
            [folder / "storm", folder / "noop", str(EACH), f"job{n}", "0"], stdout=subprocess.PIPE
        )
        for n in range(JOBS)
    ]
    started = sum(int(job.communicate()[0] or 0) for job in jobs)
    if started != JOBS * EACH:
        sys.exit(f"the storm started {started} of {JOBS * EACH}")
    return JOBS * EACH / (time.monotonic() - begin)


def cpu_seconds(pid: int) -> float:
    """Returns the CPU time of a process, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident_mb(pid: int) -> float:
    """Returns the resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


@contextlib.contextmanager
def nothing(_folder: Path) -> Iterator[int]:
    """No recorder at all."""
    yield os.getpid()


@contextlib.contextmanager
def running(command: list[str], folder: Path, ready: Callable[[str], bool]) -> Iterator[int]:
    """A recorder that has said that it is ready; stopped in order at the end."""
    said = folder / "said"
    with said.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            while not ready(said.read_text(errors="replace")):
                if process.poll() is not None:
                    sys.exit(f"{command[0]} ended: {said.read_text(errors='replace')}")
                # The peer's header stays in a buffer until enough execs have followed it.
                subprocess.run(["true"], check=True)
                time.sleep(0.05)
            yield process.pid
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


def execaudit(folder: Path, *options: str) -> contextlib.AbstractContextManager[int]:
    """Our recorder, into SQLite and a JSON log."""
    database = folder / f"{time.monotonic_ns()}.db"
    command = [sys.executable, "-m", "execaudit", "--db", str(database), "record", "--quiet"]
    log = str(folder / "log.jsonl")
    return running([*command, "--json-log", log, *options], folder, lambda said: "recording" in said)


def execsnoop(folder: Path) -> contextlib.AbstractContextManager[int]:
    """The peer, into a file."""
    return running([PEER or ""], folder, lambda said: "PCOMM" in said)


def main() -> None:
    """Prints the table."""
    subjects: dict[str, Callable[[Path], contextlib.AbstractContextManager[int]]] = {
        "no recorder": nothing,
        "execaudit": execaudit,
        "execaudit --no-failed": lambda folder: execaudit(folder, "--no-failed"),
    }
    if PEER:
        subjects["execsnoop (libbpf-tools)"] = execsnoop
    rates: dict[str, list[float]] = {name: [] for name in subjects}
    costs: dict[str, list[float]] = {name: [] for name in subjects}
    memory: dict[str, list[float]] = {name: [] for name in subjects}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compiled(folder)
        blow(folder)  # warm
        for _ in range(ROUNDS):
            for subject, start in subjects.items():
                with start(folder) as pid:
                    before = cpu_seconds(pid)
                    rates[subject].append(blow(folder))
                    time.sleep(1.0)  # what is still in its queue is its cost as well
                    costs[subject].append((cpu_seconds(pid) - before) / (JOBS * EACH) * 1e6)
                    memory[subject].append(resident_mb(pid))
    base = statistics.median(rates["no recorder"])
    print(f"{JOBS} jobs, {EACH} execs each, median of {ROUNDS} rounds, {os.cpu_count()} CPUs")
    print(f"{'':26} {'execs/s':>8} {'of none':>8} {'CPU us/exec':>12} {'RSS MB':>7}")
    for subject in subjects:
        rate = statistics.median(rates[subject])
        row = f"{subject:26} {rate:8.0f} {rate / base:8.2f}"
        if subject != "no recorder":
            row += f" {statistics.median(costs[subject]):12.1f} {statistics.median(memory[subject]):7.0f}"
        print(row)


if __name__ == "__main__":
    main()
