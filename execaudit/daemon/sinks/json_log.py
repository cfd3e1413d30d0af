"""The JSON log: a line for each exec, gap, hit, and each minute for a seal, in a file or on stdout."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import structlog

from execaudit.daemon import left_out
from execaudit.daemon.backlog import Finished
from execaudit.daemon.budget import JSON_LOG, Budget
from execaudit.daemon.left_out import LeftOut, Omitted
from execaudit.daemon.sinks.sink import Sink
from execaudit.output.json_lines import JsonLines, json_text
from execaudit.output.record import gap_record, hit_record, sealed_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from execaudit.daemon.log_file import LogFile

# So many lines are written at a time, or fewer when they have so much.
_LINES, _CHARACTERS = 64, 128 * 1024
# What is larger has a mapping of its own, which costs more than a call: see system/allocator.py.
_BLOCK_BYTES = 12 * 1024


class JsonLogSink(Sink):
    """The JSON log in a file."""

    name = "json log"

    def __init__(self, file: LogFile, *, host: str = "") -> None:
        self._file = file
        self._budget = Budget(host, JSON_LOG)
        self._asked: Finished | None = None
        """The batch that accept() was last called with, until it is written."""
        self._admitted: Finished | None = None
        """What is to be written of it."""
        self._writer = _LineWriter(file.append, self.name)

    def accept(self, batch: Finished) -> None:
        """Appends the batch to the file; it need not be on the disk yet.

        When the log is at its limit, execs are refused and counted, see budget.py. Raises OSError,
        ExecauditError: then nothing of the batch is in the file, and it is to be called with it again.
        """
        self._file.prepare()
        if self._admitted is None or batch is not self._asked:
            self._asked, self._admitted = batch, self._admit(batch)
        self._write(self._admitted)
        self._asked = self._admitted = None

    def finish(self) -> None:
        """Writes the gaps for execs that were refused since the last gap. Raises OSError, ExecauditError."""
        if gaps := self._budget.take_gaps():
            self._write(Finished([], gaps, [], gaps[0].to_ns))

    def _admit(self, batch: Finished) -> Finished:
        pressure, room_bytes = self._file.room()
        # One batch can be larger than the room that is left.
        if pressure is None and self._budget.taken_by(batch) > room_bytes:
            pressure = 0.0
        # An end has no line.
        return self._budget.admit(batch.without_exits(), pressure, room_bytes)

    def _write(self, batch: Finished) -> None:
        with self._file.batch():
            omitted = self._writer.write(batch)
        self._writer.written(batch, omitted)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class JsonStreamSink(Sink):
    """The JSON log on standard output. Its reader sets the pace, and may go away."""

    name = "json log"

    def __init__(self, write: Callable[[bytes], object]) -> None:
        """`write` writes all that it is given."""
        self._writer = _LineWriter(write, self.name)

    def accept(self, batch: Finished) -> None:
        """Returns when the reader has the batch. Raises OSError."""
        self._writer.written(batch, self._writer.write(batch))


class _LineWriter:
    """Writes the lines of batches.

    A line is written when the exec happened, and never again. So a program's end makes no line, and the
    fields of the end are null.
    """

    def __init__(self, write: Callable[[bytes], object], name: str) -> None:
        self._left_out = LeftOut(name)
        self._make = JsonLines()  # it remembers little, to save memory
        self._log = structlog.wrap_logger(
            _StructlogOutput(write),
            processors=[_as_it_is],
            wrapper_class=structlog.make_filtering_bound_logger("info"),
        )

    def write(self, batch: Finished) -> list[Omitted]:
        """Writes a batch. Returns what has no line; written() is to be called with it."""
        omitted: list[Omitted] = []
        for lines in self._lines(batch, omitted):
            self._log.info(lines)
        return omitted

    def _lines(self, batch: Finished, omitted: list[Omitted]) -> Iterator[bytes | str]:
        """Yields some lines at a time: structlog takes longer for a call than a line takes to be written."""
        events, at, some, make_block = batch.events, 0, _Some(), self._make.block
        while at < len(events):
            end = len(events)
            if make_block is not None:
                block, at = make_block(events, at, _BLOCK_BYTES)
                if block:
                    if some.lines:
                        yield some.take()
                    yield block
                    continue
                end = at + 1
            for line in left_out.lines(events[at:end], self._make.line, omitted):
                some.add(line)
                if some.is_enough():
                    # The joined text takes the list's place, so that a long line is not there twice.
                    del line
                    yield some.take()
            at = end
        gaps = chain(batch.gaps, self._left_out.gaps(omitted, batch.seen_ns))
        for record in chain(
            map(gap_record, gaps), map(hit_record, batch.hits), map(sealed_record, batch.sealed)
        ):
            some.add(json_text(record))
        if some.lines:
            yield some.take()

    def written(self, batch: Finished, omitted: list[Omitted]) -> None:
        """Notes that the lines of write() have reached their file or reader."""
        self._left_out.written(omitted, batch.seen_ns)


class _Some:
    """Lines that are to be written together."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._size = 0

    def add(self, line: str) -> None:
        """Adds a line, without a line end."""
        self.lines.append(line)
        self._size += len(line)

    def is_enough(self) -> bool:
        """Says whether to write them now: a command line can have megabytes."""
        return len(self.lines) >= _LINES or self._size >= _CHARACTERS

    def take(self) -> str:
        """Returns the lines as one text, and forgets them."""
        text = "\n".join(self.lines)
        self.lines.clear()
        self._size = 0
        return text


class _StructlogOutput:
    """The output of a structlog logger."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write

    def msg(self, lines: bytes | str) -> None:
        if isinstance(lines, bytes):
            self._write(lines)
            return
        # A long line is not there a second time as bytes.
        last = max(len(lines) - 1, 0) // _CHARACTERS * _CHARACTERS
        for at in range(0, last, _CHARACTERS):
            self._write(lines[at : at + _CHARACTERS].encode("ascii"))
        self._write(lines[last:].encode("ascii") + b"\n")

    info = msg


def _as_it_is(_logger: object, _method: str, entry: structlog.types.EventDict) -> str | bytes:
    """Returns the lines alone: the JSON log has no other keys than those of the record."""
    lines: str | bytes = entry["event"]
    return lines
