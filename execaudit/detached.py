"""A sink with a thread of its own, so that nobody waits for it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import structlog

from execaudit.backlog import Backlog
from execaudit.errors import ExecauditError

if TYPE_CHECKING:
    from execaudit.backlog import Finished
    from execaudit.sinks import Sink

log = structlog.get_logger()

# Bytes of events that may wait for the sink.
_BACKLOG_BYTES = 32 * 1024 * 1024
_RETRY_SECONDS = 1.0
# A sink that is slow is waited for, one that stands still for so long is not.
_STILL_SECONDS = 1.0


class Detached:
    """A sink with a thread of its own: nobody waits for it. It catches up, or is told what it missed."""

    def __init__(self, sink: Sink, *, host: str, patient: bool, most_bytes: int = _BACKLOG_BYTES) -> None:
        """`patient`: what cannot be written is tried again each second. Else a failure is final."""
        self.name = sink.name
        self._sink, self._patient = sink, patient
        self._backlog = Backlog(host, most_bytes)
        self._changed = threading.Condition()
        self._finishing = False
        self._failure: Exception | None = None
        self._waits_since: float | None = None
        self._thread = threading.Thread(target=self._run, name=sink.name, daemon=True)
        self._started = False
        self._moved = time.monotonic()

    def accept(self, batch: Finished) -> None:
        """Returns when there is room, or none to be had soon. Raises what was final for the sink."""
        with self._changed:
            while self._failure is None and self._backlog.is_full() and self._is_moving():
                self._changed.wait(_STILL_SECONDS / 4)
            if self._failure is not None:
                raise self._failure
            if batch.events or batch.gaps:
                self._backlog.add(batch)
                self._changed.notify_all()
        # Not before: a thread keeps the privileges that the process had when it was started.
        if not self._started:
            self._started = True
            self._thread.start()

    def waits(self) -> bool:
        """Says whether it could not write; its thread looks after that."""
        return self._waits_since is not None

    def is_busy(self) -> bool:
        """It needs no call."""
        return False

    def finish(self) -> None:
        """Returns when everything is written. Raises ExecauditError, or what was final."""
        with self._changed:
            self._finishing = True
            self._changed.notify_all()
        if self._started:
            self._thread.join()
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Frees what the sink holds; what is not written by then is not."""
        with self._changed:
            self._finishing = True
            self._changed.notify_all()
        if self._started:
            self._thread.join()
        self._sink.close()

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            try:
                self._sink.accept(batch)
            except (OSError, ExecauditError) as exc:
                if not self._failed(exc):
                    return
            except Exception as exc:  # noqa: BLE001  # a bug: raised again where others see it
                self._failure = exc
                return
            else:
                self._wrote()

    def _next(self) -> Finished | None:
        """Returns what is to be written next; None when all is, and no more comes."""
        with self._changed:
            while True:
                if (first := self._backlog.first()) is not None:
                    return first
                if self._finishing:
                    return None
                self._changed.wait()
                self._moved = time.monotonic()

    def _is_moving(self) -> bool:
        return self._waits_since is None and time.monotonic() - self._moved < _STILL_SECONDS

    def _wrote(self) -> None:
        with self._changed:
            self._backlog.written()
            self._moved = time.monotonic()
            self._changed.notify_all()
        if self._waits_since is not None:
            log.warning(
                "sink_goes_on", sink=self.name, seconds=round(time.monotonic() - self._waits_since, 1)
            )
            self._waits_since = None

    def _failed(self, exc: Exception) -> bool:
        """Returns when it is time to try again, or says that it is of no use."""
        if not self._patient:
            self._failure = exc
            return False
        if self._waits_since is None:
            self._waits_since = time.monotonic()
            log.error("sink_waits", sink=self.name, reason=str(exc))
        with self._changed:
            if self._finishing:
                self._failure = ExecauditError(
                    f"{exc} ({self._backlog.execs()} execs are not in the {self.name})"
                )
                return False
            self._changed.wait_for(lambda: self._finishing, _RETRY_SECONDS)
        return True
