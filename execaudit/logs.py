"""Diagnostics on stderr, through structlog: events and their facts, never an argv."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO, cast

import structlog


class _Stderr:
    """Standard error, which may fail: where the log cannot be written, recording goes on."""

    def write(self, text: str) -> None:
        """Writes, or does not."""
        with contextlib.suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        """Likewise."""
        with contextlib.suppress(OSError):
            sys.stderr.flush()


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
