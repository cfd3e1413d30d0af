"""Write a bundle: the records that a filter chooses, and what proves them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from execaudit.bundle import layout
from execaudit.bundle.archive import writing
from execaudit.bundle.needed import Needed
from execaudit.bundle.proofs import Proofs, not_as_sealed
from execaudit.output.format import Format
from execaudit.output.json_lines import json_text
from execaudit.output.pages import Pages
from execaudit.output.record import gap_record
from execaudit.query import find
from execaudit.seal.newest import newest

if TYPE_CHECKING:
    import sqlite3

    from execaudit.bundle.archive import Writer
    from execaudit.query.filter import Filter
    from execaudit.query.local_history import LocalHistory
    from execaudit.seal.newest import Newest


class Written(NamedTuple):
    """What was written."""

    records: int
    gaps: int
    is_sealed: bool


Bar = Callable[[str, Callable[[], int]], AbstractContextManager[Callable[[int], None]]]
"""Shows how far something is: a word, and how many steps there are. Yields what is to be called with each."""


def write(  # noqa: PLR0913  # what a bundle is made of
    history: LocalHistory,
    wanted: Filter,
    file: IO[bytes],
    about: dict[str, Any],
    bar: Bar,
    *,
    is_sparse: bool = False,
) -> Written:
    """Writes a bundle, with `about` in it and what the history says of itself. `is_sparse`: see Proofs.

    To be called in a transaction of the history, so that all of it is of one moment. Raises FilterError;
    DamagedStoreError if the history is not as it was sealed.
    """
    connection = history.connection
    with contextlib.closing(Needed()) as needed, writing(file) as writer:
        gaps = _write_records(history, wanted, writer, needed, bar)
        last = newest(connection)
        _write_seals(writer, Proofs(connection, needed, is_sparse=is_sparse), needed.records, bar)
        with writer.file(layout.ABOUT) as said:
            found = _about(connection, last, needed.records, gaps)
            said.write(f"{json_text({**about, **found})}\n".encode("ascii"))
        return Written(needed.records, gaps, last is not None)


def _write_records(history: LocalHistory, wanted: Filter, writer: Writer, needed: Needed, bar: Bar) -> int:
    """Writes the records, and notes what they need. Returns how many gaps there are."""
    connection = history.connection
    pages = Pages(Format.JSONL, raw=False, encoding="ascii")
    with writer.file(layout.RECORDS) as records, bar("Writing", lambda: history.count(wanted)) as advance:
        for page in history.pages(wanted, keys=pages.keys):
            records.write(pages.encoded(page))
            needed.add_page(connection, page)
            advance(len(page.rows))
        gaps = find.numbered_gaps(connection, wanted)
        for number, gap in gaps:
            records.write(f"{json_text(gap_record(gap))}\n".encode("ascii"))
            needed.add_gap(connection, number)
    return len(gaps)


def _write_seals(writer: Writer, proofs: Proofs, records: int, bar: Bar) -> None:
    with writer.file(layout.SEALS) as seals, bar("Proving", proofs.count) as advance:
        for line in proofs.lines(advance):
            seals.write(line)
    if proofs.last and proofs.records != records:
        raise not_as_sealed("it has execs without a seal")


def _about(connection: sqlite3.Connection, last: Newest | None, records: int, gaps: int) -> dict[str, Any]:
    stream_id = connection.execute("SELECT value FROM meta WHERE key = 'stream_id'").fetchone()
    return {
        "records": records,
        "gaps": gaps,
        "head": None if last is None else str(last.head),
        "sealed_until": None if last is None else last.at_ns,
        "history": None if stream_id is None else bytes(stream_id[0]).hex(),
    }
