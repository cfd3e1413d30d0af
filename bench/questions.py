"""What an answer costs: issue by issue the whole command in a cold process, on histories of each size.

`python -m bench.questions 100000 1000000 10000000`, which `make bench` runs; the histories are made
once and kept. Beside it, what others take for the same execs: audit logs, JSON lines, and the bare SQL.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench import auditlog, history
from execaudit import query
from execaudit.event import Nanoseconds
from execaudit.filters import Span, statement
from execaudit.query import Filter, UserMatch
from execaudit.reader import open_history

if TYPE_CHECKING:
    from bench.history import Ingest, Known

_COMMAND = str(Path(sys.executable).parent / "execaudit")
_ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
_SECOND = 1_000_000_000
_HOUR, _DAY = 3600, 86400
# Of these the peers search the logs: a gigabyte of them for a million.
_LOGGED = 1_000_000
_EXPORTED = 1_000_000


class Question(NamedTuple):
    """What is asked."""

    name: str
    words: list[str]
    limit_ms: int
    wanted: Filter | None = None
    """The same for the floor: None, if SQL alone cannot say it."""


class Answer(NamedTuple):
    """What it took."""

    seconds: float
    lines: int
    resident: int
    """Bytes, at most."""


def questions(known: Known) -> list[Question]:
    """Returns what is asked of a history."""

    def since(seconds: int) -> list[str]:
        at = known.end_ns - seconds * _SECOND
        return ["--since", f"@{at // _SECOND}.{at % _SECOND:09d}"]

    def since_ns(seconds: int) -> Nanoseconds:
        return Nanoseconds(known.end_ns - seconds * _SECOND)

    rare = history.RARE.decode()
    return [
        Question("query --since 1h --comm curl", ["query", *since(_HOUR), "--comm", "curl"], 150,
                 Filter(since_ns=since_ns(_HOUR), comms=(b"curl",))),
        Question("query --pid N --since 7d", ["query", "--pid", str(known.pid), *since(7 * _DAY)], 150,
                 Filter(since_ns=since_ns(7 * _DAY), pids=(known.pid,))),
        Question("show ID", ["show", known.exec_id], 150),
        Question("query --limit 100", ["query", "--limit", "100"], 150, Filter(limit=100)),
        Question("query --args RARE", ["query", "--args", rare], 200),
        Question("query --args RARE --since 24h", ["query", "--args", rare, *since(_DAY)], 350),
        Question("query --args cc4f --since 24h", ["query", "--args", "cc4f", *since(_DAY)], 350),
        Question("query --args=--verbose --limit 100", ["query", "--args=--verbose", "--limit", "100"], 350),
        Question("query --user 33 --since 24h --limit 100", ["query", "--user", "33", *since(_DAY), "--limit", "100"], 150,
                 Filter(since_ns=since_ns(_DAY), users=(UserMatch(None, 33),), limit=100)),
        Question("export --user 33 --since 24h", ["export", "--user", "33", *since(_DAY)], 0),
        Question("stats --user 33 --since 24h (count)", ["stats", "--user", "33", *since(_DAY)], 400),
        Question("stats --since 24h", ["stats", *since(_DAY)], 500),
        Question(f"query --under ID ({known.family})", ["query", "--under", known.family_id], 300),
        Question("query --under ID --limit 100", ["query", "--under", known.family_id, "--limit", "100"], 300),
        Question(f"export --limit {_EXPORTED}", ["export", "--limit", str(_EXPORTED)], 4000),
        Question("--help", ["--help"], 80),
    ]  # fmt: skip


def ask(words: list[str], *, rounds: int = 1, output: Path | None = None) -> Answer:
    """Runs a command so often, and returns the median time, and of the last run what it wrote and took."""
    times = []
    lines = resident = 0
    with tempfile.TemporaryFile() as written:
        for _ in range(rounds):
            written.seek(0)
            written.truncate()
            begun = time.perf_counter()
            process = subprocess.Popen(words, stdout=written, stderr=subprocess.DEVNULL)
            _, status, used = os.wait4(process.pid, 0)
            times.append(time.perf_counter() - begun)
            # Popen need not wait for it any more.
            process.returncode = os.waitstatus_to_exitcode(status)
            resident = used.ru_maxrss * 1024
        if process.returncode not in (0, 1):  # grep and ausearch say 1 when they find nothing
            sys.exit(f"{' '.join(words)[:200]} ended with {process.returncode}")
        written.seek(0)
        lines = sum(piece.count(b"\n") for piece in iter(lambda: written.read(1 << 20), b""))
        if output is not None:
            written.seek(0)
            with output.open("wb") as file:
                shutil.copyfileobj(written, file)
    return Answer(statistics.median(times), lines, resident)


def _say(text: str) -> None:
    print(text, flush=True)


def table(title: str, rows: list[list[str]]) -> None:
    """Prints rows, of which the first is the header, for people and for a README."""
    _say(f"\n{title}\n")
    for number, row in enumerate(rows):
        _say(f"| {' | '.join(row)} |")
        if not number:
            _say("|" + "---|" * len(row))


def ask_all(histories: dict[int, tuple[Path, Known, list[Ingest]]]) -> None:
    """Prints what each question takes, on each history, and whether it is as fast as it has to be."""
    sizes = list(histories)
    rows = [["question", "at most", *(f"{size:,} execs" for size in sizes), "growth", "lines", "met"]]
    for number in range(len(questions(histories[sizes[0]][1]))):
        answers = []
        for path, known, _ in histories.values():
            question = questions(known)[number]
            words = [_COMMAND, "--db", str(path), *question.words]
            answers.append(ask(words, rounds=3 if question.limit_ms > 1000 else _ROUNDS))  # noqa: PLR2004  # long
        last = answers[-1]
        growth = last.seconds / answers[0].seconds
        met = "-" if not question.limit_ms else "yes" if last.seconds * 1000 <= question.limit_ms else "NO"
        rows.append(
            [
                f"`{question.name}`", f"{question.limit_ms} ms" if question.limit_ms else "-",
                *(f"{answer.seconds * 1000:.0f} ms" for answer in answers), f"{growth:.2f}", str(last.lines), met,
            ]
        )  # fmt: skip
        if question.words[0] == "export":
            rows[-1][0] += f" ({last.resident / 1e6:.0f} MB resident)"
    table(f"Questions: the whole command, median of {_ROUNDS}", rows)


def sizes(path: Path, execs: int) -> None:
    """Prints the bytes for each exec, by table and index."""
    with sqlite3.connect(path) as connection:
        found = connection.execute(
            "SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC"
        ).fetchall()
    shown = [(name, size / execs) for name, size in found if size / execs >= 0.05]  # noqa: PLR2004  # rounds to 0.1
    rows = [
        ["table or index", "bytes for each exec"],
        *([f"`{name}`", f"{size:.1f}"] for name, size in shown),
    ]
    rows.append(["all", f"{path.stat().st_size / execs:.1f}"])
    table(f"On the disk, {execs:,} execs", rows)


def floors(path: Path, known: Known) -> None:
    """Prints what the bare SQL takes in SQLite's shell, and a `cat` of as many bytes as were read."""
    rows = [["question", "execaudit", "`sqlite3` with its SQL", "ratio", "bytes read", "`cat` of as many"]]
    for question in questions(known):
        if question.wanted is None or shutil.which("sqlite3") is None:
            continue
        ours = ask([_COMMAND, "--db", str(path), *question.words], rounds=_ROUNDS).seconds
        with open_history(path) as connection:
            before = _read_bytes()
            found = list(query.find(connection, question.wanted))
            touched = _read_bytes() - before
            low, high = (found[0].number, found[-1].number) if found else (1, 0)
            sql, values = statement(question.wanted, Span(low, high), most=max(len(found), 1))
        shell = [
            "sqlite3",
            "-readonly",
            str(path),
            *(f".parameter set :{name} {_literal(value)}" for name, value in values.items()),
            sql,
        ]
        bare = ask(shell, rounds=_ROUNDS).seconds
        cat = ask(["sh", "-c", f"head -c {touched} '{path}' | cat >/dev/null"], rounds=_ROUNDS).seconds
        rows.append(
            [
                f"`{question.name}`", f"{ours * 1000:.0f} ms", f"{bare * 1000:.0f} ms", f"{ours / bare:.1f}",
                f"{touched / 1e6:.1f} MB", f"{cat * 1000:.0f} ms",
            ]
        )  # fmt: skip
    table(f"The floor, {known.execs:,} execs", rows)


def _read_bytes() -> int:
    return int(Path("/proc/self/io").read_text(encoding="ascii").splitlines()[0].split()[1])


def _literal(value: object) -> str:
    if isinstance(value, bytes):
        return f"\"x'{value.hex()}'\""
    return str(value)


def peers(path: Path, known: Known) -> None:
    """Prints what others take to search the same execs."""
    folder = path.parent
    log, lines = folder / f"{known.execs}.audit.log", folder / f"{known.execs}.jsonl"
    if not log.exists():
        _say(f"writing {log.name}: what auditd would have")
        auditlog.write(log, history.Making(known.execs))
    if not lines.exists():
        ask([_COMMAND, "--db", str(path), "export", "--format", "jsonl"], output=lines)
    rare = history.RARE.decode()
    cases: list[tuple[str, list[str], list[tuple[str, list[str]]]]] = [
        ("all of a command", ["query", "--comm", "curl"], [
            ("ausearch -c", ["ausearch", "-if", str(log), "-c", "curl"]),
            ("grep", ["grep", "-a", 'comm="curl"', str(log)]),
            ("jq", ["jq", "-c", 'select(.comm=="curl")', str(lines)]),
        ]),
        ("a pid", ["query", "--pid", str(known.pid)], [
            ("ausearch -p", ["ausearch", "-if", str(log), "-p", str(known.pid)]),
            ("grep", ["grep", "-a", f" pid={known.pid} ", str(log)]),
            ("jq", ["jq", "-c", f"select(.pid=={known.pid})", str(lines)]),
        ]),
        ("a rare argument", ["query", "--args", rare], [
            ("grep", ["grep", "-a", rare, str(log)]),
            ("jq", ["jq", "-c", f'select(.argv | any(contains("{rare}")))', str(lines)]),
        ]),
        ("how often each program", ["stats"], [
            ("aureport -x --summary", ["aureport", "-if", str(log), "-x", "--summary"]),
        ]),
    ]  # fmt: skip
    rows = [["question", "execaudit", "peer", "takes", "ratio"]]
    missing = set()
    for name, words, others in cases:
        ours = ask([_COMMAND, "--db", str(path), *words], rounds=_ROUNDS).seconds
        for peer, command in others:
            if shutil.which(command[0]) is None:
                missing.add(command[0])
                continue
            theirs = ask(command).seconds
            rows.append(
                [
                    name,
                    f"{ours * 1000:.0f} ms",
                    f"`{peer}`",
                    f"{theirs * 1000:.0f} ms",
                    f"{theirs / ours:.0f}",
                ]
            )
    title = (
        f"Peers, {known.execs:,} execs: {log.stat().st_size / known.execs:.0f} bytes of audit log for each"
    )
    table(title, rows)
    for program in sorted(missing):
        _say(f"not installed, so left out: {program}")


def main(arguments: list[str]) -> None:
    """Makes what is missing, and asks."""
    asked = [int(argument) for argument in arguments] or [100_000, 1_000_000, 10_000_000]
    histories = {size: history.known(size, _say) for size in asked}
    for path, _, _ in histories.values():
        # Warm: as on a host that was asked before.
        ask(["cat", str(path)], output=None)
    ask_all(histories)
    path, known, _ = histories[asked[-1]]
    sizes(path, known.execs)
    rows = [["execs before", *(f"{size:,}" for size in asked)]]
    rows += [
        [f"{10 * step} %", *(f"{curve[step].cpu_us:.1f} us" for _, _, curve in histories.values())]
        for step in range(min(len(curve) for _, _, curve in histories.values()))
    ]
    table("Writing: the writer's CPU for each exec, as the history grows", rows)
    floors(path, known)
    logged = max((size for size in asked if size <= _LOGGED), default=asked[0])
    peers(*histories[logged][:2])


if __name__ == "__main__":
    main(sys.argv[1:])
