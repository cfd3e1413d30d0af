"""Measure a hunt: all rules in one pass, beside each rule as one statement of pySigma's SQLite backend.

`python -m bench.hunts FOLDER 100000 1000000`: FOLDER has the rules, such as the public ones for programs on
Linux. The histories are those of bench.questions. The peer is given a plain table with the fields that rules
name and no index, as Zircolite makes one; to make it is not measured.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from sigma.backends.sqlite import sqliteBackend
from sigma.collection import SigmaCollection

from bench import history

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMAND = str(Path(sys.executable).parent / "execaudit")
_ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
_DAY_NS = 86_400_000_000_000
_FIELDS = ("Image", "CommandLine", "ParentImage", "ParentCommandLine", "CurrentDirectory", "User", "LogonId")


def main() -> None:
    """Prints a line for each history, and for its last day."""
    folder, *sizes = sys.argv[1:]
    files = sorted(Path(folder).rglob("*.yml"))
    print(f"{len(files)} rules, the best of {_ROUNDS} rounds")
    for size in sizes:
        path, known, _ = history.known(int(size), print)
        whole = _hunted(path, folder, ())
        day = _hunted(path, folder, ("--since", f"@{(known.end_ns - _DAY_NS) // 1_000_000_000}"))
        print(f"{size} execs: {whole[0]:.2f} s, {whole[1]} hits; the last day {day[0]:.2f} s, {day[1]} hits")
        with tempfile.TemporaryDirectory() as scratch:
            table = Path(scratch) / "peer.db"
            _make_table(path, table)
            seconds, hits = _of_peer(table, files)
        print(
            f"{size} execs: {seconds:.2f} s, {hits} hits by a statement of pySigma's SQLite backend for each rule"
        )


def _hunted(path: Path, folder: str, options: Sequence[str]) -> tuple[float, int]:
    """Returns how long the whole command takes, and how many hits there are."""
    best, hits = float("inf"), 0
    for _ in range(_ROUNDS):
        begun = time.perf_counter()
        done = subprocess.run(
            [_COMMAND, "--config", os.devnull, "--db", path, "hunt", folder, "--format=jsonl", *options],
            stdin=subprocess.DEVNULL, capture_output=True, check=True,
        )  # fmt: skip
        best = min(best, time.perf_counter() - begun)
        hits = done.stdout.count(b'{"rule":')
    return best, hits


def _make_table(path: Path, table: Path) -> None:
    """Makes a table of what started, with what rules name."""
    with sqlite3.connect(table) as connection:
        connection.execute(f"CREATE TABLE logs ({', '.join(_FIELDS)}, id)")
        known: dict[str, tuple[str | None, str]] = {}
        exported = subprocess.Popen(
            [_COMMAND, "--config", os.devnull, "--db", path, "export", "--format=jsonl"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for line in exported.stdout or ():
            row = json.loads(line)
            if row["kind"] in {"gap", "failed"}:
                continue
            known[row["id"]] = row["exe"], " ".join(row["argv"])
            parent = known.get(row["parent_id"], (None, None))
            connection.execute(
                "INSERT INTO logs VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*known[row["id"]], *parent, row["cwd"], row["user"], row["session"], row["id"]),
            )
        exported.wait()


def _of_peer(table: Path, files: Sequence[Path]) -> tuple[float, int]:
    """Returns how long all rules take, one after the other, and how many hits they have."""
    queries: list[str] = []
    for file in files:
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            queries += sqliteBackend().convert(SigmaCollection.from_dicts([document]))
    connection = sqlite3.connect(table)
    connection.create_function(
        "REGEXP", 2, lambda regex, text: text is not None and bool(re.search(regex, text)), deterministic=True
    )
    begun = time.perf_counter()
    hits = sum(len(connection.execute(query.replace("<TABLE_NAME>", "logs")).fetchall()) for query in queries)
    return time.perf_counter() - begun, hits


if __name__ == "__main__":
    main()
