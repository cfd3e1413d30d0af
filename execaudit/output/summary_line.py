"""Write one line for an exec: in a tree, among relatives, and how it ended in words. Pure."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from typing import TYPE_CHECKING

from execaudit.enums import Ended, Kind, errno_name
from execaudit.escaping import printable
from execaudit.exec_id import SHORT_LENGTH, encode_id
from execaudit.output import ansi
from execaudit.output.cells import UNKNOWN, user_text
from execaudit.output.program import what_ran
from execaudit.output.tree_layout import BOX, Glyphs
from execaudit.output.widths import columns, cut, padded
from execaudit.times import zone_text

if TYPE_CHECKING:
    from datetime import tzinfo

    from execaudit.event import End, ExecEvent
    from execaudit.output.timecolumn import TimeColumn

_MILLISECOND, _SECOND = 1_000_000, 1_000_000_000
_FEW = 10  # milliseconds; below this, three decimals are shown
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_DATE, _TIME = len("2026-11-22"), len("2026-11-22 14:05:07.123")
_YEAR, _SECONDS = len("2026-"), len("14:05:07")
_USER = 8
# From so many columns on, ids are whole.
_BROAD = 100
# The mark, `<`, user, pid, duration and status, with the spaces between them.
_BESIDE_TIME = 2 + 1 + 1 + (_USER + 1) + (7 + 1) + (8 + 1) + (8 + 1)
# The columns for drawing and command on the narrowest terminal.
_NARROWEST = 20
_LEAD = 3
_DEEPEST, _SHALLOWEST = 50, 4


class Role(Enum):
    """Why an exec is in a drawing; the value is its mark."""

    MATCH = "*"
    """It matches the filters."""
    CONTEXT = "."
    """It is an ancestor of a match."""
    BELOW = " "
    """It is a descendant of a match."""


@dataclass(frozen=True, kw_only=True)
class Style:
    """How to write lines."""

    glyphs: Glyphs = BOX
    width: int | None = None
    """Columns of the terminal; None: nothing is cut."""
    colour: bool = False
    zone: tzinfo | None = None
    """None: the system's time zone."""
    times: TimeColumn | None = None
    """Names the zone in the header, and shows where its offset changes; None: neither."""
    day: str | None = None
    """For an exec of this day, `2026-11-22`, only the time is written; for others, only the day."""
    marked: bool = False
    """Each line has the mark of the exec's role."""

    @property
    def is_narrow(self) -> bool:
        """Says whether a terminal has no room for whole ids."""
        return self.width is not None and self.day is not None and self.width < _BROAD

    @property
    def most_columns(self) -> int:
        """How many levels of a drawing may be shown, so that half of the room is left for the command."""
        if self.width is None:
            return _DEEPEST
        time = _TIME if self.day is None else _TIME - _DATE - 1
        room = max(_NARROWEST, self.width - _BESIDE_TIME - time)
        return max(_SHALLOWEST, room // 2 // _LEAD)


def tree_header(style: Style) -> str:
    """Returns the header for tree_line, without a line end. The day takes the place of TIME."""
    mark = "  " if style.marked else ""
    width = _TIME if style.day is None else _TIME - _DATE - 1
    zone = "" if style.times is None else f" {style.times.zone_name}"
    # A day with its zone is wider than its column, and USER and PID have room to spare.
    when = f"{style.day or 'TIME'}{zone}"
    who = f"{when:<{width}} {'USER':<{_USER}}"[: max(width + 1 + _USER, len(when) + len(" USER"))]
    return f"{mark} {who}{'PID':>{width + 1 + _USER + 8 - len(who)}} {'DURATION':>8} {'STATUS':<8} COMMAND"


def tree_line(event: ExecEvent, lead: str, role: Role, style: Style) -> str:
    """Returns an exec's line in a tree, safe to show, without a line end.

    `<` before the time: the program ran already at that time. A line that is wider than the terminal is cut.
    A long user name is always cut, because the columns after it must be aligned.
    """
    mark = f"{role.value} " if style.marked else ""
    duration = None if event.end is None else event.end.duration_ns
    status = short_outcome(event)
    before = (
        f"{mark}{'<' if event.kind is Kind.SNAPSHOT else ' '}{_time(event, style)}"
        f" {padded(cut(user_text(event.launch.user, event.launch.uid), _USER, '+'), _USER)} {event.pid:>7}"
        f" {UNKNOWN if duration is None else duration_text(duration).replace(' ', ''):>8} "
    )
    rest = f"{status:<8} "
    room = None if style.width is None else max(_NARROWEST, style.width - columns(before) - len(rest))
    ran = what_ran(event)
    drawn = lead + ran.text if room is None else cut(lead + ran.text, room, style.glyphs.cut)
    if not style.colour:
        return f"{before}{rest}{drawn}"
    if role is Role.CONTEXT:
        return ansi.painted(f"{before}{rest}{drawn}", ansi.DIM)
    if went_wrong(event):
        rest = rest.replace(status, ansi.painted(status, ansi.RED))
    lead, command = drawn[: len(lead)], drawn[len(lead) :]
    if style.marked and role is Role.MATCH:
        return f"{ansi.painted(before, ansi.BOLD)}{rest}{ansi.painted(lead, ansi.BOLD)}{ran.coloured(command, ansi.BOLD)}"
    return f"{before}{rest}{lead}{ran.coloured(command)}"


def note_line(text: str, lead: str, style: Style) -> str:
    """Returns a line in a tree that is about no exec, but says something, without a line end."""
    before = " " * (columns(tree_header(style)) - len("COMMAND"))
    line = before + lead + text
    if style.width is not None:
        line = cut(line, style.width, style.glyphs.cut)
    return ansi.painted(line, ansi.DIM) if style.colour else line


def kin_line(event: ExecEvent, lead: str, style: Style) -> str:
    """Returns an exec's line among its relatives: id, time, pid, end and command.

    It is safe to show, cut at the width of the terminal, and has no line end. On a narrow terminal the id is
    short, and what ran already when recording began is named by its pid.
    """
    if style.is_narrow:
        time = _time(event, style)
        when = time[:_SECONDS] if time[2:3] == ":" else time[_YEAR:_DATE]
        before = f"{short_name(event):<{SHORT_LENGTH}} {when:<{_SECONDS}} {event.pid:>7} {short_outcome(event):<8} "
        space = max(_NARROWEST, (style.width or 0) - len(before))
        # Ancestors are one line of descent: they need no drawing.
        return before + cut(lead[-_LEAD:].lstrip() + what_ran(event).text, space, style.glyphs.cut)
    before = f"{event.id}  {_time(event, style)} {event.pid:>7} {short_outcome(event):<8} "
    room = None if style.width is None else max(_NARROWEST, style.width - len(before))
    return before + command_text(event, lead, room, style.glyphs.cut)


def short_name(event: ExecEvent) -> str:
    """Returns what names an exec in a narrow column: the beginning of its id.

    What ran already when recording began is all of one moment, and is named by its pid.
    """
    return f"pid:{event.pid}" if event.kind is Kind.SNAPSHOT else event.id[:SHORT_LENGTH]


def outcome(event: ExecEvent, *, next_comm: bytes | None = None) -> str:
    """Returns how an exec ended, in words that are safe to show: `exited 0 after 1.234 s`.

    `next_comm` names the program that replaced it.
    """
    if event.kind is Kind.FAILED:
        return "failed" if event.errno is None else f"failed with {errno_name(event.errno)}"
    end = event.end
    if end is None or end.how is Ended.UNKNOWN:
        return "end unknown"
    if end.how is Ended.RUNNING:
        return "running"
    if end.how is Ended.REPLACED:
        by = "another exec" if end.replaced_by is None else encode_id(end.replaced_by)
        words = f"replaced by {by}" + (f" ({printable(next_comm)})" if next_comm is not None else "")
    else:
        words = f"killed by {_signal(end.signal)}" if end.how is Ended.SIGNALED else f"exited {end.code}"
    if end.duration_ns is None:
        return words
    duration = duration_text(end.duration_ns)
    if event.kind is Kind.SNAPSHOT:
        return f"{words}, {duration} after recording began"
    return f"{words} after {duration}"


def short_outcome(event: ExecEvent) -> str:
    """Returns how an exec ended, in one word: an exit status, signal, errno, `running`, or `-`."""
    if event.kind is Kind.FAILED:
        return "failed" if event.errno is None else errno_name(event.errno)
    end = event.end
    if end is None or end.how is Ended.UNKNOWN:
        return UNKNOWN
    if end.how is Ended.EXITED:
        return str(end.code)
    return _signal(end.signal) if end.how is Ended.SIGNALED else end.how.value


def status_text(event: ExecEvent) -> str:
    """Returns how an exec ended, for a table: as short_outcome, but `ok` and `exit 1`."""
    end = event.end
    if event.kind is not Kind.FAILED and end is not None and end.how is Ended.EXITED:
        return f"exit {end.code}" if end.code else "ok"
    return short_outcome(event)


def bad_end_text(end: End) -> str:
    """Returns how a program ended that did not exit with 0: `exit 1`, `SIGKILL`."""
    return f"exit {end.code}" if end.how is Ended.EXITED else _signal(end.signal)


def brief_duration(duration_ns: int) -> str:
    """Returns a length of time in at most 6 characters, up to 99 days: `0.1ms`, `45ms`, `1.23s`, `2m05s`."""
    milliseconds = duration_ns // _MILLISECOND
    if milliseconds < _FEW:
        return f"{milliseconds}.{duration_ns // 100_000 % 10}ms"
    if duration_ns < _SECOND:
        return f"{milliseconds}ms"
    seconds = duration_ns // _SECOND
    if seconds < _FEW:
        return f"{seconds}.{milliseconds % 1000 // 10:02d}s"
    if seconds < _MINUTE:
        return f"{seconds}.{milliseconds % 1000 // 100}s"
    return duration_text(duration_ns)


def duration_text(duration_ns: int) -> str:
    """Returns a length of time, cut to few digits: `0.123 ms`, `45.6 ms`, `1.234 s`, `2m05s`, `3h07m`."""
    milliseconds, microseconds = duration_ns // _MILLISECOND, duration_ns // 1000 % 1000
    if milliseconds < _FEW:
        return f"{milliseconds}.{microseconds:03d} ms"
    if duration_ns < _SECOND:
        return f"{milliseconds}.{microseconds // 100} ms"
    seconds = duration_ns // _SECOND
    if seconds < _MINUTE:
        return f"{seconds}.{milliseconds % 1000:03d} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE}m{seconds % _MINUTE:02d}s"
    if seconds < _DAY:
        return f"{seconds // _HOUR}h{seconds % _HOUR // _MINUTE:02d}m"
    return f"{seconds // _DAY}d{seconds % _DAY // _HOUR:02d}h"


def went_wrong(event: ExecEvent) -> bool:
    """Says whether an exec failed, or ended with a failure."""
    end = event.end
    return event.kind is Kind.FAILED or (end is not None and bool(end.code or end.signal))


def local_text(time_ns: int, zone: tzinfo | None = None) -> str:
    """Returns a moment for people, with the offset of its zone: `2026-11-22 14:05:07.123 +0100`.

    In `zone`; None is the system's.
    """
    moment = datetime.fromtimestamp(time_ns // _SECOND, timezone.utc).astimezone(zone)
    return f"{zone_text(time_ns, zone)} {moment:%z}"


def day_of(time_ns: int, zone: tzinfo | None) -> str:
    """Returns the day of a moment: `2026-11-22`."""
    return zone_text(time_ns, zone)[:_DATE]


def _time(event: ExecEvent, style: Style) -> str:
    text = zone_text(event.time_ns, style.zone)
    suffix = "" if style.times is None else style.times.suffix(event.time_ns)
    if style.day is None:
        return text + suffix
    of_day = text[_DATE + 1 :]
    return (of_day if text.startswith(style.day) else f"{text[:_DATE]:<{len(of_day)}}") + suffix


def _signal(number: int | None) -> str:
    if number is None:
        return "a signal"
    try:
        return signal.Signals(number).name
    except ValueError:
        first = int(signal.SIGRTMIN)
        realtime = first < number < signal.SIGRTMAX
        return f"SIGRTMIN+{number - first}" if realtime else f"signal {number}"


def command_text(event: ExecEvent, lead: str, room: int | None, mark: str) -> str:
    """Returns the drawing and the command, safe to show, in at most `room` columns."""
    text = lead + what_ran(event).text
    return text if room is None else cut(text, room, mark)
