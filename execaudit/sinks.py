"""Where finished events go: the history, the JSON log, the terminal."""

from __future__ import annotations

import os
import sys
from itertools import chain, islice
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol

import structlog

from execaudit import render
from execaudit.errors import ExecauditError
from execaudit.event import Kind
from execaudit.jsonline import json_line
from execaudit.record import gap_record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from execaudit.event import ExecEvent, ExitEvent, Gap, Nanoseconds
    from execaudit.store import Store


# Lines that are handed to structlog at a time; command lines can have megabytes.
_LINES = 64


class Finished(NamedTuple):
    """What the recorder finished since it last said so."""

    events: Sequence[ExecEvent]
    gaps: Sequence[Gap]
    exits: Sequence[ExitEvent]
    seen_ns: Nanoseconds
    """Wall clock: with this, all that was captured until then is finished."""


class Sink(Protocol):
    """Takes what the recorder finished."""

    name: str

    def accept(self, batch: Finished) -> None:
        """Keeps a batch, which is empty at times. Raises ExecauditError or OSError when it cannot."""

    def close(self) -> None:
        """Flushes, and frees what it holds."""


class StoreSink:
    """The history."""

    name = "database"

    def __init__(self, store: Store) -> None:
        self._store = store

    def accept(self, batch: Finished) -> None:
        """Durable when it returns."""
        self._store.append(batch.events, batch.gaps, batch.exits, seen_ns=batch.seen_ns)

    def close(self) -> None:
        """The store belongs to who opened it."""


class _LineWriter:
    """What structlog writes to: a buffered file, flushed once a batch instead of each line."""

    def __init__(self, file: BinaryIO) -> None:
        self._write = file.write

    def msg(self, line: str) -> None:
        self._write(line.encode("ascii") + b"\n")

    info = msg


def _as_it_is(_logger: object, _method: str, record: structlog.types.EventDict) -> str:
    """The event is the lines: each is the record of the contract, which has no other keys."""
    return str(record["event"])


class JsonLogSink:
    """One JSON line per exec, or per gap, with the record of the documentation.

    Written when the exec happened and never again: ends make no line, and how the exec ended
    is null in it.
    """

    name = "json log"

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._log = structlog.wrap_logger(
            _LineWriter(file),
            processors=[_as_it_is],
            wrapper_class=structlog.make_filtering_bound_logger("info"),
        )

    def accept(self, batch: Finished) -> None:
        """In the file (not yet on the disk) when it returns."""
        lines = chain(map(json_line, batch.events), map(render.json_text, map(gap_record, batch.gaps)))
        # structlog takes longer for a line than its writing does.
        while some := "\n".join(islice(lines, _LINES)):
            self._log.info(some)
        self._file.flush()

    def close(self) -> None:
        """Closes the file, standard output excepted."""
        if self._file is not sys.stdout.buffer:
            self._file.close()


def open_json_log(path: Path) -> BinaryIO:
    """Opens a log for appending, after ending a line that a dead recorder left half written.

    Raises ExecauditError.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        file = os.fdopen(handle, "ab")
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            file.write(b"\n")
    except OSError as exc:
        raise ExecauditError(
            f"cannot write the JSON log {path}: {exc.strerror}: make its folder, or name another file with --json-log"
        ) from exc
    return file


class LiveSink:
    """The terminal: a table that grows. What happens is shown: neither ends nor what ran already."""

    name = "terminal"

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._begun = False

    def accept(self, batch: Finished) -> None:
        """Prints a row per exec."""
        lines = [] if self._begun else [render.TABLE_HEADER]
        self._begun = True
        lines += [render.table_row(event, None) for event in batch.events if event.kind is not Kind.SNAPSHOT]
        lines += [render.gap_line(gap, None) for gap in batch.gaps]
        self._file.write("".join(f"{line}\n" for line in lines).encode())
        self._file.flush()

    def close(self) -> None:
        """Standard output stays open."""
