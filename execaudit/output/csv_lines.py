"""Write an exec's record as a line of CSV, straight from the event. Pure.

The csv module would make the same of `to_record`, in ten times as long, and an export has millions of lines.
Unless `raw`, texts are safe to show, and no cell is a formula to a spreadsheet.
"""

from __future__ import annotations

import re
from functools import lru_cache
from json import JSONEncoder
from typing import TYPE_CHECKING, Any

from execaudit.enums import errno_name
from execaudit.escaping import printable
from execaudit.exec_id import encode_id
from execaudit.fields import Type
from execaudit.output import record
from execaudit.output.shared_fields import SharedFields
from execaudit.times import utc_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from execaudit.enums import Kind
    from execaudit.event import End, ExecEvent, Hole
    from execaudit.fields import Field

# A spreadsheet may run a cell that begins with one of these (OWASP, "CSV Injection"; the last four are wide
# forms of the first four). The apostrophe is here because it is put before them: so whoever removes one
# apostrophe gets the text back.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_BETWEEN = '"",""'
# Most texts need nothing: printable ASCII without comma and quote, that cannot be a formula.
_IS_PLAIN = re.compile(r"[\w/.:(][ !#-+\--~]*", re.ASCII).fullmatch
_SPECIAL = re.compile(r'[,"\r\n]').search
_REMEMBERED = 4096
# A longer command line rarely comes twice.
_SHORT = 1024
_encode = JSONEncoder(separators=(",", ":"), check_circular=False).encode

HEADER = ",".join(record.FIELDS)
NO_END = ",,,,"
"""The cells of the end of a program that has none."""


def csv_text(events: Iterable[ExecEvent], *, raw: bool) -> Iterator[str]:
    r"""Yields a header line, then a line for each exec, quoted as in RFC 4180 and ended by `\n`.

    The cell of an unknown value is empty; argv and argv_missing are JSON. Unless `raw`, texts are safe to
    show and no cell is a formula to a spreadsheet: a text that could be one, or that starts with an
    apostrophe, gets an apostrophe before it. With `raw`, texts are exact.
    """
    yield HEADER + "\n"
    line = CsvLines(raw=raw).line
    for event in events:
        yield line(event) + "\n"


def gaps_csv(records: Iterable[Mapping[str, object]], *, raw: bool) -> Iterator[str]:
    """Yields a header line, then a line for each record of a gap, as csv_text does for execs."""
    yield ",".join(record.GAP_FIELDS) + "\n"
    line = CsvLines(raw=raw).cells
    for gap in records:
        yield line(gap[name] for name in record.GAP_FIELDS) + "\n"


class CsvLines:
    """Makes lines, and remembers the texts that many execs share."""

    def __init__(self, *, raw: bool) -> None:
        self._raw = raw
        self._where = lru_cache(_REMEMBERED)(self.where)
        self._id = lru_cache(_REMEMBERED)(encode_id)
        self.around = SharedFields(self.text_of, _REMEMBERED).around
        self._arguments = lru_cache(_REMEMBERED)(self.arguments)

    def line(self, event: ExecEvent) -> str:
        """Returns the record of one exec, quoted as in RFC 4180, without a line end."""
        (
            kind, host, boot_id, time_ns, _, pid, tid, ppid, argv, argc, argv_bytes, holes, truncated, errno,
            launch, origin, parent, _, end, _, redacted,
        ) = event  # fmt: skip
        before, after = self.around(launch, origin)
        arguments = self._arguments if len(argv) <= _SHORT else self.arguments
        words, command, missing, encoded = arguments(argv, holes)
        return (
            f"{event.id},{'' if parent is None else self._id(parent)},{utc_text(time_ns)},"
            f"{self._where(host, boot_id, kind)},{pid},{tid},{'' if ppid is None else ppid},"
            f"{before},{words},{'' if argc is None else argc},{'' if argv_bytes is None else argv_bytes},"
            f"{command},{'' if truncated is None else truncated.value},{missing},{self.pairs(redacted)},"
            f"{'' if errno is None else errno_name(errno)},{after},{NO_END if end is None else _end(end)},{encoded}"
        )

    def word(self, word: str | None) -> str:
        """Returns the cell of a plain word, such as how an exec ended."""
        return word or ""

    def error(self, errno: int) -> str:
        """Returns the cell of an error."""
        return errno_name(errno)

    def cells(self, values: Iterable[object]) -> str:
        """Returns a line of other values, without a line end."""
        return ",".join(self._text(None if value is None else str(value)) for value in values)

    def _text(self, text: str | None) -> str:
        """Returns the cell of a text."""
        if text is None:
            return ""
        if _IS_PLAIN(text):
            return text
        if self._raw:
            return _quoted(text)
        shown = printable(text)
        return _quoted("'" + shown if shown.startswith(_FORMULA) else shown)

    def text_of(self, field: Field) -> Callable[[Any], str]:
        """Returns what makes the cell of a field, from its value in the event."""
        show, is_number, text = record.shown_by(field), field.type is Type.NUMBER, self._text

        def cell(value: Any) -> str:  # noqa: ANN401  # the table says what it is
            shown = value if value is None or show is None else show(value)
            if shown is None:
                return ""
            return str(shown) if is_number else text(str(shown))

        return cell

    def where(self, host: str, boot_id: str, kind: Kind) -> str:
        """Returns the cells from host to kind."""
        return f"{self._text(host)},{self._text(boot_id)},{kind.value}"

    def pairs(self, pairs: Sequence[tuple[int, int | None]]) -> str:
        """Returns the cell of argv_missing, or of redacted."""
        return _quoted(_encode(pairs)) if pairs else ""

    def arguments(self, argv: bytes, holes: tuple[Hole, ...]) -> tuple[str, str, str, str]:
        """Returns the cells of argv, command, argv_missing and argv_base64."""
        if not holes and record.is_plain(argv):
            plain = argv[:-1].decode("ascii")
            command = plain.replace("\0", " ")
            if not self._raw and command.startswith(_FORMULA):
                command = f"'{command}"
            words = plain.replace("\0", _BETWEEN)
            return f'"[""{words}""]"', _quoted(command), "", ""
        arguments = record.split_argv(argv, holes)
        texts, all_utf8 = record.decoded(arguments.parts)
        return (
            _quoted(_encode(texts)),
            self._text(record.command_line(arguments)),
            self.pairs(arguments.missing),
            "" if all_utf8 else self._text(record.base64_text(argv)),
        )


def _quoted(text: str) -> str:
    if _SPECIAL(text) is None:
        return text
    return '"' + text.replace('"', '""') + '"'


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _end(end: End) -> str:
    how, code, signal, duration_ns, replaced_by = end
    replaced = "" if replaced_by is None else encode_id(replaced_by)
    return f"{how.value},{_number(code)},{_number(signal)},{_number(duration_ns)},{replaced}"
