"""Write an exec's record as a line of JSON, straight from the event. Pure.

The text is the JSON of `to_record`, in a fraction of the time, because the recorder writes one for each exec.
Texts that many execs share are made once, and remembered.
"""

from __future__ import annotations

from functools import cache, lru_cache
from json import JSONEncoder
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING, Any

from execaudit import native
from execaudit.enums import Ended, Kind, errno_name
from execaudit.event import ExecEvent
from execaudit.exec_id import boot_prefix, encode_id
from execaudit.fields import Type
from execaudit.output import record
from execaudit.output.shared_fields import SharedFields
from execaudit.times import utc_second, utc_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from execaudit.event import End, Hole
    from execaudit.fields import Field

_NO_END = '"ended":null,"exit_code":null,"exit_signal":null,"duration_ns":null,"replaced_by":null'
# How many launches, origins and ids of parents are remembered, of each. A host uses few at a time. A launch
# may have several paths of 4 KB.
_REMEMBERED = 256
_SHORT = 1024
_REMEMBERED_OF_HISTORY = 4096
_encode = JSONEncoder(separators=(",", ":"), check_circular=False).encode


def jsonl(events: Iterable[ExecEvent]) -> Iterator[str]:
    """Yields a line of JSON for each exec: ASCII without control characters, so it is safe to show."""
    line = JsonLines(_REMEMBERED_OF_HISTORY, arguments=True).line
    for event in events:
        yield line(event) + "\n"


def json_text(value: object) -> str:
    """Returns a value as compact JSON: ASCII without control characters, so it is safe to show."""
    return _encode(value)


class JsonLines:
    """Makes lines, and remembers the texts that many execs share."""

    def __init__(self, remembered: int = _REMEMBERED, *, arguments: bool = False) -> None:
        """Remembers so many texts of each kind; with `arguments`, those of short command lines too."""
        shared = SharedFields(_member_of, remembered)
        self.around = shared.around
        self._id = lru_cache(remembered)(encode_id)
        """Many execs share a parent, and to make an id is slow."""
        self._arguments = lru_cache(remembered)(_arguments) if arguments else _arguments
        self.where, self.word, self.error, self.text_of = _where, _word, _error, _member_of
        self.line: Callable[[ExecEvent], str] = self._line
        """Returns the record of one exec: ASCII without control characters, without a line end."""
        self.block: Callable[[Sequence[ExecEvent], int, int], tuple[bytes, int]] | None = None
        """Takes events, an index and a size. Returns lines from there on, with line ends, and the next index.

        They are at most that size and one line. If there are none, line() has to make the next one. None: it
        was not compiled.
        """
        if native.fast is not None:
            lines = native.fast.Lines(
                ExecEvent, Kind.FAILED, {how: quoted(how.value) for how in Ended}, self.around, _where, utc_second,
                boot_prefix, _error, self._line, remembered,
            )  # fmt: skip
            self.line, self.block = lines.line, lines.block

    def _line(self, event: ExecEvent) -> str:
        # The exec's own fields are written by hand, here and for CSV: a loop over the table of fields takes a
        # tenth longer for each line. Tests compare the result with to_record, which is made from the table.
        (
            kind, host, boot_id, time_ns, _, pid, tid, ppid, argv, argc, argv_bytes, holes, truncated, errno,
            launch, origin, parent, _, end, _, redacted,
        ) = event  # fmt: skip
        before, after = self.around(launch, origin)
        # A long command line rarely comes twice.
        arguments = self._arguments if len(argv) <= _SHORT else _arguments
        words, command, missing, encoded = arguments(argv, holes)
        return (
            f'{{"id":"{event.id}","parent_id":{_word(None if parent is None else self._id(parent))},'
            f'"time":"{utc_text(time_ns)}",{_where(host, boot_id, kind)},"pid":{pid},"tid":{tid},'
            f'"ppid":{"null" if ppid is None else ppid},{before},'
            f'"argv":{words},"argc":{"null" if argc is None else argc},'
            f'"argv_bytes":{"null" if argv_bytes is None else argv_bytes},"command":{command},'
            f'"truncated":{"null" if truncated is None else quoted(truncated.value)},"argv_missing":{missing},'
            f'"redacted":{_pairs(redacted)},'
            f'"errno":{"null" if errno is None else _error(errno)},'
            f"{after},{_NO_END if end is None else _end(end)}{encoded}}}"
        )


def _word(value: str | None) -> str:
    return "null" if value is None else quoted(value)


def _error(errno: int) -> str:
    return quoted(errno_name(errno))


def _number(value: int | None) -> str:
    return "null" if value is None else str(value)


def _arguments(argv: bytes, holes: tuple[Hole, ...]) -> tuple[str, str, str, str]:
    """Returns the values of argv, command and argv_missing, and the end of the record (argv_base64)."""
    if not holes and record.is_plain(argv):
        plain = argv[:-1].decode("ascii")
        return f'["{plain.replace(chr(0), _BETWEEN)}"]', f'"{plain.replace(chr(0), " ")}"', "null", ""
    arguments = record.split_argv(argv, holes)
    texts, all_utf8 = record.decoded(arguments.parts)
    return (
        f"[{','.join(map(quoted, texts))}]",
        quoted(record.command_line(arguments)),
        _pairs(arguments.missing),
        "" if all_utf8 else f',"argv_base64":"{record.base64_text(argv)}"',
    )


def _pairs(pairs: Sequence[tuple[int, int | None]]) -> str:
    listed = ",".join([f"[{first},{_number(second)}]" for first, second in pairs])
    return f"[{listed}]" if listed else "null"


_BETWEEN = '","'


@lru_cache(_REMEMBERED)
def _where(host: str, boot_id: str, kind: Kind) -> str:
    return f'"host":{quoted(host)},"boot_id":{quoted(boot_id)},"kind":{quoted(kind.value)}'


def _member_of(field: Field) -> Callable[[Any], str]:
    """Returns what makes name and value of a field, from its value in the event."""
    show, name, is_number = record.shown_by(field), f'"{field.name}":', field.type is Type.NUMBER
    null = f"{name}null"

    def member(value: Any) -> str:  # noqa: ANN401  # the table says what it is
        shown = value if value is None or show is None else show(value)
        if shown is None:
            return null
        return f"{name}{shown}" if is_number else name + quoted(str(shown))

    return member


def _end(end: End) -> str:
    how, code, signal, duration_ns, replaced_by = end
    return (
        f'"ended":{quoted(how.value)},"exit_code":{_number(code)},"exit_signal":{_number(signal)},'
        f'"duration_ns":{_number(duration_ns)},'
        f'"replaced_by":{_word(None if replaced_by is None else encode_id(replaced_by))}'
    )


@cache
def _lines() -> JsonLines:
    return JsonLines()


def json_line(event: ExecEvent) -> str:
    """Returns the record of one exec. For few: who makes many lines makes a JsonLines."""
    return _lines().line(event)
