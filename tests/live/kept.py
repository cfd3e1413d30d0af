"""Read, or wait for, what a recorder has written into the history and the JSON log."""

from __future__ import annotations

import contextlib
import gzip
import json
import sqlite3
import time
from typing import TYPE_CHECKING

from tests.commands import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.live.load import Load
    from tests.live.recording import Recorded, Row


def await_logged(recorded: Recorded, label: str) -> None:
    """Waits until the JSON log has an exec."""
    _await(is_logged, recorded, label)


def is_logged(recorded: Recorded, label: str) -> bool:
    """Says whether a JSON log or an old one has an exec. They may be large, or not exist yet.

    Programs that run beside the test have the log rotated too, at any time.
    """
    for log in recorded.json_log.parent.glob(f"{recorded.json_log.name}*"):
        opened = gzip.open if log.suffix == ".gz" else open
        # Put aside, or removed, meanwhile; or not compressed to its end.
        with contextlib.suppress(FileNotFoundError, EOFError), opened(log, "rb") as file:
            if any(f'"{label}"'.encode() in line for line in file):
                return True
    return False


def await_stored(recorded: Recorded, label: str) -> None:
    """Waits until the history has an exec, and so all execs before it."""
    _await(is_stored, recorded, label)


def is_stored(recorded: Recorded, label: str) -> bool:
    """Says whether the history has an exec."""
    there = "SELECT 1 FROM argv WHERE instr(v, ?)"
    with contextlib.closing(sqlite3.connect(f"file:{recorded.db}?mode=ro", uri=True)) as connection:
        return connection.execute(there, (b"\0" + label.encode() + b"\0",)).fetchone() is not None


def _await(is_there: Callable[[Recorded, str], bool], recorded: Recorded, label: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_there(recorded, label):
        assert time.monotonic() < deadline, recorded.stderr()
        time.sleep(0.1)


def await_passed(recorded: Recorded, load: Load, is_there: Callable[[Recorded, str], bool]) -> None:
    """Returns when the recorder has passed on all that ran until now, to the sink that can be written.

    The same thread gives each batch to one sink after the other. If the ring was full, the first of these
    programs are lost.
    """
    deadline = time.monotonic() + PATIENCE
    labels = load.blow(1)
    while not any(is_there(recorded, label) for label in labels):
        assert time.monotonic() < deadline, recorded.stderr()
        time.sleep(0.5)
        labels += load.blow(1)


def lines_of(*logs: Path) -> list[Row]:
    """Returns the lines of JSON logs; fails if a line is not whole."""
    return [json.loads(line) for log in logs for line in log.read_text().splitlines()]


def counted(rows: list[Row], reason: str) -> int:
    """Returns how many of root's execs, or of nobody's in particular, are counted in gaps with a reason.

    Programs of other users run beside the tests, and on a full disk they are refused before root's.
    """
    return sum(
        row["count"] or 0
        for row in rows
        if row["kind"] == "gap" and row["reason"] == reason and row["uid"] in {0, None}
    )


def is_sound(database: Path) -> bool:
    """Says whether SQLite's integrity check finds no error."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def ask_time(time_ns: int) -> str:
    """Returns a moment as records show it."""
    second, fraction = divmod(time_ns, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)) + f".{fraction:09d}Z"
