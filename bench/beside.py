"""Measure how queries, an export and pruning and a writer of 2000 execs a second slow each other down.

`python -m bench.beside 10000000` works on a copy of a history of bench.history. It takes a quarter of an
hour.
"""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench import history, questions
from execaudit.event import Nanoseconds
from execaudit.query import find, summary
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.store.writer import Run, Store
from execaudit.system import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.history import Known

_COMMAND = str(Path(sys.executable).parent / "execaudit")
_RATE = 2000
_IDLE_ROUNDS, _ASKING_SECONDS = 5, 60.0
_SHARE = 0.2


class Fed(NamedTuple):
    """What a writer stored, and how long it took."""

    execs: int
    longest_ms: float
    """The longest of its transactions."""
    p99_ms: float
    wal: int
    """The largest size of the WAL, in bytes."""


def feed(path: Path) -> None:
    """Stores execs until standard input is closed, then prints a Fed as JSON."""
    closed = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        closed.set()

    threading.Thread(target=wait, daemon=True).start()
    boot_id = clock.boot_id()
    making = history.Making(1_000_000)
    took: list[float] = []
    stored = wal = 0
    size = path.with_name(f"{path.name}-wal")
    with Store(path) as store:
        now = clock.wall_ns()
        store.begin_run(Run(boot_id=boot_id, host="big", version="bench", started_ns=now))
        due = time.monotonic()
        print("ready", flush=True)
        for _, events, _ in making.batches():
            if closed.is_set():
                break
            due += len(events) / _RATE
            time.sleep(max(0.0, due - time.monotonic()))
            now = clock.wall_ns()
            fresh = [
                event._replace(
                    boot_id=boot_id, time_ns=Nanoseconds(now + n), boot_ns=Nanoseconds(now + n - 1), parent=None, replaces=False
                )
                for n, event in enumerate(events)
            ]  # fmt: skip
            begun = time.monotonic()
            store.append(fresh)
            took.append(time.monotonic() - begun)
            store.index()
            stored += len(fresh)
            wal = max(wal, size.stat().st_size if size.exists() else 0)
    print(json.dumps(Fed(stored, max(took) * 1000, _share(took, 0.99) * 1000, wal)), flush=True)


def _share(values: list[float], share: float) -> float:
    """Returns a percentile: this share of the values is not larger."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


def beside_writer(path: Path, work: Callable[[], None]) -> Fed:
    """Calls `work` while another process stores execs. Returns what that process measured."""
    writer = subprocess.Popen(
        [sys.executable, "-m", "bench.beside", "--feed", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    if writer.stdin is None or writer.stdout is None or writer.stdout.readline() != b"ready\n":
        sys.exit("the writer does not start")
    try:
        work()
    finally:
        said, _ = writer.communicate()
    return Fed(*json.loads(said))


def _count(path: Path) -> int:
    with open_history(path) as connection:
        return find.count(connection, Filter())


def ask_beside(path: Path, known: Known) -> None:
    """Prints how long queries take without a writer, and how long with a writer and two readers."""
    asked = [q for q in questions.questions(known) if q.words and 0 < q.limit_ms <= 500]  # noqa: PLR2004  # no exports
    commands = [[_COMMAND, "--db", str(path), *question.words] for question in asked]
    idle = [questions.ask(command).seconds for _ in range(_IDLE_ROUNDS) for command in commands]
    busy: list[float] = []
    failed: list[str] = []

    def reader(offset: int) -> None:
        until = time.monotonic() + _ASKING_SECONDS
        number = offset
        while time.monotonic() < until:
            begun = time.perf_counter()
            done = subprocess.run(commands[number % len(commands)], capture_output=True, check=False)
            busy.append(time.perf_counter() - begun)
            if done.returncode:
                failed.append(done.stderr.decode(errors="replace"))
            number += 1

    def both() -> None:
        readers = [threading.Thread(target=reader, args=(offset,)) for offset in (0, len(commands) // 2)]
        for thread in readers:
            thread.start()
        for thread in readers:
            thread.join()

    before = _count(path)
    fed = beside_writer(path, both)
    lost = before + fed.execs - _count(path)
    p95_idle, p95_busy = _share(idle, 0.95), _share(busy, 0.95)
    print(
        f"\nTwo readers beside {_RATE} execs a second: {len(busy)} questions, {len(failed)} failed; p95"
        f" {p95_busy * 1000:.0f} ms, of one reader and no writer {p95_idle * 1000:.0f} ms: {p95_busy / p95_idle:.1f} times"
        f"\nthe writer: {fed.execs} execs, {lost} lost, longest transaction {fed.longest_ms:.0f} ms, p99 {fed.p99_ms:.0f} ms,"
        f" WAL at most {fed.wal / 1e6:.0f} MB"
    )
    for line in sorted(set(failed)):
        print(line)


def export_beside(path: Path) -> None:
    """Prints how long a writer waits because of a long export."""
    begun = time.monotonic()
    fed = beside_writer(path, lambda: _run(["export", "--limit", "1000000", "-o", f"{path}.csv"], path))
    Path(f"{path}.csv").unlink()
    print(
        f"\nAn export of a million beside {_RATE} execs a second: {time.monotonic() - begun:.1f} s, WAL at most {fed.wal / 1e6:.0f} MB,"
        f" longest transaction of the writer {fed.longest_ms:.0f} ms"
    )


def _run(words: list[str], path: Path) -> None:
    subprocess.run([_COMMAND, "--db", str(path), *words], check=True, stderr=subprocess.DEVNULL)


def prune_beside(path: Path, known: Known) -> None:
    """Prints how long a writer waits because the oldest fifth is pruned."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        cut = connection.execute("SELECT ts FROM exec WHERE id = ?", (int(known.execs * _SHARE),)).fetchone()[
            0
        ]
    age = (clock.wall_ns() - cut) // 1_000_000_000
    quiet = beside_writer(path, lambda: time.sleep(20))
    before, size = _count(path), path.stat().st_size
    begun = time.monotonic()
    fed = beside_writer(path, lambda: _run(["db", "prune", "--older-than", f"{age}s"], path))
    with open_history(path) as connection:
        gone = summary.pruned(connection)
    deleted = 0 if gone is None else gone.execs
    print(
        f"\nPruning {_SHARE:.0%} beside {_RATE} execs a second: {deleted} deleted in {time.monotonic() - begun:.0f} s,"
        f" {before + fed.execs - deleted - _count(path)} of {fed.execs} new execs lost, {size / 1e6:.0f} MB before,"
        f" {path.stat().st_size / 1e6:.0f} now\nlongest transaction of the writer {fed.longest_ms:.0f} ms"
        f" (p99 {fed.p99_ms:.0f}), without pruning {quiet.longest_ms:.0f} ms (p99 {quiet.p99_ms:.0f})"
    )


def main(execs: int) -> None:
    """Measures all of it, on a copy."""
    kept, known, _ = history.known(execs, print)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        path = Path(folder) / "copy.db"
        shutil.copyfile(kept, path)
        ask_beside(path, known)
        export_beside(path)
        prune_beside(path, known)


if __name__ == "__main__":
    if sys.argv[1] == "--feed":
        feed(Path(sys.argv[2]))
    else:
        main(int(sys.argv[1]))
