"""The JSON log: a line for each exec and each gap, in a file or on standard output."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING

import structlog

from execaudit.daemon import left_out
from execaudit.daemon.left_out import LeftOut, Omitted
from execaudit.daemon.sinks.sink import Sink
from execaudit.output.json_lines import json_line, json_text
from execaudit.output.record import gap_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from execaudit.daemon.backlog import Finished
    from execaudit.daemon.log_file import LogFile

# Lines that are made at a time; a command line can have megabytes.
_LINES = 64


class JsonLogSink(Sink):
    """The JSON log in a file."""

    name = "json log"

    def __init__(self, file: LogFile) -> None:
        self._file = file
        self._lines: list[bytes] = []
        self._writer = _LineWriter(self._lines.append, self.name)

    def accept(self, batch: Finished) -> None:
        """Appends the batch to the file; it need not be on the disk yet.

        Raises OSError, ExecauditError: then nothing of the batch is in the file.
        """
        self._file.prepare()
        self._lines.clear()
        omitted = self._writer.write(batch)
        self._file.write(b"".join(self._lines))
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
        self._log = structlog.wrap_logger(
            _StructlogOutput(write),
            processors=[_as_it_is],
            wrapper_class=structlog.make_filtering_bound_logger("info"),
        )

    def write(self, batch: Finished) -> list[Omitted]:
        """Writes a batch. Returns what has no line; written() is to be called with it."""
        omitted: list[Omitted] = []
        lines = self._lines(batch, omitted)
        # Some lines in one call: structlog takes longer for a call than the line takes to be written.
        while some := "\n".join(islice(lines, _LINES)):
            self._log.info(some)
        return omitted

    def _lines(self, batch: Finished, omitted: list[Omitted]) -> Iterator[str]:
        yield from left_out.lines(batch.events, json_line, omitted)
        for gap in chain(batch.gaps, self._left_out.gaps(omitted, batch.seen_ns)):
            yield json_text(gap_record(gap))

    def written(self, batch: Finished, omitted: list[Omitted]) -> None:
        """Notes that the lines of write() have reached their file or reader."""
        self._left_out.written(omitted, batch.seen_ns)


class _StructlogOutput:
    """The output of a structlog logger."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write

    def msg(self, lines: str) -> None:
        self._write(lines.encode("ascii") + b"\n")

    info = msg


def _as_it_is(_logger: object, _method: str, entry: structlog.types.EventDict) -> str:
    """Returns the lines alone: the JSON log has no other keys than those of the record."""
    return str(entry["event"])
