"""Diagnostics on stderr, through structlog: events and their facts, never an argv."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO, cast

import structlog

from execaudit.system.stream import write_now

_STDERR = 2


class _Stderr:
    """Standard error. When it fails or nobody reads it, recording goes on and lost lines are counted."""

    def __init__(self) -> None:
        self._line = ""
        self._left_out = 0

    def write(self, text: str) -> None:
        """Writes a line when it is whole, or leaves it out. structlog holds a lock meanwhile."""
        self._line += text
        if not self._line.endswith("\n"):
            return
        line, self._line = self._line, ""
        if self._left_out:
            line = f"{self._left_out} lines were left out: nobody took them\n{line}"
        with contextlib.suppress(OSError):
            if write_now(_STDERR, line.encode(errors="backslashreplace")):
                self._left_out = 0
            else:
                self._left_out += 1

    def flush(self) -> None:
        """Nothing is kept here."""


log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


def configure() -> None:
    """JSON lines when stderr is no terminal, else lines for people."""
    terminal = sys.stderr.isatty()
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(colors="NO_COLOR" not in os.environ)
        if terminal
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if terminal else "iso", utc=not terminal),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Stderr())),
        cache_logger_on_first_use=True,
    )
