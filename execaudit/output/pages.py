"""Make the lines of pages of rows, encoded, as CSV or JSON: compiled, where that was built."""

from __future__ import annotations

import codecs
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from execaudit import native
from execaudit.database.enum_codes import KINDS
from execaudit.enums import Ended, Kind
from execaudit.exec_id import boot_prefix
from execaudit.fields import Part
from execaudit.output import shared_fields
from execaudit.output.csv_lines import HEADER, CsvLines
from execaudit.output.csv_pages import CsvPages
from execaudit.output.format import Format
from execaudit.output.json_lines import JsonLines
from execaudit.query import find
from execaudit.query.rows import to_event
from execaudit.times import utc_day

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from execaudit.event import ExecEvent
    from execaudit.fields import Field
    from execaudit.native.fast import Pages as CompiledPages
    from execaudit.query.filter import Filter
    from execaudit.query.find import Page
    from execaudit.query.history import History
    from execaudit.query.rows import Clock, Known, Recording

    class _Lines(Protocol):
        """CsvLines or JsonLines."""

        @property
        def line(self) -> Callable[[ExecEvent], str]: ...
        def text_of(self, field: Field) -> Callable[[Any], str]: ...
        def where(self, host: str, boot_id: str, kind: Kind) -> str: ...
        def word(self, word: str | None) -> str: ...
        def error(self, errno: int) -> str: ...


# Only in these does a byte below 128 mean what it means in ASCII, as the compiled functions write it.
_ENCODINGS = ("utf-8", "ascii")
_SHARED_BYTES = 8 * 1024 * 1024
_REMEMBERED = 4096
_MOST_CLOCKS = 64
_WAYS = (Ended.EXITED, Ended.SIGNALED, Ended.REPLACED, Ended.RUNNING, Ended.UNKNOWN)


class Pages:
    """Makes the lines of one answer, and remembers the texts that many rows share."""

    def __init__(self, fmt: Format, *, raw: bool, encoding: str) -> None:
        """`fmt` is CSV, for which `raw` is as of csv_text(), or JSONL."""
        self._text = _csv(raw=raw) if fmt is Format.CSV else _json()
        self._encoding = encoding
        self._compiled: CompiledPages | None = None
        if native.fast is not None and codecs.lookup(encoding).name in _ENCODINGS:
            lines = CsvLines(raw=raw) if fmt is Format.CSV else JsonLines(_REMEMBERED, arguments=True)
            self._compiled = _compiled(native.fast, lines, raw=raw, encoding=encoding)
        self.keys = fmt is Format.CSV or self._compiled is not None
        """Of relatives, the keys are enough: no events are made."""

    def encoded(self, page: Page) -> bytes:
        """Returns the lines of a page. Raises DamagedStoreError for an exec that makes no sense."""
        if self._compiled is None:
            return self._text(page).encode(self._encoding, "backslashreplace")
        with find.making_sense(page):
            return self._compiled.text(*page)


def texts(history: History, wanted: Filter, fmt: Format, *, raw: bool, encoding: str) -> Iterator[bytes]:
    """Yields the encoded text of all execs that are wanted, with a header if it is CSV.

    Raises FilterError; DamagedStoreError for an exec that makes no sense.
    """
    if fmt is Format.CSV:
        yield f"{HEADER}\n".encode(encoding)
    maker = Pages(fmt, raw=raw, encoding=encoding)
    yield from map(maker.encoded, history.pages(wanted, keys=maker.keys))


def _csv(*, raw: bool) -> Callable[[Page], str]:
    pages = CsvPages(raw=raw)

    def text(page: Page) -> str:
        with find.making_sense(page):
            return pages.text(*page)

    return text


def _json() -> Callable[[Page], str]:
    line = JsonLines(_REMEMBERED, arguments=True).line
    return lambda page: "".join([f"{line(found.event)}\n" for found in find.found_of(page)])


def _compiled(fast: native.Compiled, lines: _Lines, *, raw: bool, encoding: str) -> CompiledPages:
    """Returns what makes the lines of rows, and calls `lines` for those that are not ordinary."""

    def encode(text: str) -> bytes:
        return text.encode(encoding, "backslashreplace")

    def field(its: Field) -> tuple[bool, int, Callable[[Any], bytes]]:
        text = lines.text_of(its)
        return its.part is Part.ORIGIN, shared_fields.place_of(its), lambda value: encode(text(value))

    @lru_cache(_MOST_CLOCKS)
    def clock(its: Clock) -> tuple[int, tuple[bytes, ...]]:
        wheres = (encode(lines.where(its.host, its.boot_id, kind)) for kind in KINDS)
        return boot_prefix(its.boot_id), tuple(wheres)

    def day(number: int) -> bytes:
        return f"{utc_day(number)}T".encode("ascii")

    def error(errno: int) -> bytes:
        return encode(lines.error(errno))

    def in_python(row: tuple[Any, ...], known: Known, recording: Recording) -> bytes:
        return encode(f"{lines.line(to_event(row, known, recording))}\n")

    before, after = ([field(each) for each in each_] for each_ in (shared_fields.BEFORE, shared_fields.AFTER))
    ways = [encode(lines.word(how.value)) for how in _WAYS]
    return fast.Pages(
        isinstance(lines, JsonLines), raw, KINDS.index(Kind.FAILED), ways, encode(lines.word(None)),
        before, after, clock, day, error, in_python, _SHARED_BYTES,
    )  # fmt: skip
