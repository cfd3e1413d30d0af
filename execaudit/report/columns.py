"""The data of a report: the records of execs, column by column, as JSON that is inert inside of HTML. Pure.

A column has the same value for all execs (`all`), values that many share with the place of each (`values`
and `at`), or a value for each (`each`). What names an exec that is in the report is that exec's place. `argv`
is 0 where the words of `command` are the arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from execaudit.arguments import marks_at, to_redactions
from execaudit.escaping import printable
from execaudit.event import MARK_BYTES, Hole
from execaudit.fields import FIELDS, Form
from execaudit.output.json_lines import json_text
from execaudit.output.program import what_ran
from execaudit.output.record import to_record
from execaudit.output.summary_line import status_text, went_wrong

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from execaudit.event import ExecEvent, Nanoseconds

# Longer paths are cut: anybody can make 20 000 of them that have 4 KB each.
_LONGEST_PATH = 512
_PATHS = tuple(field.name for field in FIELDS if field.form in (Form.PATH, Form.BYTES))
_IDS = tuple(field.name for field in FIELDS if field.form is Form.ID and field.name != "id")
NAMES = (
    *(field.name for field in FIELDS),
    "status",
    "is_wrong",
    "marks",
    "program",
    "is_disguised",
    "is_cut",
)
"""The columns: those of the record, and what people see of an exec."""

# Inside of <script> only `<` could end or hide something. `>` and `&` are escaped too, for programs that
# parse the page in a way of their own. All else that is not ASCII is escaped by JSON.
_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def inert_json(value: object) -> str:
    """Returns JSON in one line of ASCII that has none of `<`, `>` and `&`."""
    return json_text(value).translate(_ESCAPES)


class Columns:
    """Collects the records of execs."""

    def __init__(self) -> None:
        self._values: dict[str, list[Any]] = {name: [] for name in NAMES}
        self._places: dict[str, int] = {}
        self._hosts: set[str] = set()
        self._first: Nanoseconds | None = None
        self._last: Nanoseconds | None = None
        self.cut = 0
        """So many execs have texts that are not whole here."""

    def __len__(self) -> int:
        return len(self._places)

    def add(self, event: ExecEvent, longest: int | None, *, is_context: bool = False) -> None:
        """Adds an exec, of whose command line `longest` bytes are kept; None: it stays whole."""
        if not is_context:
            self._hosts.add(printable(event.host))
            self._first = event.time_ns if self._first is None else min(self._first, event.time_ns)
            self._last = event.time_ns if self._last is None else max(self._last, event.time_ns)
        shown = event if longest is None else _shortened(event, longest)
        record = to_record(shown)
        is_cut = shown is not event
        for name in _PATHS if longest is not None else ():
            text = record[name]
            if isinstance(text, str) and len(text) > _LONGEST_PATH:
                record[name] = f"{text[:_LONGEST_PATH]}[...{len(text) - _LONGEST_PATH} more characters...]"
                is_cut = True
        if _is_split(record["argv"], str(record["command"])):
            record["argv"] = 0
        ran = what_ran(shown)
        own = {
            "status": status_text(event),
            "is_wrong": int(went_wrong(event)),
            "marks": ",".join(ran.marks),
            "program": ran.program,
            "is_disguised": int(ran.is_disguised),
            "is_cut": int(is_cut),
        }
        self._places[str(record["id"])] = len(self._places)
        for name, values in self._values.items():
            values.append(own[name] if name in own else record.get(name))
        self.cut += is_cut

    def hosts(self) -> list[str]:
        """Returns the hosts of the execs, safe to show."""
        return sorted(self._hosts)

    def times(self) -> tuple[Nanoseconds, Nanoseconds] | None:
        """Returns when the first and the last exec happened; None: there is none."""
        return None if self._first is None or self._last is None else (self._first, self._last)

    def encoded(self) -> dict[str, dict[str, object]]:
        """Returns the columns."""
        for name in _IDS:
            self._values[name] = [self._places.get(value, value) for value in self._values[name]]
        return {name: _encoded(values) for name, values in self._values.items()}


def _encoded(values: Sequence[Any]) -> dict[str, object]:
    """Returns a column in the shortest way."""
    known: dict[Any, int] = {}
    at = [known.setdefault(_hashable(value), len(known)) for value in values]
    if len(known) == 1:
        return {"all": values[0]}
    if 2 * len(known) > len(values):
        return {"each": values}
    first: dict[int, Any] = {}
    for place, value in zip(at, values, strict=True):
        first.setdefault(place, value)
    return {"values": [*first.values()], "at": at}


def _hashable(value: object) -> object:
    return tuple(map(_hashable, value)) if isinstance(value, list) else (isinstance(value, int), value)


def _is_split(argv: object, command: str) -> bool:
    """Says whether the words of a command line are its arguments."""
    return isinstance(argv, list) and bool(argv) and command.split(" ") == argv and "" not in argv


def _shortened(event: ExecEvent, longest: int) -> ExecEvent:
    """Returns an exec without the end of a command line that is longer; what is missing is a hole."""
    argv = event.argv
    if len(argv) <= longest:
        return event
    # No character is cut in two.
    while longest and argv[longest] & 0xC0 == 0x80:  # noqa: PLR2004  # UTF-8's own mark
        longest -= 1
    left_out: int | None = len(argv) - longest
    for hole in event.holes:
        if hole.at >= longest:
            left_out = None if left_out is None or hole.missing is None else left_out + hole.missing
    holes = tuple(hole for hole in event.holes if hole.at < longest)
    marks = [at for at in marks_at(argv, event.holes, event.redacted) if at + MARK_BYTES <= longest]
    argv, holes = argv[:longest], (*holes, Hole(longest, left_out))
    return event._replace(argv=argv, holes=holes, redacted=to_redactions(argv, holes, marks))


def gap_rows(gaps: Iterable[Mapping[str, object]], texts: Iterable[str]) -> list[dict[str, object]]:
    """Returns what is missing, from its records and the lines that commands say about it."""
    return [
        {**{name: gap[name] for name in ("from", "to", "host", "reason")}, "text": text}
        for gap, text in zip(gaps, texts, strict=True)
    ]
