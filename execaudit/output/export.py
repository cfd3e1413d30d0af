"""Write large answers as encoded text, in this process or in several child processes."""

from __future__ import annotations

import gc
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from execaudit.event import Nanoseconds
from execaudit.output import columns
from execaudit.output.csv_lines import HEADER
from execaudit.output.documents import FORMATS, Documents
from execaudit.output.format import Format
from execaudit.output.json_lines import json_text
from execaudit.output.pages import Pages
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.query.local_history import LocalHistory
from execaudit.query.statements import PAGE_ROWS, Span
from execaudit.system import parallel
from execaudit.system.parallel import Block

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from execaudit.query.find import Page
    from execaudit.query.history import History

# The text of so many execs fits into a child's pipe, so no child waits for another. If there is a filter, few
# of the execs match, so a part has more.
_PART, _SPARSE_PART = PAGE_ROWS, 10 * PAGE_ROWS
# For fewer execs, several processes are not faster.
_LARGE = 50_000
_MOST_CHILDREN = 4
# A child needs a small cache, because it reads in order.
_CACHE = "PRAGMA cache_size = -16384"
_EPOCH = Nanoseconds(0)


class Maker(Protocol):
    """Makes the text of an answer: a head, pages, gaps and a tail."""

    @property
    def keys(self) -> bool:
        """Of relatives, the keys are enough."""

    @property
    def head(self) -> bytes:
        """The text before all execs."""

    @property
    def tail(self) -> bytes:
        """The text after all execs and gaps: of seals, among others."""

    def encoded(self, page: Page) -> bytes:
        """Returns the text of a page. Raises DamagedStoreError for an exec that makes no sense."""

    def gaps(self, records: Iterable[Mapping[str, Any]]) -> bytes:
        """Returns the text of gaps, from their records; none if the format has no place for them."""


class _Lines:
    """CSV or JSON lines."""

    def __init__(
        self,
        fmt: Format,
        names: Sequence[str] | None,
        seals: Sequence[Mapping[str, Any]],
        *,
        raw: bool,
        encoding: str,
    ) -> None:
        self._encoding = encoding
        # Of chosen fields a record is no record of a gap, nor of a seal.
        self._has_gaps = fmt is Format.JSONL and names is None
        self.tail = self.gaps(seals)
        header = HEADER + "\n" if names is None else columns.csv_header(names)
        self.head = self._bytes(header) if fmt is Format.CSV else b""
        if names is None:
            pages = Pages(fmt, raw=raw, encoding=encoding)
            self.keys, self.encoded = pages.keys, pages.encoded
        else:
            self._line = columns.line_of(names, fmt, raw=raw)
            self.keys, self.encoded = False, self._chosen

    def _chosen(self, page: Page) -> bytes:
        return self._bytes("".join(self._line(found.event) for found in find.found_of(page)))

    def gaps(self, records: Iterable[Mapping[str, Any]]) -> bytes:
        return b"".join(f"{json_text(gap)}\n".encode("ascii") for gap in records) if self._has_gaps else b""

    def _bytes(self, text: str) -> bytes:
        return text.encode(self._encoding, "backslashreplace")


def maker(  # noqa: PLR0913  # what formats need
    fmt: Format,
    names: Sequence[str] | None = None,
    *,
    raw: bool,
    encoding: str,
    epoch_ns: Nanoseconds = _EPOCH,
    seals: Sequence[Mapping[str, Any]] = (),
) -> Maker:
    """Returns what makes text. `names` and `raw` are for CSV and JSON lines, `epoch_ns` for a trace.

    `seals` are records of what vouches for the answer. CSV has no place for them.
    """
    if fmt in FORMATS:
        return Documents(fmt, epoch_ns, seals)
    return _Lines(fmt, names, seals, raw=raw, encoding=encoding)


def blocks(history: History, wanted: Filter, maker: Maker) -> Generator[Block, None, None]:
    """Yields the text of all execs that are wanted, with the number of execs.

    Raises FilterError, StoreError.
    """
    if maker.head:
        yield Block(0, maker.head)
    after = None
    # One connection looks up the descendants or the command lines of a filter, so children would not help.
    if isinstance(history, LocalHistory) and not (
        wanted.reverse or wanted.under or wanted.not_under or wanted.args
    ):
        spans = list(find.parts(history.connection, wanted))
        children = min(len(os.sched_getaffinity(0)), _MOST_CHILDREN)
        if children > 1 and spans and spans[-1].high - spans[0].low >= _LARGE:
            # The children get a copy of what is cached here, and use none of it.
            history.connection.execute("PRAGMA shrink_memory")
            yield from _side_by_side(history.path, wanted, spans, maker, children)
            if wanted.limit is not None:
                return
            after = spans[-1].high
    for page in history.pages(wanted, after=after, keys=maker.keys):
        yield _block(page, maker)


def _block(page: Page, maker: Maker) -> Block:
    return Block(len(page.rows), maker.encoded(page))


def _side_by_side(
    path: Path, wanted: Filter, spans: Sequence[Span], maker: Maker, children: int
) -> Iterator[Block]:
    """Divides spans into parts, and yields their text in order. N children make every N-th part each."""

    def work(parts: Sequence[Span]) -> Iterator[Iterator[Block]]:
        gc.disable()  # rows make no cycles, and to look for cycles takes an eighth of the time
        with open_history(path) as connection:
            connection.execute(_CACHE)
            reader = find.PartReader(connection, wanted, keys=maker.keys)
            for part in parts:
                yield (_block(page, maker) for page in reader.pages(part))

    dense = replace(wanted, since_ns=None, until_ns=None, limit=None) == Filter()
    width = _PART if dense else _SPARSE_PART
    parts = [
        Span(low, min(low + width - 1, span.high))
        for span in spans
        for low in range(span.low, span.high + 1, width)
    ]
    yield from parallel.in_order(parts, work, children=children)
