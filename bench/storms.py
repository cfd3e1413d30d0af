"""Run storms one after the other, compiled and in Python, and with a locked database: none may lose an exec.

`sudo make storms`; STORMS=2 for fewer than the 20. Each has 60 000 execs and a recorder of its own. In every
third storm another program locks the database for some seconds. The exit status is 1 when an exec is missing
in the database or in the JSON log, or when a gap is declared.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.subjects import execaudit

if TYPE_CHECKING:
    from collections.abc import Iterator

_TRUTH = Path(__file__).parents[1] / "tests" / "truth"
_JOBS, _EACH = 2, 30_000
_LOCKED_EACH, _LOCKED_SECONDS = 3, 4.0


@contextlib.contextmanager
def _locked(database: Path) -> Iterator[None]:
    """Has another connection hold the lock on a database, from a second after the start on."""

    def hold() -> None:
        time.sleep(1.0)
        with contextlib.closing(sqlite3.connect(database, isolation_level=None, timeout=60)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            time.sleep(_LOCKED_SECONDS)
            connection.execute("COMMIT")

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _storm(folder: Path, *, pure: bool, locked: bool) -> tuple[int, int | None]:
    """Returns how many execs are not in what the recorder wrote, and how many it says it missed."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        noop = f"noop{os.getpid()}"
        with execaudit(pure=pure)(Path(name)) as running, contextlib.ExitStack() as lock:
            if locked:
                lock.enter_context(_locked(running.kept["database"]))
            jobs = [
                subprocess.Popen(
                    [folder / "storm", folder / noop, str(_EACH), f"{noop}-{number}", "0"],
                    stdout=subprocess.DEVNULL,
                )
                for number in range(_JOBS)
            ]
            if any(job.wait() for job in jobs):
                sys.exit("a storm could not be started")
        # The stop has written all that waited.
        if running.recorded is None:
            raise AssertionError("execaudit says what it recorded")
        return _JOBS * _EACH - running.recorded(noop), running.declared()


def main() -> int:
    """Returns the exit status."""
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(["cc", "-O2", "-o", folder / "storm", _TRUTH / "storm.c"], check=True)
        noop = folder / f"noop{os.getpid()}"
        subprocess.run(["cc", "-O2", "-nostdlib", "-static", "-o", noop, _TRUTH / "noop.c"], check=True)
        for number in range(int(os.environ.get("STORMS", "20"))):
            pure, locked = bool(number % 2), number % _LOCKED_EACH == _LOCKED_EACH - 1
            missing, declared = _storm(folder, pure=pure, locked=locked)
            wrong += bool(missing or declared)
            how = f"{'Python' if pure else 'compiled'}{', locked for a while' if locked else ''}"
            print(f"storm {number + 1} ({how}): {missing} missing, {declared} declared", flush=True)
    print(f"{wrong} storms lost something" if wrong else "all is well")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
