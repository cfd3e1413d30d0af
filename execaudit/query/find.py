"""The read side of the history: run the statements of a filter, page by page."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit.database import files, id_lookup
from execaudit.enums import GapReason
from execaudit.event import Gap
from execaudit.query import globs, lookups, new_programs, recorders
from execaudit.query.argv_search import Search
from execaudit.query.conditions import descendants_table
from execaudit.query.connection import Connection
from execaudit.query.expression import New, Under, every
from execaudit.query.lookups import Resolver
from execaudit.query.sql_functions import add_functions
from execaudit.query.statements import (
    PAGE_ROWS,
    Span,
    Statement,
    bounds_statement,
    count_statement,
    descendants_statement,
    gaps_statement,
    newest_statement,
    numbers_statement,
    statement,
    times_statement,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Generator, Iterator, Sequence

    from execaudit.exec_id import ExecKey
    from execaudit.query.filter import Filter
    from execaudit.query.rows import Found, Known, Recording

_PAGE_BYTES = 16 * 1024 * 1024
# So many of the newest are looked at before all others are.
_NEAR = 20_000
_COUNTED = 500_000
# A wider part would say nothing for long of how far the search is.
_WIDEST = 1_000_000
_LOOKS = 32


def prepare(connection: sqlite3.Connection, wanted: Filter) -> None:
    """Gives the connection what the filter's statements need: functions, descendants, what is new.

    Raises FilterError for a regular expression that is none.
    """
    expression = wanted.expression()
    add_functions(connection, expression)
    for node in every(expression):
        if isinstance(node, Under):
            _gather_descendants(connection, node.roots)
        elif isinstance(node, New):
            new_programs.gather(connection, node.since_ns)


def _gather_descendants(connection: sqlite3.Connection, roots: tuple[int, ...]) -> None:
    """Puts the descendants of execs into a temporary table, or those into it that are new.

    Once for all pages: to find them for each page would take quadratic time. Each takes 8 bytes of memory.
    """
    table, last = descendants_table(roots), last_number(connection)
    # The history itself stays read-only, because it was opened so.
    connection.execute("PRAGMA query_only = 0")
    try:
        connection.execute("CREATE TABLE IF NOT EXISTS temp.gathered (name TEXT PRIMARY KEY, last INTEGER)")
        row = connection.execute("SELECT last FROM temp.gathered WHERE name = ?", (table,)).fetchone()
        if row is None:
            connection.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY)")
        connection.execute(*descendants_statement(roots, known=row and row[0], last=last))
        connection.execute("INSERT OR REPLACE INTO temp.gathered VALUES (?, ?)", (table, last))
    finally:
        connection.execute("PRAGMA query_only = 1")


class Page(NamedTuple):
    """Rows, and what they refer to, until the next page is read."""

    rows: Sequence[tuple[Any, ...]]
    """Of rows.COLUMNS; at least one."""
    known: Known
    recording: Recording


def find(connection: sqlite3.Connection, wanted: Filter, *, after: int | None = None) -> Iterator[Found]:
    """Yields what is wanted, in constant memory; only what follows `after`, in the direction of reading.

    Raises FilterError; DamagedStoreError for an exec that makes no sense.
    """
    for page in pages(connection, wanted, after=after):
        yield from found_of(page)


def pages(
    connection: sqlite3.Connection, wanted: Filter, *, after: int | None = None, keys: bool = False
) -> Iterator[Page]:
    """Yields the rows of what `find` yields. With `keys`, of relatives no more is known than their keys."""
    low, high = _begin(connection, wanted)
    left = wanted.limit
    if left == 0:
        return
    if after is not None:
        low, high = (low, min(high, after - 1)) if wanted.reverse else (max(low, after + 1), high)
    search, resolver = Search(connection, wanted.args, Span(low, high)), Resolver(connection, keys=keys)
    if left is not None and not wanted.reverse:
        low = _oldest(connection, wanted, Span(low, high), search, left)
    while low <= high:
        whole = Span(low, high)
        _look_at(connection, whole, whole, backward=wanted.reverse)
        for span in _spans(wanted, whole, search, backward=wanted.reverse):
            for page in _read(connection, wanted, span, left, resolver):
                yield page
                if left is not None:
                    left -= len(page.rows)
            if left == 0:
                return
        if wanted.reverse or left is not None:
            return
        # Execs that were recorded during the read.
        low, high = _go_on(connection, wanted, high)
        search = Search(connection, wanted.args, Span(low, high))


class PartReader:
    """Reads parts of what is wanted, in any order."""

    def __init__(self, connection: sqlite3.Connection, wanted: Filter, *, keys: bool = False) -> None:
        """Raises FilterError. With `keys` as of pages()."""
        prepare(connection, wanted)
        self._connection, self._wanted = connection, wanted
        self._resolver = Resolver(connection, keys=keys)

    def pages(self, part: Span, *, most: int | None = None) -> Iterator[Page]:
        """Yields the rows of a part, which is one of parts() or within it; `most` execs, if that is given."""
        return _read(self._connection, self._wanted, part, most, self._resolver)


def _begin(connection: sqlite3.Connection, wanted: Filter) -> tuple[int, int]:
    """Prepares, and returns the first and the last number that can be wanted.

    All descendants up to there are gathered after it is known: they may be what is not wanted.
    """
    bounds = _bounds(connection, wanted)
    prepare(connection, wanted)
    return bounds


def _go_on(connection: sqlite3.Connection, wanted: Filter, high: int) -> tuple[int, int]:
    """Returns the numbers of what was recorded after `high`; the first is the larger one if nothing was."""
    low, high = high + 1, _bounds(connection, wanted)[1]
    if low <= high:
        prepare(connection, wanted)
    return low, high


def _bounds(connection: sqlite3.Connection, wanted: Filter) -> tuple[int, int]:
    """Returns the first and the last number that can be wanted."""
    low, high = connection.execute(*bounds_statement(wanted)).fetchone()
    return (1, 0) if low is None else (low, high)


def _spans(wanted: Filter, whole: Span, search: Search, *, backward: bool) -> Iterator[Span]:
    """Yields where to look for what is wanted, in the direction of reading."""
    low, high, _ = whole
    # Conditions with an index of their own need no search by text.
    if not wanted.args or wanted.pids or wanted.under or high - low < 2 * _NEAR:
        yield whole
    elif backward:
        # A frequent text is found among the newest execs.
        yield Span(high - _NEAR + 1, high)
        yield from search.spans(low, high - _NEAR, backward=True)
    else:
        yield from search.spans(low, high, backward=False)


def _strides(span: Span, *, backward: bool) -> Generator[Span, int, None]:
    """Yields parts of a span, in the direction of reading; is sent how many execs were found in each.

    Small ones where many are found, so that none is sorted, or looked at, that is not soon read.
    """
    low, high, lines = span
    width = _NEAR
    # Of years of which little is left, no more parts than show how far it is.
    widest = max(_WIDEST, (high - low) // _LOOKS)
    while low <= high:
        if backward:
            part = Span(max(low, high - width + 1), high, lines)
            high = part.low - 1
        else:
            part = Span(low, min(high, low + width - 1), lines)
            low = part.high + 1
        found = yield part
        if found < PAGE_ROWS // 4:
            width = min(4 * width, widest)
        elif found > PAGE_ROWS:
            width = max(width // 4, PAGE_ROWS)


def _look_at(connection: sqlite3.Connection, whole: Span | None, part: Span, *, backward: bool) -> None:
    """Notes how far a search is, for who waits; `whole` is what it is of, if it begins."""
    reading = connection.reading if isinstance(connection, Connection) else None
    if reading is not None:
        if whole is not None:
            reading.low, reading.high = whole.low, whole.high
        reading.at, reading.is_backward = (part.high if backward else part.low), backward


def _oldest(connection: sqlite3.Connection, wanted: Filter, whole: Span, search: Search, limit: int) -> int:
    """Returns the number of the oldest among the newest `limit` execs; beyond all if there are none."""
    oldest = whole.high + 1
    if not limit:
        return oldest
    for span in _spans(wanted, whole, search, backward=True):
        strides = _strides(span, backward=True)
        part = next(strides, None)
        while part is not None:
            _look_at(connection, whole, part, backward=True)
            found, first = connection.execute(*newest_statement(wanted, part, limit)).fetchone()
            limit -= found
            oldest = oldest if first is None else first
            if limit == 0:
                return oldest
            part = _sent(strides, found)
    return oldest


def _sent(strides: Generator[Span, int, None], found: int) -> Span | None:
    try:
        return strides.send(found)
    except StopIteration:
        return None


def _read(
    connection: sqlite3.Connection, wanted: Filter, span: Span, left: int | None, resolver: Resolver
) -> Iterator[Page]:
    """Yields what is wanted of a span, of at most `left` execs."""
    strides = _strides(span, backward=wanted.reverse)
    part = next(strides, None)
    while part is not None:
        _look_at(connection, None, part, backward=wanted.reverse)
        found = 0
        while part.low <= part.high:
            most = PAGE_ROWS if left is None else min(left, PAGE_ROWS)
            recording = recorders.recording(connection)
            page, whole = _page(connection, statement(wanted, part, most=most), resolver)
            if page:
                yield Page(page, resolver.known, recording)
            found += len(page)
            if left is not None:
                left -= len(page)
                if left == 0:
                    return
            if whole and len(page) < most:
                break
            last = page[-1][0]
            part = part._replace(high=last - 1) if wanted.reverse else part._replace(low=last + 1)
        part = _sent(strides, found)


def fetch(connection: sqlite3.Connection, numbers: Sequence[int]) -> list[Found]:
    """Returns the execs of these numbers, in their order, but for those that are not there.

    Raises DamagedStoreError for an exec that makes no sense.
    """
    recording = recorders.recording(connection)
    by_number: dict[int, Found] = {}
    resolver = Resolver(connection)
    for start in range(0, len(numbers), PAGE_ROWS):
        left: Sequence[int] = numbers[start : start + PAGE_ROWS]
        while left:
            page, _ = _page(connection, numbers_statement(left), resolver)
            by_number.update(
                (found.number, found) for found in found_of(Page(page, resolver.known, recording))
            )
            # Large ones come in several pages.
            read = {row[0] for row in page}
            left = [number for number in left if number not in read] if read else []
    return [by_number[number] for number in numbers if number in by_number]


def locate(connection: sqlite3.Connection, key: ExecKey) -> int | None:
    """Returns the number of the exec with this id, or None if it is not in the history."""
    for sql in (id_lookup.FIND_EXEC, id_lookup.FIND_FAILED):
        row = connection.execute(sql, id_lookup.parameters(key)).fetchone()
        if row is not None:
            return int(row[0])
    return None


def found_of(page: Page) -> Iterator[Found]:
    """Yields the execs of a page. Raises DamagedStoreError for one that makes no sense."""
    try:
        yield from lookups.found(*page)
    except ValueError as exc:
        raise files.damaged(f"the history is damaged: {exc}") from exc


@contextlib.contextmanager
def making_sense(page: Page) -> Iterator[None]:
    """Raises DamagedStoreError if the body fails because a row of the page makes no sense."""
    try:
        yield
    except lookups.NONSENSE:
        for _ in found_of(page):
            pass
        raise


@contextlib.contextmanager
def one_moment(connection: sqlite3.Connection) -> Iterator[None]:
    """Has all statements of the body see one state of the history. To be short: see PAGE_ROWS."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")


def _page(
    connection: sqlite3.Connection, page: Statement, resolver: Resolver
) -> tuple[Sequence[tuple[Any, ...]], bool]:
    """Returns the rows, and whether they are all, or stop early because they are large."""
    with one_moment(connection):
        rows = connection.execute(*page).fetchall()
        looked_up = resolver.look_up(rows, _PAGE_BYTES)
    return looked_up, len(looked_up) == len(rows)


def gaps(connection: sqlite3.Connection, wanted: Filter) -> list[Gap]:
    """Returns the times in which execs were missed, inside or overlapping the range asked for.

    Raises DamagedStoreError for a gap that makes no sense.
    """
    return [gap for _, gap in numbered_gaps(connection, wanted)]


def numbered_gaps(connection: sqlite3.Connection, wanted: Filter) -> list[tuple[int, Gap]]:
    """Returns the same with the numbers of their rows, in the order of these."""
    is_wanted = globs.matching_names(wanted.hosts or ("*",))
    try:
        rows = connection.execute(*gaps_statement(wanted))
        return [
            (number, Gap(host, start, end, GapReason(reason), count, exits, uid))
            for number, host, start, end, reason, count, exits, uid in rows
            if is_wanted(host or "")
        ]
    except ValueError as exc:
        raise files.damaged(f"the history is damaged: a gap makes no sense ({exc})") from exc


def times(connection: sqlite3.Connection, wanted: Filter) -> tuple[int, int] | None:
    """Returns the times of the first and the last exec in the range asked for; None: there is none."""
    first, last = connection.execute(*times_statement(wanted)).fetchone()
    return None if first is None else (first, last)


def last_number(connection: sqlite3.Connection) -> int:
    """Returns the place of the newest exec in the history, 0 if there is none."""
    return int(connection.execute("SELECT max(id) FROM exec").fetchone()[0] or 0)


def parts(connection: sqlite3.Connection, wanted: Filter, *, after: int = 0) -> Iterator[Span]:
    """Yields the spans in which all is that is wanted, for statements that say something of each.

    Only what was recorded after the number `after`. In parts, because a long read keeps the writer's WAL from
    being reused. Raises FilterError.
    """
    low, high = _begin(connection, wanted)
    low = max(low, after + 1)
    search = Search(connection, wanted.args, Span(low, high))
    if wanted.limit is not None:
        low = _oldest(connection, wanted, Span(low, high), search, wanted.limit)
    if low > high:
        return
    whole = Span(low, high)
    for span in _spans(wanted, whole, search, backward=False):
        for start in range(span.low, span.high + 1, _COUNTED):
            part = span._replace(low=start, high=min(span.high, start + _COUNTED - 1))
            _look_at(connection, whole, part, backward=False)
            yield part


def count(connection: sqlite3.Connection, wanted: Filter) -> int:
    """Returns how many execs there are of what is wanted."""
    limit, wanted = wanted.limit, replace(wanted, limit=None)
    found = 0
    for part in parts(connection, wanted):
        found += connection.execute(*count_statement(wanted, part)).fetchone()[0]
    return found if limit is None else min(found, limit)
