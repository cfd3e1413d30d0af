"""What `execaudit forward` does: batch after batch, and again whatever failed."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

import click

from execaudit.central.password import password
from execaudit.daemon import diagnostics
from execaudit.daemon.diagnostics import log
from execaudit.database import files
from execaudit.database.url import Central, Engine, location_of
from execaudit.errors import ConfigError, ExecauditError, StoreError
from execaudit.escaping import printable
from execaudit.forward import progress as said
from execaudit.forward.forwarder import Forwarder
from execaudit.forward.open_target import open_target
from execaudit.forward.seals import HOLD_NS
from execaudit.forward.source import Source
from execaudit.forward.target import MovedError, RefusedError
from execaudit.query.connection import open_history
from execaudit.system import clock, systemd
from execaudit.system.textfile import replace_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

    from execaudit.forward.batches import Next

# So often the history is looked at when nothing comes.
_LOOK_SECONDS = 1.0
# Each batch makes several parts in ClickHouse, which are files that it then merges.
_EVERY_SECONDS = {Engine.POSTGRESQL: 1.0, Engine.CLICKHOUSE: 10.0}
# A connection that is not needed for longer is closed: a server may have few for many hosts.
_KEPT_SECONDS = 60.0
# Between two tries: twice as long each time, up to a minute.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_METRICS_SECONDS = 15.0
_STATE_SECONDS = 5.0
# A host at rest says so often that it is there; see forward/batches.py.
_REST_SECONDS = 5.0


class Wanted(NamedTuple):
    """What the options say."""

    once: bool
    password_file: Path | None
    batch: int
    metrics: Path | None
    state_file: Path | None
    every_ns: int | None = None
    """Between two shipments, unless a batch is full. None: as is good for the engine."""


class _StoppedError(BaseException):
    """SIGTERM: what is under way is given up, which costs nothing."""


def forward(path: Path, to: str, wanted: Wanted) -> int:
    """Ships the history at the path. Returns the exit status.

    Raises ConfigError, and with --once StoreError.
    """
    location = location_of(to)
    if not isinstance(location, Central):
        raise ConfigError(
            f"{location} is no central database", fix="name one: --to postgresql://USER@HOST/DATABASE"
        )
    target = open_target(location, lambda: password(wanted.password_file, os.environ))
    hold_ns = 0 if wanted.once else HOLD_NS
    every_s = _EVERY_SECONDS[location.engine] if wanted.every_ns is None else wanted.every_ns / 1e9
    shipping = _Shipping(path, Forwarder(target, most=wanted.batch, hold_ns=hold_ns), wanted, every_s)
    if wanted.once:
        try:
            shipping.ship_all()
            shipping.say(str(location))
        finally:
            target.close()
        return 0
    diagnostics.configure()
    signal.signal(signal.SIGTERM, _stop)
    try:
        log.info("forwarding", to=printable(str(location)), db=printable(str(path)))
        systemd.notify("READY=1", must_arrive=True)
        shipping.run()
    except _StoppedError:
        systemd.notify("STOPPING=1")
    finally:
        shipping.close()
    return 0


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise _StoppedError


class _Shipping:
    """A forwarder, and what is told of it."""

    def __init__(self, path: Path, forwarder: Forwarder, wanted: Wanted, every_s: float) -> None:
        self._path, self._forwarder, self._wanted, self._every_s = path, forwarder, wanted, every_s
        self._shipped_at = float("-inf")
        self._progress = said.Progress(started_s=time.time())
        self._told_state: str | None = None
        self._state_at = self._metrics_at = float("-inf")
        self._seen: tuple[object, ...] | None = None
        self._looked_at = float("-inf")
        self._failing: set[str] = set()

    def close(self) -> None:
        """Ends the connection, and says what has arrived."""
        self._tell(now=True)
        self._forwarder.forget()

    def say(self, to: str) -> None:
        """Says how much was shipped."""
        self._tell(now=True)
        click.echo(printable(f"{self._progress.execs} execs forwarded to {to}"), err=True)

    def run(self) -> None:
        """Ships for ever."""
        pause = _FIRST_PAUSE
        while True:
            try:
                if self._is_due():
                    self.ship_all()
                    self._shipped_at = time.monotonic()
                    if self._every_s >= _KEPT_SECONDS:
                        self._forwarder.rest()
                    self._succeeded()
                pause = _FIRST_PAUSE
                waiting = _LOOK_SECONDS
            except ExecauditError as exc:
                self._failed(exc)
                self._shipped_at = float("-inf")
                self._count_waiting()
                # The next try is not the same: it is asked anew, or of fewer rows.
                waiting = _FIRST_PAUSE if isinstance(exc, RefusedError) else pause
                pause = min(pause * 2, _LONGEST_PAUSE)
            self._tell()
            # A thousand hosts do not come back at once.
            time.sleep(waiting * random.uniform(0.5, 1))  # noqa: S311  # no secret

    def _is_due(self) -> bool:
        """Says whether it is time, or a batch is full. Raises StoreError."""
        if time.monotonic() - self._shipped_at >= self._every_s - _LOOK_SECONDS:
            return True
        with self._open() as source:
            waiting = self._forwarder.waiting(source)
        self._note(None, waiting.execs, waiting.since_ns)
        return waiting.execs >= self._wanted.batch

    def ship_all(self) -> None:
        """Ships all that is there. Raises StoreError."""
        if not self._has_changed():
            return
        try:
            self._ship_open()
        except ExecauditError:
            self._seen = None
            if not self._wanted.once:
                # What has arrived is forgotten next.
                self._tell(now=True)
            self._forwarder.forget()
            raise

    @contextmanager
    def _open(self) -> Iterator[Source]:
        # A history that nobody writes is read without locks: see query/connection.py.
        is_unshared = files.is_unshared(self._path)
        with open_history(self._path) as connection:
            yield Source(connection, lambda: not is_unshared or files.is_unshared(self._path))

    def _ship_open(self) -> None:
        with self._open() as source:
            while True:
                try:
                    shipped = self._forwarder.ship(source, clock.wall_ns())
                except RefusedError:
                    if not self._wanted.once:
                        raise
                    self._forwarder.forget()
                    continue
                waiting = self._forwarder.waiting(source)
                self._note(shipped, waiting.execs, waiting.since_ns)
                if shipped is None or (self._wanted.once and not shipped.has_history and not waiting.execs):
                    break

    def _count_waiting(self) -> None:
        """Says what waits while nothing arrives. A history that cannot be read is the failure itself."""
        with suppress(ExecauditError), self._open() as source:
            waiting = self._forwarder.waiting(source)
            self._note(None, waiting.execs, waiting.since_ns)
        self._tell(now=True)

    def _has_changed(self) -> bool:
        """Says whether the history was written to since it was shipped, or was not looked at for long."""
        try:
            seen = tuple(
                (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
                for file in (files.beside(self._path, ""), files.beside(self._path, "-wal"))
                if file.exists()
                for found in (file.stat(),)
            )
        except OSError:
            return True  # to open it says what is wrong
        now = time.monotonic()
        if seen and seen == self._seen and now - self._looked_at < _REST_SECONDS:
            return False
        self._seen, self._looked_at = seen, now
        return True

    def _note(self, shipped: Next | None, waiting: int, since_ns: int | None) -> None:
        progress = self._progress
        if shipped is not None:
            progress.execs += shipped.execs
            progress.argv_bytes += shipped.argv_bytes
            progress.batches += 1
            progress.contact_s = time.time()
        progress.waiting = waiting
        progress.lag_s = 0.0 if since_ns is None else max((clock.wall_ns() - since_ns) / 1e9, 0.0)
        self._tell()

    def _succeeded(self) -> None:
        if self._progress.failure is not None:
            log.info("forwarding_again")
        self._progress.failure = None

    def _failed(self, error: ExecauditError) -> None:
        """Says once why nothing arrives, until something does."""
        text = printable(str(error))
        self._progress.retries += 1
        if text != self._progress.failure and not (isinstance(error, MovedError) and self._progress.failure):
            log.warning("not_forwarded", reason=text)
        self._progress.failure = text

    def _tell(self, *, now: bool = False) -> None:
        """Writes metrics and state, now and then."""
        at = time.monotonic()
        if now or at - self._metrics_at >= _METRICS_SECONDS:
            self._metrics_at = at
            systemd.notify(f"STATUS={said.status(self._progress)}")
            if self._wanted.metrics is not None:
                self._replace(self._wanted.metrics, said.metrics(self._progress))
        arrived = self._forwarder.arrived
        if arrived is None or (not now and at - self._state_at < _STATE_SECONDS):
            return
        self._state_at = at
        state = json.dumps({"stream": arrived[0].decode("ascii"), "seq": arrived[1]})
        if self._wanted.state_file is not None and state != self._told_state:
            self._replace(self._wanted.state_file, f"{state}\n")
            self._told_state = state

    def _replace(self, path: Path, text: str) -> None:
        try:
            replace_text(path, text)
        except OSError as exc:
            if self._wanted.once:
                raise StoreError(f"cannot write {path}: {exc.strerror}", fix="name another file") from exc
            if str(path) not in self._failing:
                log.warning("not_written", path=printable(str(path)), reason=exc.strerror)
            self._failing.add(str(path))
        else:
            self._failing.discard(str(path))
