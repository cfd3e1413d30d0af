"""Keep starting processes that end soon: see churn.c."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.truth.programs import Programs

LINES = 3
_PATIENCE = 60


class Born(NamedTuple):
    """One exec: number N of a line of descent; number N - 1 is its parent."""

    line: str
    n: int
    pid: int
    boot_ns: int
    """CLOCK_BOOTTIME soon after the exec."""


class Churning:
    """The execs that were started; complete when it has stopped."""

    def __init__(self, programs: Programs, folder: Path) -> None:
        self._log, self._stop = folder / "churn.log", folder / "churn.stop"
        with self._log.open("ab") as out:
            self._root = subprocess.Popen([programs.churn, self._stop, str(LINES)], stdout=out)

    def born(self) -> list[Born]:
        """Returns all execs; those of each line are in order."""
        fields = [text.split() for text in self._log.read_text().splitlines()]
        return sorted(Born(line, int(n), int(pid), int(at)) for line, n, pid, at in fields)

    def stop(self) -> None:
        """Waits for the end of all processes."""
        self._stop.touch()
        self._root.wait(_PATIENCE)


@contextlib.contextmanager
def churning(programs: Programs, folder: Path) -> Iterator[Churning]:
    """Starts processes that end soon, while the body runs."""
    churn = Churning(programs, folder)
    try:
        yield churn
    finally:
        churn.stop()
