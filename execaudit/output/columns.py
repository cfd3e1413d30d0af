"""Write chosen fields of the record, in the order of their names: a table, CSV or JSON lines. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.escaping import printable, shell_quote
from execaudit.fields import BY_NAME, Form, Type
from execaudit.output.cells import UNKNOWN
from execaudit.output.csv_lines import CsvLines
from execaudit.output.format import Format
from execaudit.output.json_lines import json_text
from execaudit.output.record import to_record
from execaudit.output.widths import cut, padded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from execaudit.event import ExecEvent
    from execaudit.output.timecolumn import TimeColumn

_LONGEST, _WIDEST = 4096, 32
# A text of these has no blank, or is the command itself.
_AS_THEY_ARE = frozenset({Form.ID, Form.WORD, Form.GAINED, Form.ERRNO, Form.TIME})


def columns_text(  # noqa: PLR0913  # each is needed
    events: Iterable[ExecEvent],
    names: Sequence[str],
    fmt: Format,
    *,
    raw: bool,
    times: TimeColumn,
    width: int | None = None,
) -> Iterator[str]:
    """Yields the text of these fields of the events. A table has `times`; its lines end at a width."""
    if fmt is Format.TABLE:
        lines = _table(events, names, times)
        yield from lines if width is None else (f"{cut(line[:-1], width, '…')}\n" for line in lines)
        return
    if fmt is Format.CSV:
        yield csv_header(names)
    yield from map(line_of(names, fmt, raw=raw), events)


def csv_header(names: Sequence[str]) -> str:
    """Returns the first line of CSV."""
    return ",".join(names) + "\n"


def line_of(names: Sequence[str], fmt: Format, *, raw: bool) -> Callable[[ExecEvent], str]:
    """Returns what makes the line of an exec with these fields: CSV, or JSON."""
    return _csv_line(names, raw=raw) if fmt is Format.CSV else _json_line(names)


def _json_line(names: Sequence[str]) -> Callable[[ExecEvent], str]:
    def line(event: ExecEvent) -> str:
        record = to_record(event)
        return json_text({name: record.get(name) for name in names}) + "\n"

    return line


def _csv_line(names: Sequence[str], *, raw: bool) -> Callable[[ExecEvent], str]:
    cells_of = CsvLines(raw=raw).cells

    def line(event: ExecEvent) -> str:
        record = to_record(event)
        values = (record.get(name) for name in names)
        cells = cells_of(json_text(value) if isinstance(value, list) else value for value in values)
        # A line of one empty cell would be no line to readers.
        return (cells or '""') + "\n"

    return line


def _table(events: Iterable[ExecEvent], names: Sequence[str], times: TimeColumn) -> Iterator[str]:
    """Yields a header, and a line for each exec. A value that is wider than its column moves the rest."""
    widths = [min(_WIDEST, max(len(_title(name, times)), len(_text_of_example(name)))) for name in names]
    # Not after the last one: lines have no blanks at their end.
    widths[-1] = 0
    yield _row([_title(name, times) for name in names], widths)
    cells = [_cell(name, times) for name in names]
    for event in events:
        record = to_record(event)
        yield _row([cell(event, record) for cell in cells], widths)


def _row(texts: Sequence[str], widths: Sequence[int]) -> str:
    return " ".join(padded(text, width) for text, width in zip(texts, widths, strict=True)) + "\n"


def _title(name: str, times: TimeColumn) -> str:
    return f"TIME {times.zone_name}" if name == "time" else name.upper()


def _text_of_example(name: str) -> str:
    return "2026-11-22 14:05:07.123" if name == "time" else str(BY_NAME[name].example)


def _cell(name: str, times: TimeColumn) -> Callable[[ExecEvent, dict[str, object]], str]:
    """Returns what makes the text of a field, safe to show."""
    field = BY_NAME[name]

    def cell(event: ExecEvent, record: dict[str, object]) -> str:
        value = record.get(name)
        if name == "time":
            return times.text(event.time_ns)
        if value is None:
            return UNKNOWN
        if field.type is Type.NUMBER:
            return str(value)
        if isinstance(value, list):
            text = printable(json_text(value))
        elif name == "command" or field.form in _AS_THEY_ARE:
            text = printable(str(value))
        else:
            # Quoted where it has a blank: else it would look like two columns.
            text = shell_quote(str(value).encode("utf-8", "surrogateescape"))
        if len(text) > _LONGEST:
            return f"{text[:_LONGEST]} [...{len(text) - _LONGEST} more characters: --format jsonl has all...]"
        return text

    return cell
