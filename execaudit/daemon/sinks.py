"""Where finished events go: the history, the JSON log, the terminal.

What cannot be written now waits in memory, up to a bound, and what is beyond that is counted:
see backlog.py. Only a damaged database, or a reader of standard output that is gone, is final.
"""

from __future__ import annotations

import time
from itertools import chain, islice
from typing import TYPE_CHECKING, Protocol

import structlog

from execaudit.daemon import left_out
from execaudit.daemon.backlog import Backlog, Finished
from execaudit.daemon.left_out import LeftOut, Omitted
from execaudit.enums import GapReason, Kind
from execaudit.errors import DamagedStoreError, FullStoreError, StoreError
from execaudit.event import Gap
from execaudit.output import table
from execaudit.output.json_lines import json_line, json_text
from execaudit.output.notices import gap_line
from execaudit.output.record import gap_record
from execaudit.output.timecolumn import TimeColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from execaudit.daemon.log_file import LogFile
    from execaudit.daemon.retention import Retention
    from execaudit.store.ballast import Ballast
    from execaudit.store.writer import Store

    Write = Callable[[bytes], object]
    """Writes all of it."""

log = structlog.get_logger()

# Bytes of events that may wait for a sink, each.
_BACKLOG_BYTES = 32 * 1024 * 1024
_RETRY_SECONDS = 1.0
_INDEX_AGAIN_SECONDS = 60.0
# How often the ballast is given up for a moment, so that something can be deleted.
_LOAN_SECONDS = 60.0
# Lines that are made at a time; command lines can have megabytes.
_LINES = 64


class Sink(Protocol):
    """Takes what the recorder finished."""

    name: str

    def accept(self, batch: Finished) -> None:
        """Keeps a batch, which is empty at times. Raises what makes further batches pointless."""

    def waits(self) -> bool:
        """Says whether there are batches that it could not write yet."""

    def is_busy(self) -> bool:
        """Says whether it wants to be called again soon, with an empty batch if there is no other."""

    def finish(self) -> None:
        """The last batch has come. Returns when all is written; raises ExecauditError when that cannot be."""

    def close(self) -> None:
        """Frees what it holds."""


class StoreSink:
    """The history."""

    name = "database"

    def __init__(
        self,
        store: Store,
        *,
        host: str,
        ballast: Ballast | None = None,
        retention: Retention | None = None,
        most_bytes: int = _BACKLOG_BYTES,
    ) -> None:
        """When the disk is full, `ballast` is given up, and `retention` asked to delete what is old."""
        self._store, self._host = store, host
        self._ballast, self._retention = ballast, retention
        self._backlog = Backlog(host, most_bytes)
        self._left_out = LeftOut(self.name, host)
        self._missing: Gap | None = None
        """What a database that took the place of ours does not have."""
        self._waits_since: float | None = None
        self._next_try = self._next_index = self._next_loan = 0.0

    def accept(self, batch: Finished) -> None:
        """Durable when it returns, or waiting. Raises DamagedStoreError."""
        self._backlog.add(batch if self._retention is None else self._retention.admit(batch))
        if self._waits_since is None or time.monotonic() >= self._next_try:
            self._try()

    def waits(self) -> bool:
        """Says whether the database could not be written."""
        return self._waits_since is not None

    def is_busy(self) -> bool:
        """Says whether something waits, or old execs are being deleted."""
        return self.waits() or (self._retention is not None and self._retention.is_busy())

    def finish(self) -> None:
        """Tries for the last time. Raises StoreError with how many execs are not in the history."""
        if self._retention is not None and (gaps := self._retention.settle()):
            self._backlog.add(Finished([], gaps, [], gaps[0].to_ns))
        failure = self._try() if self._backlog else None
        if failure is not None and self._ballast is not None:
            self._ballast.give_up()
            failure = self._try()
        if failure is not None:
            raise StoreError(f"{failure} ({self._backlog.execs()} execs are not in the history)") from failure

    def close(self) -> None:
        """The store belongs to who opened it."""

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
        self._index()
        return None

    def _index(self) -> None:
        """A little at each batch. What fails is tried a minute later: what is stored is stored."""
        if time.monotonic() < self._next_index:
            return
        try:
            self._store.index()
        except DamagedStoreError:
            raise
        except StoreError as exc:
            self._next_index = time.monotonic() + _INDEX_AGAIN_SECONDS
            log.warning("not_indexed", reason=str(exc))

    def _write(self) -> None:
        if not self._store.is_current():
            self._reopen()
        if self._missing is not None:
            self._store.append([], [self._missing])
            self._missing = None
        while (batch := self._backlog.first()) is not None:
            if batch.host not in {None, self._host}:
                self._rename(str(batch.host))
            self._append(batch)
            self._backlog.written()

    def _rename(self, host: str) -> None:
        self._store.rename(host)
        self._host = host

    def _reopen(self) -> None:
        missing = self._store.reopen()
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
        """Deletes what is old. To delete takes some room first; no event gets that of the ballast."""
        if retention.make_room(self._store):
            return True
        if self._ballast is None or time.monotonic() < self._next_loan:
            return False
        self._next_loan = time.monotonic() + _LOAN_SECONDS
        with self._ballast.lent():
            return retention.make_room(self._store)

    def _append(self, batch: Finished) -> None:
        """Stores a batch, without what cannot be stored: that is a gap instead."""
        events, gaps, exits, seen_ns, _ = batch
        omitted: list[Omitted] = []
        try:
            self._store.append(events, gaps, exits, seen_ns=seen_ns)
        except StoreError:
            raise
        except Exception as exc:  # noqa: BLE001  # raised again if it is no event's fault
            rest, omitted = left_out.sift(batch, self._store.check, exc)
            told = self._left_out.gaps(omitted, seen_ns)
            self._store.append(rest.events, [*gaps, *told], rest.exits, seen_ns=seen_ns)
        self._left_out.written(omitted, seen_ns)


class _LineWriter:
    """What structlog writes to: whole batches at a time."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def msg(self, lines: str) -> None:
        self._write(lines.encode("ascii") + b"\n")

    info = msg


def _as_it_is(_logger: object, _method: str, record: structlog.types.EventDict) -> str:
    """The event is the lines: each is the record of the contract, which has no other keys."""
    return str(record["event"])


class _Lines:
    """Says each exec and each gap in a line of JSON, with the record of the documentation.

    Written when the exec happened and never again: ends make no line, and how the exec ended
    is null in it.
    """

    def __init__(self, write: Write, name: str) -> None:
        self._left_out = LeftOut(name)
        self._log = structlog.wrap_logger(
            _LineWriter(write),
            processors=[_as_it_is],
            wrapper_class=structlog.make_filtering_bound_logger("info"),
        )

    def write(self, batch: Finished) -> list[Omitted]:
        """Returns what there is no line of; `written` is to be told."""
        omitted: list[Omitted] = []
        lines = self._lines(batch, omitted)
        # structlog takes longer for a line than its writing does.
        while some := "\n".join(islice(lines, _LINES)):
            self._log.info(some)
        return omitted

    def _lines(self, batch: Finished, omitted: list[Omitted]) -> Iterator[str]:
        yield from left_out.lines(batch.events, json_line, omitted)
        for gap in chain(batch.gaps, self._left_out.gaps(omitted, batch.seen_ns)):
            yield json_text(gap_record(gap))

    def written(self, batch: Finished, omitted: list[Omitted]) -> None:
        """The lines are where they were to go."""
        self._left_out.written(omitted, batch.seen_ns)


class JsonLogSink:
    """The JSON log, in a file."""

    name = "json log"

    def __init__(self, file: LogFile) -> None:
        self._file = file
        self._lines: list[bytes] = []
        self._said = _Lines(self._lines.append, self.name)

    def accept(self, batch: Finished) -> None:
        """In the file (not yet on the disk) when it returns.

        Raises OSError, ExecauditError: then none of it is.
        """
        self._file.prepare()
        self._lines.clear()
        omitted = self._said.write(batch)
        self._file.write(b"".join(self._lines))
        self._said.written(batch, omitted)

    def waits(self) -> bool:
        """It writes at once or not at all."""
        return False

    def is_busy(self) -> bool:
        """It needs no call."""
        return False

    def finish(self) -> None:
        """All is written."""

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class JsonStreamSink:
    """The JSON log, on standard output: who reads it sets the pace, and may go away."""

    name = "json log"

    def __init__(self, write: Write) -> None:
        self._lines = _Lines(write, self.name)

    def accept(self, batch: Finished) -> None:
        """With the reader when it returns. Raises OSError."""
        self._lines.written(batch, self._lines.write(batch))

    def waits(self) -> bool:
        """It has written all that it has."""
        return False

    def is_busy(self) -> bool:
        """It needs no call."""
        return False

    def finish(self) -> None:
        """All is written."""

    def close(self) -> None:
        """Standard output stays open."""


class LiveSink:
    """The terminal: a table that grows. What happens is shown: neither ends nor what ran already."""

    name = "terminal"

    def __init__(self, write: Write) -> None:
        self._write = write
        self._column: TimeColumn | None = None
        self._left_out = LeftOut(self.name)

    def accept(self, batch: Finished) -> None:
        """Prints a row per exec."""
        lines: list[str] = []
        if self._column is None:
            self._column = TimeColumn(None, now_ns=batch.seen_ns)
            lines.append(table.table_header(self._column))
        column = self._column
        omitted: list[Omitted] = []
        shown = (event for event in batch.events if event.kind is not Kind.SNAPSHOT)
        lines += left_out.lines(shown, lambda event: table.table_row(event, column), omitted)
        gaps = [*batch.gaps, *self._left_out.gaps(omitted, batch.seen_ns)]
        lines += [gap_line(gap, None) for gap in gaps]
        self._write("".join(f"{line}\n" for line in lines).encode())
        self._left_out.written(omitted, batch.seen_ns)

    def waits(self) -> bool:
        """It has written all that it has."""
        return False

    def is_busy(self) -> bool:
        """It needs no call."""
        return False

    def finish(self) -> None:
        """All is written."""

    def close(self) -> None:
        """Standard output stays open."""
