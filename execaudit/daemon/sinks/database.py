"""The database: writes batches in their order, and goes on when it can be written again.

A batch that cannot be written waits in memory, up to a bound; execs beyond the bound are counted in gaps: see
backlog.py. Only a damaged database ends the sink.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from execaudit.daemon import left_out
from execaudit.daemon.backlog import Backlog, Finished
from execaudit.daemon.left_out import LeftOut, Omitted
from execaudit.daemon.sinks.sink import Sink
from execaudit.enums import GapReason
from execaudit.errors import DamagedStoreError, FullStoreError, StoreError
from execaudit.event import Gap

if TYPE_CHECKING:
    from execaudit.daemon.hunting import Hunting
    from execaudit.daemon.retention import Retention
    from execaudit.daemon.seals import Seals
    from execaudit.store.ballast import Ballast
    from execaudit.store.writer import Store

log = structlog.get_logger()

# Bytes of events that may wait.
_BACKLOG_BYTES = 32 * 1024 * 1024
_RETRY_SECONDS = 1.0
_INDEX_AGAIN_SECONDS = 60.0
# At most this often the ballast is freed for a moment: a delete needs room too.
_LOAN_SECONDS = 60.0


class DatabaseSink(Sink):
    """The history."""

    name = "database"

    def __init__(  # noqa: PLR0913  # each is needed
        self,
        store: Store,
        *,
        host: str,
        ballast: Ballast | None = None,
        retention: Retention | None = None,
        hunting: Hunting | None = None,
        seals: Seals | None = None,
        most_bytes: int = _BACKLOG_BYTES,
    ) -> None:
        """On a full disk `ballast` is freed, and `retention` deletes the oldest execs.

        What `hunting` finds is stored too. `seals` says what is sealed.
        """
        self._store, self._host = store, host
        self._ballast, self._retention = ballast, retention
        self._hunting, self._seals = hunting, seals
        self._is_hunted = False
        """The database says up to where rules were run."""
        self._backlog = Backlog(host, most_bytes)
        self._left_out = LeftOut(self.name, host)
        self._missing: Gap | None = None
        """The gap to write into a file that has replaced the database."""
        self._waits_since: float | None = None
        self._next_try = self._next_index = self._next_loan = 0.0

    def accept(self, batch: Finished) -> None:
        """Stores the batch, or keeps it until the database can be written. Raises DamagedStoreError."""
        self._backlog.add(batch if self._retention is None else self._retention.admit(batch))
        if self._waits_since is None or time.monotonic() >= self._next_try:
            self._try()

    def waits(self) -> bool:
        """Says whether the database could not be written."""
        return self._waits_since is not None

    def is_busy(self) -> bool:
        """Says whether something waits, or old execs are being deleted."""
        return self.waits() or (self._retention is not None and self._retention.is_busy())

    def tidy(self) -> bool:
        """Indexes a little. A failure costs no events: it is tried again a minute later."""
        if self.waits() or time.monotonic() < self._next_index:
            return False
        try:
            return self._store.index()
        except DamagedStoreError:
            raise
        except StoreError as exc:
            self._next_index = time.monotonic() + _INDEX_AGAIN_SECONDS
            log.warning("not_indexed", reason=str(exc))
            return False

    def finish(self) -> None:
        """Tries for the last time. Raises StoreError with how many execs are not in the history."""
        if self._retention is not None and (gaps := self._retention.take_gaps()):
            self._backlog.add(Finished([], gaps, [], gaps[0].to_ns))
        failure = self._try() if self._backlog else None
        if failure is not None and self._ballast is not None:
            self._ballast.give_up()
            failure = self._try()
        if failure is not None:
            left = self._backlog.execs()
            raise StoreError(
                f"{failure.what} ({left} execs are not in the history)", fix=failure.fix
            ) from failure

    def _try(self) -> StoreError | None:
        """Writes what waits. Returns why it still waits."""
        try:
            self._write()
        except DamagedStoreError:
            raise
        except StoreError as exc:
            self._failed(exc)
            return exc
        if self._waits_since is not None:
            log.warning("database_goes_on", seconds=round(time.monotonic() - self._waits_since, 1))
            self._waits_since = None
        if self._ballast is not None:
            self._ballast.restore()
        if self._retention is not None:
            self._retention.work(self._store)
        if self._seals is not None:
            self._seals.look(self._store, self._host)
        return None

    def _write(self) -> None:
        if not self._store.is_current():
            self._reopen()
        if self._missing is not None:
            self._store.append([], [self._missing])
            self._missing = None
        if self._hunting is not None:
            self._begin_hunting(self._hunting)
        has_more = False
        while (batch := self._backlog.first()) is not None:
            if batch.host not in {None, self._host}:
                self._rename(str(batch.host))
            self._append(batch)
            self._backlog.written()
            has_more = has_more or bool(batch.events)
        if self._hunting is not None:
            self._store_hits(self._hunting)
            if has_more:
                self._hunting.poke()

    def _begin_hunting(self, hunting: Hunting) -> None:
        """Before anything is stored, notes that rules are run on it."""
        if hunting.is_on and not self._is_hunted:
            self._store.begin_hunting()
            self._is_hunted = True
            hunting.poke()

    def _store_hits(self, hunting: Hunting) -> None:
        if (chunk := hunting.next()) is not None:
            self._store.append_hits(chunk.hits, chunk.hunted)
            hunting.stored(chunk)

    def _rename(self, host: str) -> None:
        self._store.rename(host)
        self._host = host

    def _reopen(self) -> None:
        self._is_hunted = False
        missing = self._store.reopen()
        if self._hunting is not None:
            self._hunting.restart()
        if missing is not None:
            log.error("database_replaced", todo="what was recorded before is in the file that was there")
            self._missing = Gap(self._host, *missing, GapReason.RECORDER_STOPPED, None)

    def _failed(self, exc: StoreError) -> None:
        if self._waits_since is None:
            self._waits_since = time.monotonic()
            log.error("database_waits", reason=str(exc))
        self._next_try = time.monotonic() + _RETRY_SECONDS
        if (
            isinstance(exc, FullStoreError)
            and self._retention is not None
            and self._make_room(self._retention)
        ):
            self._next_try = 0.0

    def _make_room(self, retention: Retention) -> bool:
        """Deletes the oldest execs. A delete needs some room first: the ballast lends it."""
        if retention.make_room(self._store):
            return True
        if self._ballast is None or time.monotonic() < self._next_loan:
            return False
        self._next_loan = time.monotonic() + _LOAN_SECONDS
        with self._ballast.lent():
            return retention.make_room(self._store)

    def _append(self, batch: Finished) -> None:
        """Stores a batch. An event that cannot be stored becomes a gap."""
        events, gaps, exits, seen_ns, *_ = batch
        omitted: list[Omitted] = []
        try:
            self._store.append(events, gaps, exits, seen_ns=seen_ns)
        except StoreError:
            raise
        except Exception as exc:  # noqa: BLE001  # sift() raises it again if no event causes it
            rest, omitted = left_out.sift(batch, self._store.check, exc)
            told = self._left_out.gaps(omitted, seen_ns)
            self._store.append(rest.events, [*gaps, *told], rest.exits, seen_ns=seen_ns)
        self._left_out.written(omitted, seen_ns)
