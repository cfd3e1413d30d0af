"""Programs that another user starts during an attack: each exec must be in the history, once."""

from __future__ import annotations

import subprocess
import time
import uuid
from typing import TYPE_CHECKING, Any

from tests.commands import PATIENCE

if TYPE_CHECKING:
    from tests.hostile.attacker import Attacker
    from tests.hostile.service import Service


def label_of(row: dict[str, Any]) -> str:
    """Returns the first argument; "" if there is none, as in execs of other programs on the host."""
    return "".join(row["argv"][1:2])


class Honest:
    """Programs of root, which have a word in their arguments."""

    def __init__(self, attacker: Attacker) -> None:
        self.word = f"honest-{uuid.uuid4().hex}"
        self._attacker = attacker
        self._counts: list[int] = []

    def run(self, count: int) -> None:
        """Starts programs, one after the other."""
        self._counts.append(count)
        storm, noop = self._attacker.program("storm"), self._attacker.noop
        done = subprocess.run(
            [storm, noop, str(count), f"{self.word}-{len(self._counts)}", "0"],
            check=True,
            capture_output=True,
            timeout=PATIENCE,
        )
        assert done.stdout == b"%d\n" % count

    def await_stored(self, service: Service) -> None:
        """Starts one more. Waits until it is in the history, and so all that was captured before it."""
        self.run(1)
        label = f"{self.word}-{len(self._counts)}-0"
        deadline = time.monotonic() + PATIENCE
        while not service.rows("--comm", "noop", "--args", label):
            service.must_live()
            assert time.monotonic() < deadline, service.said()
            time.sleep(0.2)

    def missing(self, rows: list[dict[str, Any]]) -> set[str]:
        """Returns those that are missing in rows; fails if one is there twice."""
        labels = [label_of(row) for row in rows if row["kind"] == "exec" and row["argv"][:1] == ["noop"]]
        found = [label for label in labels if label.startswith(self.word)]
        assert len(set(found)) == len(found)
        return {
            f"{self.word}-{job}-{number}"
            for job, count in enumerate(self._counts, 1)
            for number in range(count)
        } - set(found)

    def missing_in(self, service: Service) -> set[str]:
        """Returns those that are missing in the history."""
        return self.missing(service.rows("--comm", "noop", "--args", self.word))
