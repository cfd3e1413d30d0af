"""A sink with a thread of its own: the recorder never waits for it, a stop FINISH_SECONDS at most."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import structlog

from execaudit.daemon.backlog import Backlog
from execaudit.daemon.sinks.sink import Sink
from execaudit.errors import ExecauditError

if TYPE_CHECKING:
    from execaudit.daemon.backlog import Finished

log = structlog.get_logger()

# Bytes of events that may wait for the sink.
_BACKLOG_BYTES = 48 * 1024 * 1024
_RETRY_SECONDS = 1.0
# A stop waits this long for a sink that has not written everything: its reader or its disk may hang.
FINISH_SECONDS = 10.0


class ThreadedSink(Sink):
    """Has another sink write in a thread. What a slow sink cannot take is counted in a gap."""

    def __init__(self, sink: Sink, *, host: str, patient: bool, most_bytes: int = _BACKLOG_BYTES) -> None:
        """`patient`: what cannot be written is tried again each second. Else the first failure is final."""
        self.name = sink.name
        self._sink, self._patient = sink, patient
        self._backlog = Backlog(host, most_bytes)
        self._changed = threading.Condition()
        self._finishing = self._is_given_up = False
        self._failure: Exception | None = None
        self._waits_since: float | None = None
        self._thread = threading.Thread(target=self._run, name=sink.name, daemon=True)
        self._started = False

    def accept(self, batch: Finished) -> None:
        """Returns at once. Raises the failure that was final."""
        with self._changed:
            if self._failure is not None:
                raise self._failure
            if batch.events or batch.gaps or batch.hits or batch.sealed:
                self._backlog.add(batch)
                self._changed.notify_all()
        # Not earlier: a thread keeps the privileges that the process had when the thread was started.
        if not self._started:
            self._started = True
            self._thread.start()

    def waits(self) -> bool:
        """Says whether its last write failed."""
        return self._waits_since is not None

    def finish(self) -> None:
        """Returns when everything is written.

        Raises ExecauditError when that takes more than FINISH_SECONDS, or the failure that was final.
        """
        if not self._end():
            raise ExecauditError(
                f"the {self.name} did not take what waited within {FINISH_SECONDS:.0f} seconds: "
                f"{self._backlog.execs()} execs are not in it",
                fix="see what its reader or its disk does",
            )
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Frees what the sink holds. What still waits is not written."""
        if self._end():
            self._sink.close()

    def _end(self) -> bool:
        """Ends the thread. Returns False if it hangs; then what it uses must not be closed."""
        with self._changed:
            self._finishing = True
            self._changed.notify_all()
        if self._started and not self._is_given_up:
            self._thread.join(FINISH_SECONDS)
            self._is_given_up = self._thread.is_alive()
        return not self._is_given_up

    def _run(self) -> None:
        while not self._is_given_up and (batch := self._next()) is not None:
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
        if not self._is_given_up:
            self._finish()

    def _finish(self) -> None:
        """The sink has all batches."""
        try:
            self._sink.finish()
        except Exception as exc:  # noqa: BLE001  # raised again by finish()
            self._failure = exc

    def _next(self) -> Finished | None:
        """Returns the next batch to write; None when all is written and no more comes."""
        with self._changed:
            while True:
                if (first := self._backlog.first()) is not None:
                    return first
                if self._finishing:
                    return None
                self._changed.wait()

    def _wrote(self) -> None:
        with self._changed:
            self._backlog.written()
        if self._waits_since is not None:
            log.warning(
                "sink_goes_on", sink=self.name, seconds=round(time.monotonic() - self._waits_since, 1)
            )
            self._waits_since = None

    def _failed(self, exc: Exception) -> bool:
        """Waits, and returns True to try again; False: it is of no use."""
        if not self._patient:
            self._failure = exc
            return False
        if self._waits_since is None:
            self._waits_since = time.monotonic()
            log.error("sink_waits", sink=self.name, reason=str(exc))
        with self._changed:
            if self._finishing:
                what, fix = (exc.what, exc.fix) if isinstance(exc, ExecauditError) else (str(exc), None)
                self._failure = ExecauditError(
                    f"{what} ({self._backlog.execs()} execs are not in the {self.name})", fix=fix
                )
                return False
            self._changed.wait_for(lambda: self._finishing, _RETRY_SECONDS)
        return True
