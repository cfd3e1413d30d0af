"""Run an hour of mixed load under one recorder: every loss must be counted, and nothing may grow.

`sudo make soak`; SOAK_SECONDS=300 for five minutes. The load runs in turns: bursts of execs, long command
lines, new programs, execs that fail, and pauses. At the same time one reader queries the history, and a
hostile user makes noise (bench/hostile.py). The exit status is 1 when

- an exec of the load is missing in the history or in the JSON log, or is there twice, or its end is neither
  known nor counted in a gap;
- the history is larger than its limit by more than a quarter, and by what the load takes: that is root's,
  whose execs are never refused;
- the recorder's memory, resident or anonymous, has a median in the last third of the time that is more than
  3 % above that of the middle third; or more descriptors are open in the last third;
- the recorder takes more memory than the README says;
- a query fails, or the recorder does not stop in order.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench import hostile, machine
from bench.losses import CHECKOUT, Truth, execaudit, in_history, in_log, missing, placed
from bench.steady import growth, thirds

if TYPE_CHECKING:
    from collections.abc import Iterator

_TRUTH = CHECKOUT / "tests" / "truth"
_MOST_GROWTH = 0.03
_MOST_RESIDENT = 60_000_000
# The limit of the history. Load and hostile user reach it within an hour; nothing is deleted so early.
_LIMIT = 1_500_000_000
# About what an exec of the load takes in the history, beside the arguments of the long ones.
_EXEC_BYTES, _PADDING_BYTES = 250, 1000
# The history may exceed the limit by this before the recorder refuses execs of the user who has least.
_MOST_OF_LIMIT = 1.25
_WAL_BYTES = 100_000_000
_SAMPLE_SECONDS = 1.0
_READY_SECONDS = 60.0
# The execs of one turn. For bursts and long lines, each of two jobs starts so many, one after the other.
_BURST, _LONG, _PADDING, _NEW, _FAILED = 2000, 3, 200, 100, 300
_REST_SECONDS = 4.0


class Sample(NamedTuple):
    """The recorder at one moment, in bytes and numbers."""

    resident: int
    anonymous: int
    descriptors: int
    database: int
    """With its write-ahead log."""
    queued: int
    """The most bytes of records that waited for the decoder, by the metrics, which are written each 15 s."""


class Load:
    """Starts programs, in turns."""

    def __init__(self, folder: Path) -> None:
        # Every command line of the load has this text, and no other has it.
        self.mark = f"soak{os.getpid()}x"
        self.truth = Truth()
        self._folder = folder
        self._storm, self._noop = folder / "storm", folder / "noop"
        subprocess.run(["cc", "-O2", "-o", self._storm, _TRUTH / "storm.c"], check=True)
        subprocess.run(["cc", "-O2", "-nostdlib", "-static", "-o", self._noop, _TRUTH / "noop.c"], check=True)
        self._labels = self._long = 0

    def turn(self) -> None:
        """Does everything once."""
        self._start(_BURST)
        time.sleep(_REST_SECONDS)
        self._start(_LONG, padding=_PADDING)
        self._fail(_FAILED)
        self._start_new(_NEW)
        time.sleep(_REST_SECONDS)

    def stored_bytes(self) -> int:
        """Returns about how many bytes a history takes for what ran."""
        execs = sum(self.truth.started.values()) + sum(self.truth.failed.values())
        return execs * _EXEC_BYTES + self._long * _PADDING * _PADDING_BYTES

    def _label(self) -> str:
        self._labels += 1
        return f"{self.mark}{self._labels}"

    def _start(self, each: int, padding: int = 0) -> None:
        jobs = []
        for _ in range(2):
            label = self._label()
            self.truth.started[label] += each
            self._long += each if padding else 0
            command = (self._storm, self._noop, str(each), label, str(padding))
            jobs.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        if any(job.wait() for job in jobs):
            sys.exit("the load could not be started")

    def _start_new(self, count: int) -> None:
        """Starts programs whose files, folders and names are new to the recorder."""
        label = self._label()
        for number in range(count):
            folder = self._folder / f"{label}-{number}"
            folder.mkdir()
            program = folder / f"new{label[-6:]}{number}"
            # Another process copies it: a fork by one of our other threads would have the file open for a
            # moment, and a file that is open for writing cannot be executed (ETXTBSY).
            subprocess.run(["cp", self._noop, program.name], cwd=folder, check=True)
            subprocess.run(["noop", f"{label}-{number}"], executable=program, cwd=folder, check=True)
            shutil.rmtree(folder)
        self.truth.started[label] += count

    def _fail(self, count: int) -> None:
        label = self._label()
        for number in range(count):
            with contextlib.suppress(FileNotFoundError):
                os.posix_spawn(self._folder / "nosuch", ["noop", f"{label}-{number}"], {})
        self.truth.failed[label] += count


class Recorder:
    """The recorder, and a thread that takes samples of it."""

    def __init__(self, folder: Path) -> None:
        self.database, self.log = folder / "history.db", folder / "log.jsonl"
        self.samples: list[Sample] = []
        self._said, self._config, self._metrics = folder / "said", folder / "config.toml", folder / "x.prom"
        # No rotation, because the log is read as one file at the end.
        self._config.write_text(
            f"[metrics]\ntextfile = '{self._metrics}'\n"
            f"[retention]\nmax_size = '{_LIMIT}'\n[json_log]\nmax_size = '1TB'\nkeep = 1\n",
            encoding="utf-8",
        )
        self._over = threading.Event()

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Records, and takes samples, while the body runs. Exits when it does not start or stop in order."""
        command = execaudit(
            self.database, "record", "--quiet", "--json-log", str(self.log), config=self._config
        )
        with self._said.open("wb") as said:
            process = subprocess.Popen(command, cwd=CHECKOUT, stderr=said)
            sampling = threading.Thread(target=self._sample, args=(process.pid,))
            try:
                deadline = time.monotonic() + _READY_SECONDS
                while b"recording" not in self._said.read_bytes():
                    if process.poll() is not None or time.monotonic() > deadline:
                        sys.exit(f"the recorder does not start: {self.said()}")
                    time.sleep(0.1)
                sampling.start()
                yield
                self._over.set()
                sampling.join()
                process.send_signal(signal.SIGINT)
                if process.wait() != 0:
                    sys.exit(f"the recorder ended with {process.returncode}: {self.said()}")
            finally:
                self._over.set()
                process.kill()
                process.wait()

    def said(self) -> str:
        """Returns the recorder's messages."""
        return self._said.read_text(encoding="utf-8", errors="replace")

    def _sample(self, pid: int) -> None:
        while not self._over.wait(_SAMPLE_SECONDS):
            try:
                memory, descriptors = machine.memory(pid), machine.descriptors(pid)
            except (OSError, KeyError):
                return  # it has ended; recording() reports that
            files = (self.database, self.database.with_name(f"{self.database.name}-wal"))
            size = sum(file.stat().st_size for file in files if file.exists())
            self.samples.append(Sample(*memory, descriptors, size, self._queued()))

    def _queued(self) -> int:
        if not self._metrics.exists():
            return 0
        text = self._metrics.read_text(encoding="ascii")
        (value,) = re.findall(r"^execaudit_queued_bytes_max (\d+)$", text, re.MULTILINE)
        return int(value)


class Reader:
    """A reader who queries all the time."""

    _QUESTIONS = (
        ("--since", "1min", "--limit", "100"),
        ("--comm", "noop", "--limit", "20"),
        ("--failed", "--limit", "20"),
        ("--args", "nosuch", "--limit", "20"),
    )

    def __init__(self, database: Path) -> None:
        self.answered = 0
        self.refused: list[str] = []
        self._database = database
        self._over = threading.Event()

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Queries while the body runs."""
        thread = threading.Thread(target=self._ask)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _ask(self) -> None:
        while not self._over.is_set():
            for question in self._QUESTIONS:
                command = execaudit(self._database, "query", "--format", "jsonl", *question)
                done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
                self.answered += 1
                if done.returncode:
                    self.refused.append(done.stderr.strip())
                self._over.wait(1.0)


def _losses(truth: Truth, recorder: Recorder, mark: str) -> list[str]:
    """Returns a line for each kind of loss that no gap counts."""
    command = execaudit(recorder.database, "db", "info", "--format", "json")
    facts = json.loads(subprocess.check_output(command, cwd=CHECKOUT))
    history = in_history(recorder.database, mark)
    execs = truth.started.total() + truth.failed.total()
    found = []
    for name, kept in (("the history", history), ("the JSON log", in_log(recorder.log, mark))):
        lost = missing(truth, kept)
        print(f"{name}: {execs - lost.total()} of {execs} execs; its gaps:")
        print(*(placed(lost, kept) if lost or kept.gaps else ["  none"]), sep="\n")
        if lost:
            found.append(f"{lost.total()} execs are not in {name}")
        if kept.twice:
            found.append(f"{kept.twice} execs are in {name} twice")
    if history.endless > facts["missed_exits"]:
        found.append(f"{history.endless} execs have no end, and gaps count only {facts['missed_exits']}")
    return found


def _unsteady(samples: list[Sample], load_bytes: int) -> list[str]:
    """Returns a line for each measure that grew or is too large. `load_bytes`: see Load.stored_bytes."""
    found = []
    for name in ("resident", "anonymous"):
        values = [getattr(sample, name) for sample in samples]
        grown = growth(values)
        medians = ", ".join(f"{value / 1e6:.1f}" for value in thirds(values))
        print(f"{name} memory, MB: {medians} (medians of thirds), at most {max(values) / 1e6:.1f}")
        if grown > _MOST_GROWTH:
            found.append(f"{name} memory grew by {grown:.1%} from the middle third to the last")
    middle, last = thirds([sample.resident for sample in samples])[1:]
    if max(middle, last) > _MOST_RESIDENT:
        found.append(f"{last / 1e6:.1f} MB are resident, more than {_MOST_RESIDENT / 1e6:.0f}")
    open_then, open_now = thirds([sample.descriptors for sample in samples])[1:]
    print(f"descriptors: {open_then:.0f}, then {open_now:.0f}")
    if open_now > open_then:
        found.append(f"{open_now:.0f} descriptors are open, {open_then:.0f} were")
    print(f"queue: at most {samples[-1].queued / 1e6:.1f} MB")
    largest = max(sample.database for sample in samples)
    print(f"database: {samples[-1].database / 1e6:.1f} MB, at most {largest / 1e6:.1f}")
    if largest > _MOST_OF_LIMIT * _LIMIT + _WAL_BYTES + load_bytes:
        found.append(
            f"the history took {largest / 1e6:.1f} MB, where its limit is {_LIMIT / 1e6:.0f}"
            f" and the load has {load_bytes / 1e6:.0f}"
        )
    return found


def main() -> int:
    """Returns the exit status."""
    seconds = float(os.environ.get("SOAK_SECONDS", "3600"))
    with tempfile.TemporaryDirectory() as name:
        load, recorder = Load(Path(name)), Recorder(Path(name))
        reader, user = Reader(recorder.database), hostile.Hostile(hostile.public(Path(name)))
        turns = 0
        with recorder.recording(), reader.reading(), user.at_work():
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                load.turn()
                turns += 1
                if turns % 20 == 0:
                    now = recorder.samples[-1]
                    left = end - time.monotonic()
                    print(f"{left:.0f} s left: {now.resident / 1e6:.1f} MB resident", file=sys.stderr)
        print(f"{turns} turns in {seconds:.0f} s, {reader.answered} queries, {user.rounds} hostile rounds")
        wrong = [*_losses(load.truth, recorder, load.mark), *_unsteady(recorder.samples, load.stored_bytes())]
        wrong += [f"a query failed: {reason}" for reason in reader.refused[:1]]
        wrong += [f"the hostile user could not go on: {reason}" for reason in user.failures]
    for line in wrong:
        print(f"WRONG: {line}")
    print("failed" if wrong else "all is well")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
