"""The terminal: a table that grows with each exec."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.daemon import left_out
from execaudit.daemon.left_out import LeftOut, Omitted
from execaudit.daemon.sinks.sink import Sink
from execaudit.enums import Kind
from execaudit.output.notices import gap_line
from execaudit.output.table import Table, View
from execaudit.output.timecolumn import TimeColumn

if TYPE_CHECKING:
    from collections.abc import Callable

    from execaudit.daemon.backlog import Finished


class TerminalSink(Sink):
    """Shows execs and gaps; neither the ends of programs nor those that ran when recording began."""

    name = "terminal"

    def __init__(self, write: Callable[[bytes], object], view: View | None = None) -> None:
        """`write` writes all that it is given."""
        self._write = write
        self._view = view or View()
        self._table: Table | None = None
        self._left_out = LeftOut(self.name)

    def accept(self, batch: Finished) -> None:
        """Prints a row per exec. Raises OSError."""
        lines: list[str] = []
        if self._table is None:
            self._table = Table(TimeColumn(None, now_ns=batch.seen_ns), self._view, is_live=True)
            self._table.fit([], batch.seen_ns, batch.seen_ns)
            lines.append(self._table.header())
        omitted: list[Omitted] = []
        shown = (event for event in batch.events if event.kind is not Kind.SNAPSHOT)
        lines += left_out.lines(shown, self._table.row, omitted)
        gaps = [*batch.gaps, *self._left_out.gaps(omitted, batch.seen_ns)]
        lines += [gap_line(gap, None) for gap in gaps]
        self._write("".join(f"{line}\n" for line in lines).encode())
        self._left_out.written(omitted, batch.seen_ns)
