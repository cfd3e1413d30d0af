"""Write events as a table for people. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from execaudit.enums import Kind, errno_name
from execaudit.escaping import printable, shell_quote
from execaudit.exec_id import ID_LENGTH, SHORT_LENGTH
from execaudit.output import ansi
from execaudit.output.cells import UNKNOWN, user_text
from execaudit.output.program import path_of, what_ran
from execaudit.output.summary_line import brief_duration, status_text, went_wrong
from execaudit.output.timecolumn import Shown
from execaudit.output.widths import columns, cut, padded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from execaudit.event import ExecEvent
    from execaudit.output.program import Ran
    from execaudit.output.timecolumn import TimeColumn

_LONGEST_COMMAND = 4096
# Terminals of at least so many columns have room for milliseconds, and for the day in each row.
_MEDIUM, _BROAD = 100, 140
_PID, _STATUS, _TOOK, _EXE = 7, 8, 6, 24
_LEAST_PID, _LEAST_USER, _LEAST_STATUS = 3, 4, 6
_LEAST_HOST, _MOST_HOST = 4, 16
Cell = tuple[str, int]
"""A text and its columns; right-aligned if these are negative."""


@dataclass(frozen=True, kw_only=True)
class View:
    """How a table is shown."""

    width: int = 80
    """The columns of the terminal, for which the table is made."""
    is_cut: bool = False
    """Lines end there. Else a value that is wider than its column moves the rest, and nothing is cut."""
    is_wide: bool = False
    """All columns, each whole."""
    colour: bool = False
    cut_mark: str = "…"
    """Stands where something was cut off."""


class Table:
    """A table of execs: a header, then a line for each.

    ID, PID, USER and STATUS get the columns that the first execs need. `<` before a time: the program ran
    already at that time.
    """

    def __init__(
        self, times: TimeColumn, view: View, *, is_live: bool = False, hosts: Sequence[str] = ()
    ) -> None:
        """`is_live`: the execs have just happened, and their ends are not known.

        `hosts` are those whose execs may be in the table: if there are several, they have a column.
        """
        widths = [columns(printable(host)) for host in hosts]
        self._host = min(max(_LEAST_HOST, *widths), _MOST_HOST) if len(widths) > 1 else 0
        self._times, self._view, self._is_live = times, view, is_live
        self._pid, self._status = _PID, _STATUS
        self._most_user = _STATUS if view.width < _MEDIUM else _STATUS + 2
        self._user = self._most_user
        self._id = ID_LENGTH if view.is_wide else SHORT_LENGTH
        self._mark = 0

    def fit(self, events: Sequence[ExecEvent], from_ns: int, to_ns: int) -> None:
        """Fits the columns to the first execs, and the times to a range in which all execs probably are."""
        view = self._view
        is_whole = view.is_wide or view.width >= _BROAD
        self._times.shorten(
            from_ns,
            to_ns,
            most=Shown.ALL if is_whole else Shown.OF_DAY,
            seconds=not view.is_wide and view.width < _MEDIUM,
        )
        if events:
            self._pid = max(_LEAST_PID, *(len(str(event.pid)) for event in events))
            users = (columns(_user(event)) for event in events)
            self._user = min(self._most_user, max(_LEAST_USER, *users))
            status = (len(self._result(event)) for event in events)
            self._status = min(_STATUS, max(_LEAST_STATUS, *status))
            self._id = max(self._id, *(len(self._id_text(event)) for event in events))
            self._mark = any(event.kind is Kind.SNAPSHOT for event in events)

    def header(self) -> str:
        """Returns the first line, without a line end."""
        cells = [
            *self._cells("ID", "PID", "USER", "RESULT" if self._is_live else "STATUS", "TOOK", "PPID", "HOST")
        ]
        if self._view.is_wide:
            cells.append(("EXE", _EXE))
        # A day with its zone is wider than its column.
        when, width = " " * self._mark + self._times.title, self._mark + self._times.width
        line = f"{when:<{width}} {' '.join(_aligned(cells))} COMMAND"
        excess = len(when) - width
        if excess > 0:
            # IDs have room to spare.
            line = line.replace("ID" + " " * excess, "ID", 1)
        return self._cut(line)

    def row(self, event: ExecEvent) -> str:
        """Returns the line for one exec, safe to show, without a line end."""
        view, ran = self._view, what_ran(event)
        result, duration = self._result(event), None if event.end is None else event.end.duration_ns
        user = cut(_user(event), self._user, "+") if self._is_cut else _user(event)
        cells = self._cells(
            self._id_text(event),
            str(event.pid),
            user,
            result,
            UNKNOWN if duration is None else brief_duration(duration),
            UNKNOWN if event.ppid is None else str(event.ppid),
            self._host_text(event),
        )
        if view.is_wide:
            # In quotes where it has a blank: else it would look like an EXE and a COMMAND.
            exe = event.launch.filename if event.kind is Kind.FAILED else path_of(event.launch)
            cells.append((UNKNOWN if exe is None else shell_quote(exe), _EXE))
            ran = ran._replace(program=None)
        # It began before that time.
        mark = "<" if event.kind is Kind.SNAPSHOT else " " * self._mark
        when = padded(mark + self._times.text(event.time_ns), self._mark + self._times.width)
        texts = [when, *_aligned(cells)]
        room = view.width - columns(" ".join(texts)) - 1 if self._is_cut else None
        command = self._command(ran, room)
        if not view.colour or (room is not None and room <= 0):
            return self._cut(f"{' '.join(texts)} {command}")
        if went_wrong(event):
            place = 1 + cells.index((result, self._status), 3 if self._host else 2)
            texts[place] = ansi.painted(result, ansi.RED) + texts[place][len(result) :]
        if view.is_wide and ran.is_disguised:
            texts[-1] = ansi.painted(texts[-1], ansi.STANDOUT)
        return f"{' '.join(texts)} {ran.coloured(command)}"

    @property
    def _is_cut(self) -> bool:
        return self._view.is_cut and not self._view.is_wide

    def _cut(self, line: str) -> str:
        return cut(line, self._view.width, self._view.cut_mark) if self._is_cut else line

    def _cells(self, *texts: str) -> list[Cell]:
        """Returns the cells of an id, a pid, a user, a result, a duration, a parent's pid and a host."""
        id_, pid, user, result, took, ppid, host = texts
        cells: list[Cell] = [
            (id_, self._id),
            (pid, -self._pid),
            (user, self._user),
            (result, self._status),
        ]
        if self._view.is_wide:
            cells.insert(2, (ppid, -self._pid))
        if self._host:
            cells.insert(0, (host, self._host))
        if not self._is_live:
            cells.append((took, -_TOOK))
        return cells

    def _command(self, ran: Ran, room: int | None) -> str:
        """Returns what ran, in at most `room` columns; without that, a very long one says how long it is."""
        text = ran.text
        if room is not None:
            return cut(text, room, self._view.cut_mark)
        if len(text) <= _LONGEST_COMMAND:
            return text
        more = len(text) - _LONGEST_COMMAND
        return f"{text[:_LONGEST_COMMAND]} [...{more} more characters: --format jsonl has all...]"

    def _id_text(self, event: ExecEvent) -> str:
        # All that ran when recording began is of one moment.
        is_whole = self._view.is_wide or event.kind is Kind.SNAPSHOT
        return event.id if is_whole else event.id[:SHORT_LENGTH]

    def _host_text(self, event: ExecEvent) -> str:
        host = printable(event.host)
        return cut(host, self._host, "+") if self._host and self._is_cut else host

    def _result(self, event: ExecEvent) -> str:
        if not self._is_live:
            return status_text(event)
        if event.kind is Kind.FAILED:
            return "failed" if event.errno is None else errno_name(event.errno)
        return "ok"


def table(events: Iterable[ExecEvent], shown: Table) -> Iterator[str]:
    """Yields a header line, then a line for each exec."""
    yield shown.header() + "\n"
    for event in events:
        yield shown.row(event) + "\n"


def _user(event: ExecEvent) -> str:
    return user_text(event.launch.user, event.launch.uid)


def _aligned(cells: Sequence[Cell]) -> list[str]:
    return [f"{text:>{-width}}" if width < 0 else padded(text, width) for text, width in cells]
