"""Turn rows of exec into events: what they refer to is looked up for a whole page at once, and remembered.

This takes a third of the time of a join in each row, and less for rows that are referred to again: most execs
share few launches, lines and origins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from execaudit.database.id_list import json_ids
from execaudit.query import rows
from execaudit.query.rows import Clock, Known, Relative, to_found, to_launch, to_origin

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from execaudit.query.rows import Found, Recording

    _Row = tuple[Any, ...]

# Of launches and places; a kilobyte each at most, but for long paths.
_MOST_REMEMBERED = 10_000
_MOST_KEYS = 20_000
_LINE_BYTES = 4 * 1024 * 1024


NONSENSE = (AttributeError, LookupError, TypeError, ValueError)
"""The exceptions for a row with an impossible value, or with a reference to a row that is missing."""


class Resolver:
    """Resolves the rows of one answer."""

    def __init__(self, connection: sqlite3.Connection, *, keys: bool = False) -> None:
        """With `keys`, of relatives no more is looked up than their keys."""
        self._connection = connection
        self._keys = keys
        self._known = Known()
        self._line_bytes = 0

    def look_up(self, page: Sequence[_Row], most_bytes: int) -> Sequence[_Row]:
        """Looks up what rows of COLUMNS refer to. Returns fewer of them if their lines are too large.

        In the transaction in which they were read. At least one row.
        """
        while not self._look_up_lines(page, most_bytes) and len(page) > 1:
            page = page[: len(page) // 2]
        known = self._known
        self._add(known.clocks, rows.CLOCKS, (row[2] for row in page), Clock._make)
        if len(known.launches) + len(known.origins) > _MOST_REMEMBERED:
            self._known = known = _keep(known)
        self._add(known.launches, rows.LAUNCHES, (row[7] for row in page), to_launch)
        self._add(known.origins, rows.ORIGINS, (row[8] for row in page), to_origin)
        # These may change between two pages, so they are looked up again.
        known.cuts, known.ends, known.relatives = {}, {}, {}
        self._add(known.cuts, rows.CUTS, (row[0] for row in page if row[11] is not None), tuple)
        self._add(known.ends, rows.ENDS, (row[0] for row in page if row[13] is None), tuple)
        parents = {row[12] for row in page}
        following = {row[15] for row in page} | {end[2] for end in known.ends.values()}
        if self._keys:
            self._add_keys(page, parents | following)
        else:
            self._add(known.relatives, rows.RELATIVES, parents | following, Relative._make)
        return page

    def _add_keys(self, page: Sequence[_Row], wanted: set[int | None]) -> None:
        """Keys stay what they are, and most parents were read lately."""
        known = self._known
        if len(known.keys) > _MOST_KEYS:
            known.keys = {}
        clocks = known.clocks
        known.keys.update((row[0], (row[1] - clocks[row[2]].offset_ns, row[4])) for row in page)
        self._add(known.keys, rows.RELATIVES, wanted, lambda row: (row[0], row[1]))

    @property
    def known(self) -> Known:
        """The rows that the last page refers to."""
        return self._known

    def _look_up_lines(self, page: Sequence[_Row], most_bytes: int) -> bool:
        """Returns whether the lines of a page are not more than that."""
        if self._line_bytes > _LINE_BYTES:
            self._known.lines, self._line_bytes = {}, 0
        lines = self._known.lines
        numbers = {row[9] for row in page}
        size = sum(len(lines[number]) for number in numbers if number in lines)
        for number, line in self._rows(rows.LINES, numbers - lines.keys()):
            lines[number] = line
            size += len(line)
            self._line_bytes += len(line)
            if size > most_bytes and len(page) > 1:
                return False
        return size <= most_bytes

    def _add(
        self, into: dict[Any, Any], sql: str, numbers: Iterable[Any], make: Callable[[_Row], Any]
    ) -> None:
        for number, *row in self._rows(sql, set(numbers) - into.keys()):
            into[number] = make(row)  # type: ignore[arg-type]  # a list will do

    def _rows(self, sql: str, numbers: set[Any]) -> Iterator[_Row]:
        numbers.discard(None)
        if not numbers:
            return iter(())
        return self._connection.execute(sql, {"numbers": json_ids(numbers)})


def found(page: Iterable[_Row], known: Known, recording: Recording) -> Iterator[Found]:
    """Yields the execs of rows that were looked up. Raises what to_found raises, as ValueError."""
    for row in page:
        try:
            yield to_found(row, known, recording)
        except NONSENSE as exc:
            reason = "a part of it is missing" if isinstance(exc, KeyError) else str(exc)
            raise ValueError(f"exec number {row[0]} makes no sense ({reason})") from exc


def _keep(known: Known) -> Known:
    """Returns what is needed of what is known, when that has become too much."""
    new = Known()
    new.clocks, new.lines, new.keys = known.clocks, known.lines, known.keys
    return new
