"""Write large answers as encoded text, in this process or in several child processes."""

from __future__ import annotations

import gc
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from execaudit.output.csv_lines import HEADER
from execaudit.output.format import Format
from execaudit.output.pages import Pages
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.query.statements import PAGE_ROWS, Span
from execaudit.system import parallel
from execaudit.system.parallel import Block

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

    from execaudit.query.find import Page

# The text of so many execs fits into a child's pipe, so no child waits for another. If there is a filter, few
# of the execs match, so a part has more.
_PART, _SPARSE_PART = PAGE_ROWS, 10 * PAGE_ROWS
# For fewer execs, several processes are not faster.
_LARGE = 50_000
_MOST_CHILDREN = 4
# A child needs a small cache, because it reads in order.
_CACHE = "PRAGMA cache_size = -16384"


def blocks(  # noqa: PLR0913  # each argument is one part of a request
    path: Path, connection: sqlite3.Connection, wanted: Filter, fmt: Format, *, raw: bool, encoding: str
) -> Generator[Block, None, None]:
    """Yields the text of all execs that are wanted, as CSV or JSON lines, with the number of execs.

    `connection` is open to the history at `path`. Raises FilterError, StoreError.
    """
    if fmt is Format.CSV:
        yield Block(0, f"{HEADER}\n".encode(encoding))
    maker = Pages(fmt, raw=raw, encoding=encoding)
    after = None
    # One connection looks up the descendants or the command lines of a filter, so children would not help.
    if not (wanted.reverse or wanted.under or wanted.not_under or wanted.args):
        spans = list(find.parts(connection, wanted))
        children = min(len(os.sched_getaffinity(0)), _MOST_CHILDREN)
        if children > 1 and spans and spans[-1].high - spans[0].low >= _LARGE:
            # The children get a copy of what is cached here, and use none of it.
            connection.execute("PRAGMA shrink_memory")
            yield from _side_by_side(path, wanted, spans, maker, children)
            if wanted.limit is not None:
                return
            after = spans[-1].high
    for page in find.pages(connection, wanted, after=after, keys=maker.keys):
        yield _block(page, maker)


def _block(page: Page, maker: Pages) -> Block:
    return Block(len(page.rows), maker.encoded(page))


def _side_by_side(
    path: Path, wanted: Filter, spans: Sequence[Span], maker: Pages, children: int
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
