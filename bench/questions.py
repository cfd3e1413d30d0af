"""Measure how long queries take: the whole command, in a new process, on histories of several sizes.

`make bench` runs `python -m bench.questions 100000 1000000 10000000`. The histories are made once and kept.
The same execs are also searched with other programs: in audit logs, in JSON lines, and with SQL alone. All
files are read once before, so they are in the page cache.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import platform
import select
import shlex
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
from execaudit.event import Nanoseconds
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter, UserMatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.history import Ingest, Known

# On Debian, ausearch is in a folder that only root has in PATH.
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
_COMMAND = str(Path(sys.executable).parent / "execaudit")
_ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
_SECOND = 1_000_000_000
_HOUR, _DAY = 3600, 86400
# The largest history whose logs the peers search: for a million execs, the log has a gigabyte.
_LOGGED = 1_000_000
_EXPORTED = 1_000_000
# A command is not repeated after all its runs took so long.
_LONG_SECONDS = 15
_LOOK_SECONDS = 0.05
_SHELL = shutil.which("sqlite3", path=_PATH)
_PYTHON = [
    sys.executable, "-S", "-c",
    "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); [c.execute(s).fetchall() for s in sys.stdin.read().split(';\\n')]",
]  # fmt: skip


class Question(NamedTuple):
    """One command that is measured."""

    name: str
    words: list[str]
    limit_ms: int
    wanted: Filter | None = None
    """The same as a filter, to run its SQL alone; None if SQL alone cannot answer it."""
    environment: dict[str, str] | None = None
    """The variables that the shell sets to complete a word."""


class Answer(NamedTuple):
    """The measures of one command."""

    seconds: float
    found: int
    """How many marks the output has; the usual mark is the end of a line."""
    resident: int
    """The most resident memory, in bytes; 0 if the command was too short to measure it."""


def questions(known: Known) -> list[Question]:
    """Returns the questions for a history."""

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
        Question("completion of an option", [], 80, environment={
            "_EXECAUDIT_COMPLETE": "bash_complete", "COMP_WORDS": "execaudit query --si", "COMP_CWORD": "2",
        }),
    ]  # fmt: skip


def ask(  # noqa: PLR0913  # each a way to ask
    words: list[str],
    *,
    rounds: int = 1,
    given: str = "",
    mark: bytes = b"\n",
    fine: tuple[int, ...] = (0,),
    environment: dict[str, str] | None = None,
) -> Answer:
    """Runs a command `rounds` times, or less often if it takes long. Returns the median time.

    `found` and `resident` are those of the last run. A status that is not in `fine` ends the benchmark.
    """
    times = []
    with (
        tempfile.TemporaryFile() as asked,
        tempfile.TemporaryFile() as written,
        tempfile.TemporaryFile() as said,
    ):
        asked.write(given.encode())
        for _ in range(rounds):
            asked.seek(0)
            written.seek(0)
            written.truncate()
            begun = time.perf_counter()
            process = subprocess.Popen(
                words,
                stdin=asked,
                stdout=written,
                stderr=said,
                env=None if environment is None else {**os.environ, **environment},
            )
            resident = _most_resident(process.pid)
            process.wait()
            times.append(time.perf_counter() - begun)
            if process.returncode not in fine:
                said.seek(0)
                why = said.read(1000).decode("utf-8", "replace").strip()
                sys.exit(f"{shlex.join(words)[:200]} ended with {process.returncode}: {why}")
            if sum(times) > _LONG_SECONDS:
                break
        written.seek(0)
        # A mark is never split between two lines, so each line can be counted alone.
        found = sum(line.count(mark) for line in written)
    return Answer(statistics.median(times), found, resident)


def _most_resident(pid: int) -> int:
    """Waits until a program ends. Returns its largest resident memory, in bytes.

    It reads /proc, because getrusage includes the memory of this process at the fork.
    """
    resident = 0
    ended = os.pidfd_open(pid)
    try:
        while not select.select([ended], [], [], _LOOK_SECONDS)[0]:
            with contextlib.suppress(OSError, StopIteration):  # the program is just ending
                status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
                resident = next(
                    int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")
                )
    finally:
        os.close(ended)
    return resident


def _say(text: str) -> None:
    print(text, flush=True)


def table(title: str, rows: list[list[str]]) -> None:
    """Prints rows as a Markdown table; the first row is the header."""
    _say(f"\n{title}\n")
    for number, row in enumerate(rows):
        _say(f"| {' | '.join(row)} |")
        if not number:
            _say("|" + "---|" * len(row))


def ask_all(histories: dict[int, tuple[Path, Known, list[Ingest]]]) -> None:
    """Prints how long each question takes on each history, and whether that is within its limit."""
    sizes = list(histories)
    rows = [["question", "at most", *(f"{size:,} execs" for size in sizes), "growth", "lines", "met"]]
    for number in range(len(questions(histories[sizes[0]][1]))):
        answers = []
        for path, known, _ in histories.values():
            question = questions(known)[number]
            words = [_COMMAND, "--db", str(path), *question.words]
            answers.append(ask(words, rounds=_ROUNDS, environment=question.environment))
        last = answers[-1]
        growth = last.seconds / answers[0].seconds
        met = "-" if not question.limit_ms else "yes" if last.seconds * 1000 <= question.limit_ms else "NO"
        rows.append(
            [
                f"`{question.name}`", f"{question.limit_ms} ms" if question.limit_ms else "-",
                *(_ms(answer.seconds) for answer in answers), f"{growth:.2f}", str(last.found), met,
            ]
        )  # fmt: skip
        if question.words[:1] == ["export"]:
            rows[-1][0] += f" ({last.resident / 1e6:.0f} MB resident)"
    table(
        f"Questions: the whole command, median of {_ROUNDS} runs, or of those that took {_LONG_SECONDS} s",
        rows,
    )
    alone = [(code, ask([sys.executable, "-c", code], rounds=5).seconds) for code in ("pass", "import click")]
    _say("\nPython alone, in all of these: " + ", ".join(f"`{code}` {_ms(taken)}" for code, taken in alone))


def sizes(path: Path, execs: int) -> None:
    """Prints the bytes on the disk for each exec, by table and index."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
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
    """Prints how long the SQL alone takes in SQLite's shell, and how long a `cat` of as many bytes."""
    rows = [["question", "execaudit", "its SQL in " + ("`sqlite3`" if _SHELL else "Python"), "ratio",
             "bytes read", "`cat` of as many", "ratio"]]  # fmt: skip
    for question in questions(known):
        if question.wanted is None:
            continue
        statements, touched = _read(path, question.wanted)
        if ":p0" in statements:  # before Python 3.11, the traced statements lack the values
            _say("The floor is left out: it needs Python 3.11")
            return
        bare = [_SHELL, "-readonly", str(path)] if _SHELL else [*_PYTHON, str(path)]
        ours = ask([_COMMAND, "--db", str(path), *question.words], rounds=_ROUNDS).seconds
        least = ask(bare, rounds=_ROUNDS, given=statements).seconds
        cat = ask(
            ["sh", "-c", 'head -c "$1" "$2" | cat >/dev/null', "sh", str(touched), str(path)], rounds=_ROUNDS
        ).seconds
        rows.append(
            [
                f"`{question.name}`", _ms(ours), _ms(least), f"{ours / least:.1f}",
                f"{touched / 1e6:.1f} MB", _ms(cat), f"{ours / cat:.0f}",
            ]
        )  # fmt: skip
    whole = ask(["sh", "-c", 'cat "$1" >/dev/null', "sh", str(path)], rounds=_ROUNDS).seconds
    table(f"The floor, {known.execs:,} execs", rows)
    _say(f"\n`cat` of the whole database, {path.stat().st_size / 1e6:.0f} MB: {_ms(whole)}")


def _read(path: Path, wanted: Filter) -> tuple[str, int]:
    """Returns all the SQL that execaudit runs for an answer, and how many bytes it reads from the file."""
    ran: list[str] = []
    with open_history(path) as connection:
        before = _read_bytes()
        connection.set_trace_callback(ran.append)
        for _ in find.find(connection, wanted):
            pass
        connection.set_trace_callback(None)
        touched = _read_bytes() - before
    return ";\n".join(ran), touched


def _read_bytes() -> int:
    return int(Path("/proc/self/io").read_text(encoding="ascii").splitlines()[0].split()[1])


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _made(path: Path, make: Callable[[Path], object]) -> Path:
    """Returns the file. Makes it if it does not exist; a half-made file never has this name."""
    if not path.exists():
        _say(f"writing {path.name}: once, it is kept")
        new = path.with_name(f"{path.name}.new")
        make(new)
        new.rename(path)
    return path


def peers(path: Path, known: Known) -> None:
    """Prints how long other programs take to search the same execs."""
    log = _made(path.with_suffix(".audit.log"), lambda new: auditlog.write(new, history.Making(known.execs)))
    lines = _made(
        path.with_suffix(".jsonl"),
        lambda new: ask([_COMMAND, "--db", str(path), "export", "--format", "jsonl", "-o", str(new)]),
    )
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
            ("grep", ["grep", "-a", f"^type=EXECVE .*{rare}", str(log)]),
            ("jq", ["jq", "-c", f'select(.argv | any(contains("{rare}")))', str(lines)]),
        ]),
        ("how often each program", ["stats"], [
            ("aureport -x --summary", ["aureport", "-if", str(log), "-x", "--summary"]),
        ]),
    ]  # fmt: skip
    rows = [["question", "execaudit", "found", "peer", "takes", "found", "ratio"]]
    missing = set()
    for name, words, others in cases:
        counted = "-" if words[0] == "stats" else ""
        asked = [*words, "--format", "jsonl"] if not counted else words
        ours = ask([_COMMAND, "--db", str(path), *asked], rounds=_ROUNDS)
        for peer, command in others:
            program = shutil.which(command[0], path=_PATH)
            if program is None:
                missing.add(command[0])
                continue
            # Count one of the six lines that ausearch prints for an exec. Status 1 means that nothing was
            # found.
            mark = b"type=SYSCALL" if command[0] == "ausearch" else b"\n"
            theirs = ask([program, *command[1:]], rounds=_ROUNDS, mark=mark, fine=(0, 1))
            rows.append(
                [
                    name, _ms(ours.seconds), counted or str(ours.found), f"`{peer}`", _ms(theirs.seconds),
                    counted or str(theirs.found), f"{theirs.seconds / ours.seconds:.1f}",
                ]
            )  # fmt: skip
    each = log.stat().st_size / known.execs, lines.stat().st_size / known.execs
    table(
        f"Peers, {known.execs:,} execs: audit logs of {each[0]:.0f} bytes for each, JSON lines of {each[1]:.0f}",
        rows,
    )
    for absent in sorted(missing):
        _say(f"not installed, so left out: {absent}")


def _machine() -> str:
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    return (
        f"{os.cpu_count()} cores of {models[0] if models else platform.machine()}, Linux {platform.release()},"
        f" Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    )


def main(arguments: list[str]) -> None:
    """Makes the histories that are missing, and measures."""
    today = dt.datetime.now(dt.timezone.utc).date()
    words = shlex.join(["python", "-m", "bench.questions", *arguments])
    _say(f"{today}: {words}, on {_machine()}")
    asked = [int(argument) for argument in arguments] or [100_000, 1_000_000, 10_000_000]
    histories = {size: history.known(size, _say) for size in asked}
    for path, _, _ in histories.values():
        # Into the page cache, as after an earlier query.
        ask(["cat", str(path)])
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
