"""Measure how long questions about a fleet take: the whole command, in a new process, on central databases.

`python -m bench.fleet_questions URL…` asks each database that bench.fleet filled, and prints a column for
each. A command runs once before it is timed, but for one that takes longer than BENCH_LONG seconds (10) then.
One that takes longer than BENCH_MOST (600) is ended. BENCH_ONLY is a part of the names of what is asked.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench.questions import table

_COMMAND = str(Path(sys.executable).parent / "execaudit")
_ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
_ONLY = os.environ.get("BENCH_ONLY", "")
_LONG_SECONDS = float(os.environ.get("BENCH_LONG", "10"))
_MOST_SECONDS = int(os.environ.get("BENCH_MOST", "600"))
_HOUR_S = 3600
_DAY_S = 24 * _HOUR_S
_EXPORTED = 1_000_000
_RULES = {
    "download": "Image|endswith: /curl\n    CommandLine|contains: 'https://host7.'",
    "build": "Image|endswith: /cc1\n    CurrentDirectory|startswith: /build/",
    "run": "CommandLine|contains|all:\n      - '--run-id='\n      - ffff\n    User: dev1",
    "python": "Image|contains: /python\n    CommandLine|re: 'api/v1/items/1[0-9]{4}'",
    "parent": "ParentImage|endswith: /php8.2\n    Image|endswith: /bash",
}


class Facts(NamedTuple):
    """What questions need to know of a fleet."""

    end_s: int
    """The midnight after its last exec."""
    pid: int
    exec_id: str
    """Of an exec two hours before the end, which came once."""
    host: str
    rare: str
    """A text of its command line."""


def _run(url: str, words: list[str]) -> tuple[float, int]:
    """Returns how long a command takes, and how many lines it prints."""
    with tempfile.TemporaryFile() as written:
        begun = time.perf_counter()
        done = subprocess.run(
            [_COMMAND, "--db", url, *words],
            stdout=written,
            stderr=subprocess.PIPE,
            timeout=_MOST_SECONDS,
            check=False,
        )
        seconds = time.perf_counter() - begun
        # fleet status says with 1 that there is trouble.
        if done.returncode > (words[0] == "fleet"):
            raise SystemExit(f"{words} ended with {done.returncode}: {done.stderr[-500:].decode()}")
        written.seek(0)
        return seconds, sum(1 for _ in written)


def _at(seconds: int) -> str:
    return f"@{seconds}"


def facts(url: str, end_s: int) -> Facts:
    """Asks for what questions need to know."""
    words = ["query", "--comm", "job", "--since", _at(end_s - 7500), "--until", _at(end_s - 7200)]
    command = [_COMMAND, "--db", url, *words, "--limit", "1", "--format", "jsonl"]
    said = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
    # The others are gaps.
    record = next(each for each in map(json.loads, said.splitlines()) if "argv" in each)
    rare = record["argv"][1].partition("=")[2]
    return Facts(end_s, record["pid"], record["id"], record["host"], rare)


def questions(known: Facts, rules: str) -> dict[str, list[str]]:
    """Returns the words of each question."""

    def since(seconds: int) -> list[str]:
        # Some clocks are ahead, and nothing is asked about these.
        return ["--since", _at(known.end_s - seconds), "--until", _at(known.end_s)]

    hour, day = since(_HOUR_S), since(_DAY_S)
    newest = ["--limit", "100"]
    return {
        "query --since 1h --comm curl --limit 100": ["query", *hour, "--comm", "curl", *newest],
        "query --since 1h --host H": ["query", *hour, "--host", known.host],
        "query --pid N --since 7d": ["query", "--pid", str(known.pid), *since(7 * _DAY_S)],
        "query --user 33 --since 24h --limit 100": ["query", "--user", "33", *day, *newest],
        "query --limit 100": ["query", *newest],
        "query --args RARE": ["query", "--args", known.rare],
        "query --args RARE --since 24h": ["query", "--args", known.rare, *day],
        "query --args=--verbose --limit 100": ["query", "--args=--verbose", *newest],
        "stats --since 24h": ["stats", *day],
        "stats --since 24h --by host": ["stats", *day, "--by", "host"],
        "query --count --comm curl --since 24h": ["query", "--count", "--comm", "curl", *day],
        "show ID": ["show", known.exec_id],
        "tree --id ID": ["tree", "--id", known.exec_id],
        "query --new --since 1h": ["query", "--new", *hour],
        "hunt (5 rules) --since 24h": ["hunt", rules, *day],
        "fleet status": ["fleet", "status"],
        f"export --limit {_EXPORTED}": ["export", "--limit", str(_EXPORTED), "--until", _at(known.end_s)],
    }


def _measured(url: str, words: list[str]) -> str:
    """Returns the time of a command and how many lines it prints, for the table."""
    try:
        first, lines = _run(url, words)
        times = [first] if first > _LONG_SECONDS else [_run(url, words)[0] for _ in range(_ROUNDS)]
    except subprocess.TimeoutExpired:
        return f"more than {_MOST_SECONDS} s"
    return f"{median(times):.2f} s ({lines})"


def main() -> None:
    """Prints a table."""
    urls = sys.argv[1:]
    end_s = int(os.environ.get("BENCH_END", int(time.time()) // _DAY_S * _DAY_S))
    with tempfile.TemporaryDirectory() as rules:
        for name, selection in _RULES.items():
            (Path(rules) / f"{name}.yml").write_text(
                f"title: {name}\nlogsource: {{product: linux, category: process_creation}}\n"
                f"detection:\n  selection:\n    {selection}\n  condition: selection\n",
                encoding="utf-8",
            )
        asked = [(url, questions(facts(url, end_s), rules)) for url in urls]
        rows = [["question", *(url.rpartition("@")[2] for url in urls)]]
        for name in asked[0][1]:
            if _ONLY in name:
                rows.append([f"`{name}`", *(_measured(url, words[name]) for url, words in asked)])
                print(*rows[-1], f"load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
        table(f"The whole command: median of {_ROUNDS} (lines that it prints)", rows)


if __name__ == "__main__":
    main()
