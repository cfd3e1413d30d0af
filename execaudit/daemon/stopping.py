"""End a recorder in bounded time.

A stop first stores what was captured; after CATCH_UP_SECONDS the rest is only counted. Then each of
the other sinks has threaded.FINISH_SECONDS. After LEAVE_SECONDS nobody waits any more, not even for
a database that hangs. TimeoutStopSec= of the unit is longer.
"""

from __future__ import annotations

import os
import time
from typing import NoReturn

from execaudit.errors import ExecauditError
from execaudit.system.stream import write_now

CATCH_UP_SECONDS = 40.0
LEAVE_SECONDS = 80.0
# How often a stop says what it does.
SAY_SECONDS = 5.0
_STDERR = 2


class StuckError(ExecauditError):
    """A thread that uses the database hangs, so the database cannot be closed."""


class Deadline:
    """The time that a stop may take."""

    def __init__(self) -> None:
        self._began: float | None = None

    def begin(self) -> None:
        """The stop begins now; only the first call counts."""
        if self._began is None:
            self._began = time.monotonic()

    def is_late(self) -> bool:
        """Says whether execs that still wait are only counted from now on."""
        return self._began is not None and time.monotonic() - self._began >= CATCH_UP_SECONDS

    def left_s(self) -> float:
        """Returns how long the stop may still take."""
        began = time.monotonic() if self._began is None else self._began
        return max(0.0, began + LEAVE_SECONDS - time.monotonic())


def leave(message: str, status: int) -> NoReturn:
    """Writes a line, if that is possible at once, and ends the process without closing anything."""
    try:
        write_now(_STDERR, f"execaudit: {message}\n".encode(errors="backslashreplace"), within_s=1.0)
    finally:
        os._exit(status)
