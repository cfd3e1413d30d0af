"""Turn rows of exec into events: what they refer to is looked up for a whole page at once, and remembered.

This takes a third of the time of a join in each row, and less for rows that are referred to again: most execs
share few launches, lines and origins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from execaudit.database.id_list import json_ids
from execaudit.query import rows
from execaudit.query.rows import Clock, Known, Relative, to_found

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from execaudit.fields import Launch, Origin
    from execaudit.query.rows import Found, Recording, Shared

    _Row = tuple[Any, ...]

# Of launches and places; a kilobyte each at most, but for long paths.
_MOST_REMEMBERED = 10_000
_MOST_KEYS = 8000
_LINE_BYTES = 4 * 1024 * 1024
# Of the values of each dictionary; one takes so many bytes beside its own.
_VALUE_BYTES = 2 * 1024 * 1024
_EACH_BYTES = 100


NONSENSE = (AttributeError, LookupError, TypeError, ValueError)
"""The exceptions for a row with an impossible value, or with a reference to a row that is missing."""


class Resolver:
    """Resolves the rows of one answer.

    What is not known yet is `wanted.difference(known)`, because `wanted - known.keys()` looks at all of it.
    """

    def __init__(self, connection: sqlite3.Connection, *, keys: bool = False) -> None:
        """With `keys`, of relatives no more is looked up than their keys."""
        self._connection = connection
        self._keys = keys
        self._known = Known()
        self._line_bytes = 0
        self._values: dict[str, dict[int, object]] = {name: {} for name in rows.VALUES}
        self._value_bytes = dict.fromkeys(rows.VALUES, 0)

    def look_up(self, page: Sequence[_Row], most_bytes: int) -> Sequence[_Row]:
        """Looks up what rows of COLUMNS refer to. Returns fewer of them if their lines are too large.

        In the transaction in which they were read. At least one row.
        """
        if not page:
            return page
        while not self._look_up_lines(page, most_bytes) and len(page) > 1:
            page = page[: len(page) // 2]
        known = self._known
        # By columns, because to look at each row takes three times as long.
        (
            numbers, times, clocks, _, pids, _, _, launches, origins, _, _, truncations, parents, durations, _, following,
        ) = zip(*page, strict=True)  # fmt: skip
        self._add(known.clocks, rows.CLOCKS, set(clocks), Clock._make)
        if len(known.launches) + len(known.origins) > _MOST_REMEMBERED:
            self._known = known = _keep(known)
        self._add_shared(known.launches, rows.LAUNCHES, set(launches))
        self._add_shared(known.origins, rows.ORIGINS, set(origins))
        # These may change between two pages, so they are looked up again.
        known.cuts, known.ends, known.relatives = {}, {}, {}
        self._add(known.cuts, rows.CUTS, set(_where(numbers, truncations, is_none=False)), tuple)
        self._add(known.ends, rows.ENDS, set(_where(numbers, durations, is_none=True)), tuple)
        wanted = {*parents, *following, *(end[2] for end in known.ends.values())}
        if self._keys:
            self._add_own_keys(numbers, times, clocks, pids)
            self._add(known.keys, rows.RELATIVES, wanted, lambda row: (row[0], row[1]))
        else:
            self._add(known.relatives, rows.RELATIVES, wanted, Relative._make)
        return page

    def _add_own_keys(
        self, numbers: Iterable[int], times: Iterable[int], clocks: Sequence[int], pids: Iterable[int]
    ) -> None:
        """Adds the keys of a page's own execs: most parents were read lately, and keys stay what they are."""
        known = self._known
        if len(known.keys) > _MOST_KEYS:
            known.keys = {}
        try:
            offsets = {clock: known.clocks[clock].offset_ns for clock in set(clocks)}
            if len(offsets) == 1:
                offset = offsets[clocks[0]]
                boot_times = [time - offset for time in times]
            else:
                boot_times = [time - offsets[clock] for time, clock in zip(times, clocks, strict=True)]
        except NONSENSE:
            return  # what needs them finds out
        known.keys.update(zip(numbers, zip(boot_times, pids, strict=True), strict=True))

    @property
    def known(self) -> Known:
        """The rows that the last page refers to."""
        return self._known

    def launches(self, numbers: set[int]) -> dict[int | None, Launch]:
        """Returns launches by their numbers, these among them, but for those that are not there."""
        if len(self._known.launches) > _MOST_REMEMBERED:
            self._known = _keep(self._known)
        self._add_shared(self._known.launches, rows.LAUNCHES, set(numbers))
        return self._known.launches

    def origins(self, numbers: set[int]) -> dict[int | None, Origin]:
        """Returns origins in the same way."""
        self._add_shared(self._known.origins, rows.ORIGINS, set(numbers))
        return self._known.origins

    def lines(self, numbers: set[int]) -> Iterator[tuple[int, bytes]]:
        """Yields the numbers and the bytes of command lines, which may be large; nothing is remembered."""
        yield from self._rows(rows.LINES, set(numbers))

    def _look_up_lines(self, page: Sequence[_Row], most_bytes: int) -> bool:
        """Returns whether the lines of a page are not more than that."""
        if self._line_bytes > _LINE_BYTES:
            self._known.lines, self._line_bytes = {}, 0
        lines = self._known.lines
        numbers = {row[9] for row in page}
        new = numbers.difference(lines)
        size = sum(map(len, map(lines.__getitem__, numbers - new)))
        for number, line in self._rows(rows.LINES, new):
            lines[number] = line
            size += len(line)
            self._line_bytes += len(line)
            if size > most_bytes and len(page) > 1:
                return False
        return size <= most_bytes

    def _add(self, into: dict[Any, Any], sql: str, numbers: set[Any], make: Callable[[_Row], Any]) -> None:
        into.update((row[0], make(row[1:])) for row in self._rows(sql, numbers.difference(into)))

    def _add_shared(self, into: dict[Any, Any], shared: Shared, numbers: set[Any]) -> None:
        """Adds launches or origins: their rows, then what these refer to, which is mostly known."""
        found = list(self._rows(shared.sql, numbers.difference(into)))
        if not found:
            return
        ids, *columns = zip(*found, strict=True)
        wanted: dict[str, set[Any]] = {}
        for column, dictionary in zip(columns, shared.dictionaries, strict=True):
            if dictionary is not None:
                wanted.setdefault(dictionary, set()).update(column)
        for dictionary, values in wanted.items():
            self._add_values(dictionary, values)
        into.update(zip(ids, shared.made(columns, self._values), strict=True))

    def _add_values(self, dictionary: str, wanted: set[Any]) -> None:
        if self._value_bytes[dictionary] > _VALUE_BYTES:
            self._values[dictionary], self._value_bytes[dictionary] = {}, 0
        known = self._values[dictionary]
        found: dict[int, Any] = dict(self._rows(rows.VALUES[dictionary], wanted.difference(known)))
        self._value_bytes[dictionary] += sum(map(len, found.values())) + _EACH_BYTES * len(found)
        if dictionary == "user":
            found = {number: rows.to_name(raw) for number, raw in found.items()}
        known.update(found)

    def _rows(self, sql: str, numbers: set[Any]) -> Iterator[_Row]:
        numbers.discard(None)
        if not numbers:
            return iter(())
        return self._connection.execute(sql, {"numbers": json_ids(numbers)})


def _where(numbers: Iterable[int], values: Iterable[object], *, is_none: bool) -> Iterator[int]:
    """Yields the numbers beside values that are None, or are not."""
    return (number for number, value in zip(numbers, values, strict=True) if (value is None) is is_none)


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
