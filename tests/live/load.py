"""Start programs one after the other, and compare them with what a recorder wrote."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import time
import uuid
from itertools import chain
from typing import TYPE_CHECKING

from tests.commands import PATIENCE

if TYPE_CHECKING:
    from tests.live.recording import Recorded, Row
    from tests.truth.programs import Programs


class Load:
    """Programs that start one after the other, each with a number."""

    def __init__(self, built: Programs) -> None:
        self._built = built
        self.program = str(built.noop)
        """The path of what it starts."""
        self.word = uuid.uuid4().hex[:8]
        """All its labels begin with it: another test may have a load at the same time."""
        self._counts: list[int] = []

    def blow(self, count: int, padding: int = 0) -> list[str]:
        """Starts programs, and waits for their end. Returns their labels."""
        job = self.start(count, padding)
        assert job.communicate()[0] == b"%d\n" % count
        return self._labels(len(self._counts), count)

    def start(self, count: int, padding: int = 0) -> subprocess.Popen[bytes]:
        """Begins to start programs, and does not wait."""
        self._counts.append(count)
        return subprocess.Popen(
            [self._built.storm, self._built.noop, str(count), self._job(len(self._counts)), str(padding)],
            stdout=subprocess.PIPE,
        )

    def missing(self, rows: list[Row]) -> set[str]:
        """Returns those that are missing in rows; fails if one is there twice."""
        there = [row["argv"][1] for row in rows if row.get("exe") == self.program]
        assert len(set(there)) == len(there)
        started = (self._labels(job, count) for job, count in enumerate(self._counts, 1))
        return set(chain.from_iterable(started)) - set(there)

    def _job(self, number: int) -> str:
        return f"{self.word}.{number}"

    def _labels(self, job: int, count: int) -> list[str]:
        return [f"{self._job(job)}-{number}" for number in range(count)]


def await_said(recorded: Recorded, event: str, times: int = 1) -> None:
    """Waits until the recorder has printed a text so many times."""
    deadline = time.monotonic() + PATIENCE
    while recorded.stderr().count(f'"event": "{event}"') < times:
        assert time.monotonic() < deadline, recorded.stderr()
        time.sleep(0.02)


def gaps_of(recorded: Recorded) -> list[Row]:
    """Returns the gaps in the database, in the form of the JSON log."""
    with contextlib.closing(sqlite3.connect(recorded.db)) as connection:
        return [
            {"kind": "gap", "from": low, "to": high, "reason": reason, "count": count, "uid": uid}
            for low, high, reason, count, uid in connection.execute(
                "SELECT ts_from, ts_to, reason, count, uid FROM gap"
            )
        ]
