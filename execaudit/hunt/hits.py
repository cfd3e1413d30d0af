"""Write hits: as a table for people, or a line of JSON each. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.escaping import printable
from execaudit.exec_id import SHORT_LENGTH
from execaudit.output.cells import LEVEL_WIDTH, level_text, user_text
from execaudit.output.json_lines import JsonLines, json_text
from execaudit.output.program import what_ran
from execaudit.output.record import rule_record
from execaudit.output.summary_line import short_name
from execaudit.output.widths import columns, cut, padded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from execaudit.hunt.search import Hit
    from execaudit.output.timecolumn import TimeColumn

_LONGEST_COMMAND = 4096
_TIME, _LEVEL, _TITLE, _PID, _USER = 23, LEVEL_WIDTH, 34, 7, 10
_SHORTEST_COMMAND, _ID = 12, SHORT_LENGTH
_MARK = "…"


def jsonl(hits: Iterable[Hit]) -> Iterator[str]:
    """Yields a line of JSON for each hit: the rule, and the exec's record."""
    line = JsonLines(arguments=True).line
    rules: dict[int, str] = {}
    for hit in hits:
        rule = rules.get(id(hit.rule))
        if rule is None:
            rule = rules[id(hit.rule)] = json_text(rule_record(hit.rule.said()))
        yield f'{{"rule":{rule},"exec":{line(hit.event)}}}\n'


def table(hits: Iterable[Hit], times: TimeColumn, *, width: int | None) -> Iterator[str]:
    """Yields a header line, then a line for each hit. Commands are cut so that a terminal's width will do.

    Without a width, titles and commands stay whole up to 4096 characters.
    """
    layout = _Layout(width)
    yield layout.line(f"TIME {times.zone_name}", "LEVEL", "TITLE", "PID", "USER", "COMMAND", "ID")
    for hit in hits:
        event, rule = hit.event, hit.rule
        yield layout.line(
            times.text(event.time_ns),
            level_text(rule.level),
            printable(rule.title),
            str(event.pid),
            user_text(event.launch.user, event.launch.uid),
            what_ran(event).text,
            event.id if width is None else short_name(event),
        )


class _Layout:
    """The widths of columns. On a narrow terminal a hit has two lines: what it is, and what ran."""

    def __init__(self, width: int | None) -> None:
        before = _TIME + _LEVEL + _TITLE + _PID + _USER + 5
        self._width = width
        self._command: int | None = None
        if width is not None:
            self._command = width - before - 1 - _ID
        self._is_narrow = self._command is not None and self._command < _SHORTEST_COMMAND

    def line(self, *cells: str) -> str:
        """Returns the line of a row."""
        time, level, title, pid, user, command, exec_id = cells
        start = f"{padded(time, _TIME)} {level:<{_LEVEL}}"
        who = f"{pid:>{_PID}} {padded(user, _USER)}"
        if self._width is None:
            return (
                f"{start} {padded(title, _TITLE)} {who} {_shortened(command, _LONGEST_COMMAND)} {exec_id}\n"
            )
        if not self._is_narrow:
            most = self._command or _SHORTEST_COMMAND
            shown = padded(cut(command, most, _MARK), most)
            return f"{start} {padded(cut(title, _TITLE, _MARK), _TITLE)} {who} {shown} {exec_id}\n"
        first = f"{start} {title}"
        room = self._width - 2 - columns(who) - 2 - _ID
        shown = padded(cut(command, room, _MARK), room)
        return f"{cut(first, self._width, _MARK)}\n  {who} {shown} {exec_id}\n"


def _shortened(command: str, most: int) -> str:
    if len(command) <= most:
        return command
    return f"{command[:most]} [...{len(command) - most} more characters: --format jsonl has all...]"
