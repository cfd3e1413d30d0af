"""Write events as a table for people. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.enums import Kind, errno_name
from execaudit.escaping import shell_quote
from execaudit.output.cells import UNKNOWN, user_text
from execaudit.output.record import command_line, split_argv
from execaudit.output.widths import padded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from execaudit.event import ExecEvent
    from execaudit.output.timecolumn import TimeColumn

_LONGEST_COMMAND = 4096
_WHO, _EXE = 10, 24
_ROW = f"{{:<23}} {{:>7}} {{:>7}} {{:<{_WHO}}} {{:<7}} {{:<{_EXE}}} {{}}"


def table(events: Iterable[ExecEvent], column: TimeColumn) -> Iterator[str]:
    """Yields a header line, then a line for each exec."""
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
    exe = event.launch.filename if event.kind is Kind.FAILED else event.launch.exe
    return _ROW.format(
        column.text(event.time_ns),
        event.pid,
        UNKNOWN if event.ppid is None else event.ppid,
        padded(user_text(event.launch.user, event.launch.uid), _WHO),
        _result(event),
        # Quoted, because a path with a space would look like an EXE and a COMMAND.
        padded(UNKNOWN if exe is None else shell_quote(exe), _EXE),
        command,
    )


def _result(event: ExecEvent) -> str:
    if event.kind is Kind.EXEC:
        return "ok"
    if event.kind is Kind.SNAPSHOT:
        return "already"  # it ran when recording began
    return "failed" if event.errno is None else errno_name(event.errno)
