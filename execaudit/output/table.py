"""Events as text: JSON lines, CSV, and a table for people. Pure: iterators of lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from execaudit.enums import GapReason, Kind
from execaudit.escaping import printable, shell_quote
from execaudit.output.csv_lines import HEADER, CsvLines
from execaudit.output.json_lines import JsonLines
from execaudit.output.record import GAP_FIELDS, command_line, errno_name, split_argv
from execaudit.output.widths import padded
from execaudit.times import zone_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import tzinfo

    from execaudit.event import ExecEvent, Gap, Nanoseconds
    from execaudit.output.timecolumn import TimeColumn

_LONGEST_COMMAND = 4096
_REMEMBERED = 4096
_WHO, _EXE = 10, 24
_ROW = f"{{:<23}} {{:>7}} {{:>7}} {{:<{_WHO}}} {{:<7}} {{:<{_EXE}}} {{}}"
_UNKNOWN = "-"

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def jsonl(events: Iterable[ExecEvent]) -> Iterator[str]:
    """Yields a line of JSON per exec: ASCII without controls, so a terminal is safe from it."""
    line = JsonLines(_REMEMBERED, arguments=True).line
    for event in events:
        yield line(event) + "\n"


def csv_text(events: Iterable[ExecEvent], *, raw: bool) -> Iterator[str]:
    r"""Yields a header line, then a record per exec, quoted as in RFC 4180 and ended by `\n`.

    Unknown is an empty cell; argv and argv_missing are JSON. Unless `raw`, texts are safe to
    show and no cell is a formula to a spreadsheet: one that could be, or that starts with an
    apostrophe, has an apostrophe put before it. With `raw` texts are exact.
    """
    yield HEADER + "\n"
    line = CsvLines(raw=raw).line
    for event in events:
        yield line(event) + "\n"


def gaps_csv(records: Iterable[Mapping[str, object]], *, raw: bool) -> Iterator[str]:
    """Yields a header line, then a line per record of a gap, as csv_text does for execs."""
    yield ",".join(GAP_FIELDS) + "\n"
    line = CsvLines(raw=raw).cells
    for record in records:
        yield line(record[name] for name in GAP_FIELDS) + "\n"


def table(events: Iterable[ExecEvent], column: TimeColumn) -> Iterator[str]:
    """Yields a header line, then a line per exec."""
    yield table_header(column) + "\n"
    for event in events:
        yield table_row(event, column) + "\n"


def table_header(column: TimeColumn) -> str:
    """Returns the table's first line, without a line end."""
    return _ROW.format(f"TIME {column.zone_name}", "PID", "PPID", "USER", "RESULT", "EXE", "COMMAND")


def table_row(event: ExecEvent, column: TimeColumn) -> str:
    """Returns the table's line for one exec, safe to show, without a line end.

    A value wider than its column pushes the rest to the right; a command of more than 4096
    characters is cut and says so.
    """
    command = command_line(split_argv(event.argv, event.holes))
    if len(command) > _LONGEST_COMMAND:
        more = len(command) - _LONGEST_COMMAND
        command = f"{command[:_LONGEST_COMMAND]} [...{more} more characters: --format jsonl has all...]"
    exe = event.filename if event.kind is Kind.FAILED else event.exe
    return _ROW.format(
        column.text(event.time_ns),
        event.pid,
        _UNKNOWN if event.ppid is None else event.ppid,
        padded(_who(event), _WHO),
        _result(event),
        # Quoted, because a path with spaces could pass for an EXE and a COMMAND.
        padded(_UNKNOWN if exe is None else shell_quote(exe), _EXE),
        command,
    )


def gap_line(gap: Gap, zone: tzinfo | None) -> str:
    """Returns one line about what was missed, without a line end.

    Its times are rounded outward to milliseconds.
    """
    start = zone_text(gap.from_ns, zone)
    end = zone_text(gap.to_ns + 999_999, zone)
    if gap.reason is GapReason.CLOCK:
        return f"gap: the clock was stepped between {start} and {end}: times around it mislead (clock)"
    missed = []
    if gap.count is None:
        missed.append("an unknown number of execs")
    elif gap.count or not gap.exits:
        missed.append(f"{gap.count} {'exec' if gap.count == 1 else 'execs'}")
    if gap.exits:
        missed.append(f"{gap.exits} {'end of a program' if gap.exits == 1 else 'ends of programs'}")
    whose = "" if gap.uid is None else f" of uid {gap.uid}"
    return f"gap: {' and '.join(missed)}{whose} missed between {start} and {end} ({gap.reason.value})"


def pruned_line(execs: int, until_ns: Nanoseconds, at_ns: Nanoseconds, zone: tzinfo | None) -> str:
    """Returns one line about what was deleted on purpose, without a line end."""
    until, at = zone_text(until_ns + 999_999, zone), zone_text(at_ns, zone)
    return f"pruned: {execs} {'exec' if execs == 1 else 'execs'} from before {until} deleted, last at {at}"


def json_text(value: object) -> str:
    """Returns a value as compact JSON, ASCII without controls: a terminal is safe from it."""
    return _encode(value)


def _who(event: ExecEvent) -> str:
    if event.user is not None:
        return printable(event.user)
    return _UNKNOWN if event.uid is None else str(event.uid)


def _result(event: ExecEvent) -> str:
    if event.kind is Kind.EXEC:
        return "ok"
    if event.kind is Kind.SNAPSHOT:
        return "already"  # it ran when recording began
    return "failed" if event.errno is None else errno_name(event.errno)
