"""Measure what sealing costs the writer, and how long `verify` takes.

`python -m bench.seals 100000 1000000`, with the sizes of the histories that are verified, those of
bench.questions; `make bench` runs it. Sealing is measured in pairs: the recorder's own writer stores the same
execs sealed and not sealed, in turns, and the medians of the differences count.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from unittest import mock

from bench import history
from execaudit.seal.key_file import KeyFile, path_of
from execaudit.seal.keys import CHAIN_BYTES, KEY_BYTES, SealingKey, VerificationKey
from execaudit.store.exec_hashes import ExecHashes
from execaudit.store.sealing import Sealer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_COMMAND = str(Path(sys.executable).parent / "execaudit")
_ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
_EXECS = 100_000
# A busy recorder's transaction, and one of a host at rest.
_BATCHES = (500, 20)
_US = 1_000_000


class Written(NamedTuple):
    """What an exec cost."""

    cpu_us: float
    bytes: float


@contextlib.contextmanager
def _unsealed() -> Iterator[None]:
    """While the body runs, nothing is sealed."""
    with (
        mock.patch.object(ExecHashes, "of", return_value=[]),
        mock.patch.object(Sealer, "begin"),
        mock.patch.object(Sealer, "seal"),
    ):
        yield


def _written(execs: int, batch: int) -> Written:
    """Writes a history with a key."""
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(history, "_BATCH", batch):
        path = Path(folder) / "h.db"
        key = SealingKey.new(VerificationKey(bytes(CHAIN_BYTES), bytes(KEY_BYTES)))
        KeyFile(path_of(path)).make(key, owner=path.parent.stat())
        _, curve = history.write(path, execs)
        return Written(statistics.mean(each.cpu_us for each in curve), path.stat().st_size / execs)


def sealing(execs: int, batch: int, rounds: int) -> Iterator[Written]:
    """Yields what an exec costs more if it is sealed, each round."""
    for number in range(rounds):
        found = {}
        for is_sealed in (True, False) if number % 2 else (False, True):
            with contextlib.nullcontext() if is_sealed else _unsealed():
                found[is_sealed] = _written(execs, batch)
        yield Written(*(sealed - plain for sealed, plain in zip(found[True], found[False], strict=True)))


class Verified(NamedTuple):
    """A run of `verify`."""

    seconds: float
    cpu_seconds: float
    """Of all its processes."""
    resident: int
    """Bytes; of the process that took most."""
    execs: int


def verified(path: Path, *options: str) -> Verified:
    """Runs `verify` on a history. Raises RuntimeError if it is not as it was sealed."""
    begin = time.perf_counter()
    with subprocess.Popen(
        [_COMMAND, "--config", "/dev/null", "--db", path, "verify", "--format", "json", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as job:
        said = json.loads(b"".join(job.stdout or ()))
        _, status, used = os.wait4(job.pid, 0)
        job.returncode = os.waitstatus_to_exitcode(status)
    if not said["verified"]:
        raise RuntimeError(f"{path}: {said['problems'][:3]}")
    seconds = time.perf_counter() - begin
    return Verified(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, said["execs"])


def _since(path: Path, part: float) -> str:
    """Returns the option to verify so much of a history, its last part."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        (at_us,) = connection.execute(
            "SELECT at_us FROM seal WHERE id > (1 - ?) * (SELECT max(id) FROM seal) ORDER BY id LIMIT 1",
            (part,),
        ).fetchone()
    return f"--since=@{at_us // _US}.{at_us % _US:06}"


def _row(name: str, runs: Sequence[Verified]) -> str:
    execs = runs[0].execs
    wall, cpu = (statistics.median(each[at] for each in runs) for at in (0, 1))
    resident = max(each.resident for each in runs) / 1e6
    # Of a few execs it is mostly Python's start.
    per_million = f"{cpu / execs * _US:.1f} s" if execs >= _EXECS else "-"
    return f"| {name} | {execs:,} | {wall:.1f} s | {cpu:.1f} s | {per_million} | {resident:.0f} MB |"


def main() -> None:
    """Prints two tables."""
    # First, because a process that starts another one hands on how much memory it had.
    print("\nVerifying, with all processors\n")
    print("| | execs | time | CPU | CPU, a million | resident, at most |\n|---|---|---|---|---|---|")
    for size in map(int, sys.argv[1:] or ["100000", "1000000"]):
        path = history.path_of(size)
        if not path.with_suffix(".json").exists():
            code = f"from bench import history; history.known({size}, print)"
            subprocess.run([sys.executable, "-c", code], check=True)
        for name, options in {
            "all": [],
            "`--since`, a tenth": [_since(path, 0.1)],
            "`--since`, a hundredth": [_since(path, 0.01)],
        }.items():
            print(_row(name, [verified(path, *options) for _ in range(_ROUNDS)]))
    print(f"\nSealing, for each of {_EXECS} execs; the median of {_ROUNDS} pairs\n")
    print("| execs in a transaction | CPU µs | bytes |\n|---|---|---|")
    for batch in _BATCHES:
        pairs = [*sealing(_EXECS, batch, _ROUNDS)]
        cpu, size_ = (statistics.median(each[at] for each in pairs) for at in (0, 1))
        low, high = (most(each.cpu_us for each in pairs) for most in (min, max))
        print(f"| {batch} | {cpu:.1f} ({low:.1f} to {high:.1f}) | {size_:.1f} |")


if __name__ == "__main__":
    main()
