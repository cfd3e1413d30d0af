"""The recorders that are compared: how to start each, what it wrote, and what it says it lost."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench import auditd, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CHECKOUT = Path(__file__).parents[1]
AUDITD = "auditd"
_EXECSNOOP = shutil.which("execsnoop", path="/usr/sbin")


@dataclass
class Running:
    """A recorder that has said that it is ready."""

    pids: tuple[int, ...] = ()
    """Its processes, and kernel threads that work only for it; the first is the recorder."""
    has_programs: bool = False
    """It records with BPF programs."""
    kept: dict[str, Path] = field(default_factory=dict)
    """The files that it wrote, by kind. They are complete when it has stopped."""
    recorded: Callable[[str], int] | None = None
    """To be called after it has stopped: returns how many execs of a program are in each of its files."""
    declared: Callable[[], int | None] = lambda: None
    """To be called after it has stopped: returns how many execs it says it lost; None if it does not say."""


@contextlib.contextmanager
def nothing(_folder: Path) -> Iterator[Running]:
    """No recorder at all."""
    yield Running()


@contextlib.contextmanager
def _started(
    command: list[str], said: Path, ready: str, variables: dict[str, str] | None = None
) -> Iterator[int]:
    """Yields the pid of a recorder that has said that it is ready, and stops it at the end."""
    with said.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(command, cwd=_CHECKOUT, stdout=output, stderr=output, env=variables)
        try:
            while ready not in said.read_text(encoding="utf-8", errors="replace"):
                if process.poll() is not None:
                    sys.exit(f"{command[0]} ended: {said.read_text(encoding='utf-8', errors='replace')}")
                # execsnoop's header stays in a buffer until enough execs have filled it.
                subprocess.run(["true"], check=True)
                time.sleep(0.05)
            yield process.pid
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


def execaudit(
    *options: str, pure: bool = False
) -> Callable[[Path], contextlib.AbstractContextManager[Running]]:
    """Returns a function that starts execaudit with a database and a JSON log; `pure`: all in Python."""

    @contextlib.contextmanager
    def start(folder: Path) -> Iterator[Running]:
        database, log = folder / "history.db", folder / "log.jsonl"
        command = [
            sys.executable, "-m", "execaudit", "--config", os.devnull, "--db", str(database),
            "record", "--quiet", "--json-log", str(log), *options,
        ]  # fmt: skip

        def recorded(program: str) -> int:
            with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as history:
                query = (
                    "SELECT count(*) FROM exec JOIN comm ON comm.id = comm_id WHERE kind = 0 AND comm.v = ?"
                )
                stored: int = history.execute(query, (program.encode(),)).fetchone()[0]
            return min(stored, _lines_with(log, f'"comm":"{program}"'))

        def declared() -> int:
            with log.open(encoding="ascii") as lines:
                gaps = [json.loads(line) for line in lines if line.startswith('{"kind":"gap"')]
            return sum(gap["count"] or 0 for gap in gaps)

        variables = {**os.environ, "EXECAUDIT_PURE": "1" if pure else "0"}
        with _started(command, folder / "said", "recording", variables) as pid:
            yield Running(
                (pid,),
                has_programs=True,
                kept={"database": database, "log": log},
                recorded=recorded,
                declared=declared,
            )

    return start


@contextlib.contextmanager
def execsnoop(folder: Path) -> Iterator[Running]:
    """Runs execsnoop of libbpf-tools, with its output in a file. It does not count its losses."""
    said = folder / "said"
    with _started([_EXECSNOOP or ""], said, "PCOMM") as pid:
        yield Running(
            (pid,),
            has_programs=True,
            kept={"log": said},
            recorded=lambda program: _lines_with(said, f"/{program} {program}-"),
        )


@contextlib.contextmanager
def audited(folder: Path) -> Iterator[Running]:
    """Runs the audit daemon with one rule for execs. It writes five or six records for each exec."""
    lost_before = auditd.status()["lost"]
    with auditd.auditing(folder) as (pid, log):
        yield Running(
            (pid, *machine.pids_named("kauditd")),
            kept={"log": log},
            recorded=lambda program: _lines_with(log, "type=EXECVE", f'a1="{program}-'),
            declared=lambda: auditd.status()["lost"] - lost_before,
        )


def _lines_with(file: Path, *texts: str) -> int:
    with file.open(encoding="utf-8", errors="replace") as lines:
        return sum(all(text in line for text in texts) for line in lines)


def installed() -> tuple[dict[str, Callable[[Path], contextlib.AbstractContextManager[Running]]], list[str]]:
    """Returns the recorders that can be compared here, and a line for each that cannot."""
    subjects: dict[str, Callable[[Path], contextlib.AbstractContextManager[Running]]] = {
        "no recorder": nothing,
        "execaudit": execaudit(),
        "execaudit --no-failed": execaudit("--no-failed"),
        "execaudit, all in Python": execaudit(pure=True),
    }
    missing = []
    if _EXECSNOOP:
        subjects["execsnoop (libbpf-tools)"] = execsnoop
    else:
        missing.append("execsnoop is left out: run `apt-get install libbpf-tools`")
    reason = auditd.why_not()
    if reason is None:
        subjects[AUDITD] = audited
    else:
        missing.append(f"auditd is left out: {reason}")
    return subjects, missing
