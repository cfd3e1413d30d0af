"""The terminal: a table that grows with each exec."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.daemon import left_out
from execaudit.daemon.left_out import LeftOut, Omitted
from execaudit.daemon.sinks.sink import Sink
from execaudit.enums import Kind
from execaudit.output import table
from execaudit.output.notices import gap_line
from execaudit.output.timecolumn import TimeColumn

if TYPE_CHECKING:
    from collections.abc import Callable

    from execaudit.daemon.backlog import Finished


class TerminalSink(Sink):
    """Shows execs and gaps; neither the ends of programs nor those that ran when recording began."""

    name = "terminal"

    def __init__(self, write: Callable[[bytes], object]) -> None:
        """`write` writes all that it is given."""
        self._write = write
        self._column: TimeColumn | None = None
        self._left_out = LeftOut(self.name)

    def accept(self, batch: Finished) -> None:
        """Prints a row per exec. Raises OSError."""
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
