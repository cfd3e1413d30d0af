"""The files of a bundle, and the lines of `seals.jsonl`. Pure; docs/bundles.md has the same as text.

Each line has one spelling: what is read is written again, and must be the same bytes. So nothing in a line
can be changed without its hash.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit.database.sealed_streams import Stream
from execaudit.output.json_lines import json_text
from execaudit.seal import codec, tree
from execaudit.seal.chain import ChainRow, Cursors, Entry, Link, cursors_of
from execaudit.seal.codec import BYTES, NULL
from execaudit.seal.segment_check import table_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from execaudit.seal.codec import Value
    from execaudit.seal.row_values import ExecValues

MANIFEST, ABOUT, SEALS, RECORDS = "manifest.json", "about.json", "seals.jsonl", "records.jsonl"
FILES = (RECORDS, SEALS, ABOUT, MANIFEST)
"""In this order."""
VERSION = 1
LONGEST_SEALS_LINE = 16 * 1024 * 1024
"""The kernel takes command lines of up to 6 MB; base64 makes 8 of them."""
# Of none of ours there are more. Who sends a bundle could else have a reader take a lot of memory.
_MOST_LISTS, _MOST_COMMAS = 64, 256
_TEXTS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_LARGEST = 2**63 - 1
_STREAMS = {table_of(stream): stream for stream in Stream if stream is not Stream.EXEC}
Parts = dict[Stream, dict[int, dict[tree.Place, bytes]]]
"""Of each stream and each entry (by its place in the segment), what of the tree over its rows is left out."""


class SealLine(NamedTuple):
    """A segment of the chain: a row of the table `seal`, and what of its rows is not in the bundle."""

    number: int
    chain: int
    begins: Entry
    start: Cursors
    before: Link | None
    """What it follows; None: the segment before it in the file."""
    entries: bytes
    left_out: Parts
    link: Link


class ExecLine(NamedTuple):
    """An exec with all that is sealed of it: it is a record."""

    numbers: tuple[int, ...]
    launch: tuple[Value, ...]
    origin: tuple[Value, ...]
    argv: bytes
    cut: tuple[Value, ...] | None
    was: bytes | None
    """The bytes for its line before a pruning shortened it; None: they are those of what is there."""

    @property
    def line(self) -> bytes:
        """The bytes for the line as it is."""
        return codec.line(self.argv, self.cut)


class OtherExecLine(NamedTuple):
    """An exec that a record names: its numbers, and hashes of the rest."""

    numbers: tuple[int, ...]
    launch: bytes
    origin: bytes
    line: bytes


class RowLine(NamedTuple):
    """A row of another table."""

    stream: Stream
    values: tuple[Value, ...]


Line = ChainRow | SealLine | ExecLine | OtherExecLine | RowLine


def seal_line(segment: SealLine) -> bytes:
    """Returns the line of a segment."""
    number, chain, begins, start, before, entries, left_out, link = segment
    return _line(
        {
            "seal": number,
            "chain": chain,
            "epoch": begins.epoch,
            "at_us": begins.at_us,
            "start": [start[stream] for stream in Stream],
            "before": None if before is None else _link(before),
            "entries": _base64(entries),
            "left_out": [[int(stream), _base64(tree.to_bytes(parts))] for stream, parts in left_out.items()],
            "after": _link(link),
        }
    )


def chain_line(row: ChainRow) -> bytes:
    """Returns the line of a row of seal_chain."""
    return _line(
        {
            "chain": row.number,
            "id": row.id.hex(),
            "keyed": row.is_keyed,
            "reason": row.reason,
            "began_ns": row.begun_ns,
        }
    )


def exec_line(found: ExecValues) -> bytes:
    """Returns the line of an exec that is a record."""
    argv, cut = found.argv, found.cut
    return _line(
        {
            "exec": _numbers(found.numbers),
            "launch": [*map(_json_value, found.launch)],
            "origin": [*map(_json_value, found.origin)],
            "argv": _base64(argv),
            "cut": None if cut is None else [*map(_json_value, cut)],
            "was": None if found.line == codec.line(argv, cut) else _base64(found.line),
        }
    )


def other_exec_line(found: ExecValues) -> bytes:
    """Returns the line of an exec that a record names."""
    return _line(
        {
            "other": _numbers(found.numbers),
            "launch": codec.group_hash(found.launch).hex(),
            "origin": codec.group_hash(found.origin).hex(),
            "line": _base64(found.line),
        }
    )


def row_line(stream: Stream, values: Iterable[Value]) -> bytes:
    """Returns the line of a row of another table."""
    return _line({table_of(stream): [*map(_json_value, values)]})


def read_line(raw: bytes) -> Line:
    """Returns what is in a line, which has no line end. Raises ValueError for what is no line of ours."""
    found, written = _read(raw)
    if written != raw + b"\n":
        raise ValueError("the line is not written as ours are")
    return found


def _read(raw: bytes) -> tuple[Line, bytes]:
    """Returns what is in a line, and the line that it makes."""
    if _has_much(raw) and _has_much(_TEXTS.sub(b"", raw)):
        raise ValueError("the line has more than any of ours")
    value = json_value(raw)
    if not isinstance(value, dict) or not value:
        raise ValueError("the line is no object")
    try:
        kind = next(iter(value))
        if kind == "seal":
            segment = _seal(**value)
            return segment, seal_line(segment)
        if kind == "chain":
            row = _chain(**value)
            return row, chain_line(row)
        if kind == "exec":
            return _exec(**value), _line(value)
        if kind == "other":
            return _other(**value), _line(value)
        (content,) = value.values()
        return RowLine(_STREAMS[kind], tuple(map(_value, _list(content)))), _line(value)
    except (TypeError, KeyError, IndexError, AttributeError) as exc:
        raise ValueError("the line is none of ours") from exc


def _has_much(raw: bytes) -> bool:
    return raw.count(b"[") + raw.count(b"{") > _MOST_LISTS or raw.count(b",") > _MOST_COMMAS


def json_value(raw: bytes) -> Any:  # noqa: ANN401  # JSON
    """Returns what a JSON text says, which may come from anybody. Raises ValueError."""
    try:
        return json.loads(raw)
    except RecursionError as exc:
        raise ValueError("it is nested too deeply") from exc


def _seal(**line: Any) -> SealLine:  # noqa: ANN401  # from anybody
    number, chain, epoch, at_us, start, before, entries, left_out, link = _members(
        line, "seal", "chain", "epoch", "at_us", "start", "before", "entries", "left_out", "after"
    )
    return SealLine(
        _number(number),
        _number(chain),
        Entry(_number(epoch), _number(at_us), (), ()),
        cursors_of([*map(_number, _list(start))]),
        None if before is None else _read_link(before),
        _bytes(entries),
        _left_out(left_out),
        _read_link(link),
    )


def _left_out(value: Any) -> Parts:  # noqa: ANN401  # from anybody
    found = {Stream(_number(stream)): tree.from_bytes(_bytes(parts)) for stream, parts in _list(value)}
    if list(found) != sorted(found) or not all(found.values()):
        raise ValueError("streams out of order, or without parts")
    return found


def _members(line: dict[str, Any], *names: str) -> list[Any]:
    if list(line) != list(names):
        raise ValueError("the line has other members than ours")
    return [*line.values()]


def _chain(**line: Any) -> ChainRow:  # noqa: ANN401  # as above
    number, chain, is_keyed, reason, begun_ns = _members(line, "chain", "id", "keyed", "reason", "began_ns")
    return ChainRow(
        _number(number), bytes.fromhex(_text(chain)), _number(is_keyed), _text(reason), _number(begun_ns)
    )


def _exec(**line: Any) -> ExecLine:  # noqa: ANN401  # as above
    numbers, launch, origin, argv, cut, was = _members(line, "exec", "launch", "origin", "argv", "cut", "was")
    return ExecLine(
        _numbers_of(numbers),
        tuple(map(_value, _list(launch))),
        tuple(map(_value, _list(origin))),
        _bytes(argv),
        None if cut is None else tuple(map(_value, _list(cut))),
        None if was is None else _bytes(was),
    )


def _other(**line: Any) -> OtherExecLine:  # noqa: ANN401  # as above
    numbers, launch, origin, its_line = _members(line, "other", "launch", "origin", "line")
    return OtherExecLine(_numbers_of(numbers), _hash(launch), _hash(origin), _bytes(its_line))


def _line(value: Mapping[str, Any]) -> bytes:
    return f"{json_text(value)}\n".encode("ascii")


def _base64(raw: bytes) -> str:
    return b64encode(raw).decode("ascii")


def _link(link: Link) -> list[str | None]:
    return [link.hash.hex(), None if link.code is None else link.code.hex()]


def _numbers(numbers: Sequence[int]) -> list[int | None]:
    return [None if number == NULL else number for number in numbers]


def _json_value(value: Value) -> int | str | list[str] | None:
    """Returns a value as JSON has it: bytes are a list of one text, their base64."""
    return [_base64(value)] if isinstance(value, bytes) else value


def _number(value: Any) -> int:  # noqa: ANN401  # from anybody
    if type(value) is not int or abs(value) > _LARGEST:
        raise ValueError("no number where there must be one")
    return value


def _text(value: Any) -> str:  # noqa: ANN401  # from anybody
    if not isinstance(value, str):
        raise ValueError("no text where there must be one")  # noqa: TRY004  # as all others
    value.encode("utf-8", "surrogateescape")  # raises a ValueError too
    return value


def _list(value: Any) -> list[Any]:  # noqa: ANN401  # from anybody
    if not isinstance(value, list):
        raise ValueError("no list where there must be one")  # noqa: TRY004  # as all others
    return value


def _bytes(value: Any) -> bytes:  # noqa: ANN401  # from anybody
    raw = b64decode(_text(value), validate=True)
    if _base64(raw) != value:
        raise ValueError("base64 that is not written as ours is")
    return raw


def _hash(value: Any) -> bytes:  # noqa: ANN401  # from anybody
    raw = bytes.fromhex(_text(value))
    if len(raw) != BYTES or raw.hex() != value:
        raise ValueError("no hash where there must be one")
    return raw


def _read_link(value: Any) -> Link:  # noqa: ANN401  # from anybody
    digest, code = _list(value)
    return Link(_hash(digest), None if code is None else _hash(code))


def _numbers_of(value: Any) -> tuple[int, ...]:  # noqa: ANN401  # from anybody
    if len(_list(value)) != len(codec.EXEC_NUMBERS):
        raise ValueError("an exec has other numbers")
    return tuple(NULL if each is None else _number(each) for each in value)


def _value(value: Any) -> Value:  # noqa: ANN401  # from anybody
    if value is None:
        return None
    if isinstance(value, list):
        (text,) = value
        return _bytes(text)
    return _text(value) if isinstance(value, str) else _number(value)
