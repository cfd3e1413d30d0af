"""Report the recorder's state to systemd (watchdog, status line) and to node_exporter (textfile)."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import structlog

from execaudit.daemon import metrics
from execaudit.system import allocator
from execaudit.system.systemd import notify, retry
from execaudit.system.textfile import replace_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from execaudit.daemon.metrics import Health

log = structlog.get_logger()

_STATUS_SECONDS = 10.0
_MEMORY_SECONDS = 60.0
_METRICS_SECONDS = 15.0  # Prometheus seldom looks more often


def watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    """Returns half of how often systemd wants to hear of us (sd_watchdog_enabled(3)); None: it does not."""
    usec, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not usec.isdecimal() or int(usec) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 2e6


class Monitor:
    """Reports now and then. Never waits: a thread writes the file."""

    def __init__(self, sinks: tuple[str, ...], textfile: Path | None) -> None:
        self._sinks = sinks
        self.textfile = textfile
        """Where the metrics go; None: nowhere. May be set anew."""
        self._watchdog_s = watchdog_seconds(os.environ)
        self._started_s = time.time()
        self._pinged = self._said = self._wrote = self._gave_back = float("-inf")
        self._execs_said = 0
        self._writer: threading.Thread | None = None
        self._failing = False

    def beat(self, now: Health) -> None:
        """To be called often by the capturing thread: each call tells the watchdog that capturing goes on."""
        at = time.monotonic()
        retry()
        if self._watchdog_s is not None and at - self._pinged >= self._watchdog_s:
            self._pinged = at
            notify("WATCHDOG=1")
        if at - self._said >= _STATUS_SECONDS:
            passed = at - self._said
            notify(f"STATUS={metrics.status(now, (now.execs - self._execs_said) / passed)}")
            self._said, self._execs_said = at, now.execs
        if at - self._gave_back >= _MEMORY_SECONDS:
            self._gave_back = at
            allocator.give_back()
        if self.textfile is not None and at - self._wrote >= _METRICS_SECONDS:
            self._wrote = at
            self._write(now, self.textfile)

    def _write(self, now: Health, textfile: Path) -> None:
        if self._writer is not None and self._writer.is_alive():
            return  # the disk hangs
        text = metrics.metrics(now, started_s=self._started_s, sinks=self._sinks)
        self._writer = threading.Thread(
            target=self._replace, args=(textfile, text), name="metrics", daemon=True
        )
        self._writer.start()

    def _replace(self, textfile: Path, text: str) -> None:
        """Replaces the file. node_exporter is another user, and they are but numbers."""
        try:
            replace_text(textfile, text)
        except OSError as exc:
            if not self._failing:
                log.warning("metrics_not_written", path=str(textfile), reason=exc.strerror)
            self._failing = True
        else:
            self._failing = False
