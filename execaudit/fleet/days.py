"""Know on which days execs happened, so that a statement about them names these days.

PostgreSQL plans a statement for each day that it may be about: of a year, that takes longer than the answer.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from execaudit.fleet.conditions import Conditions, joined
from execaudit.fleet.dialects import FALSE, TRUE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from execaudit.fleet.engine import Engine

    Key = tuple[int, int]

DAY_NS = 86_400_000_000_000
LAST_SEQ = 2**40
_LATEST = 2**63 - 1
# Seqs that are so near are looked up as one stretch; and if there are more stretches, as one of each stream.
_NEAR, _MOST_STRETCHES = 2_000, 500
# A statement names so many ranges of days, or the whole from the first to the last.
_MOST_RANGES = 16


class Stretch(NamedTuple):
    """Some seqs of a stream, both ends included."""

    stream: int
    first: int
    last: int


class Times(NamedTuple):
    """Ranges of time, of which each begins before the next and includes both ends. None: any time."""

    ranges: tuple[tuple[int, int], ...] | None = None

    def said(self, alias: str, conditions: Conditions) -> str:
        """Returns the condition that the `ts` of a table is in one of the ranges."""
        if self.ranges is None:
            return TRUE
        within = [
            f'{alias}."ts" >= {conditions.bind(_clamped(low))} AND {alias}."ts" <= {conditions.bind(_clamped(high))}'
            for low, high in self.ranges
        ]
        return joined([f"({each})" for each in within], "OR", FALSE, TRUE)


ANY_TIME = Times()


class Days:
    """Looks up on which days execs happened."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of_keys(self, keys: Iterable[Key]) -> Times:
        """Returns when execs happened that have these streams and seqs."""
        return self.of(stretches(keys))

    def of_later(self, keys: Iterable[Key]) -> Times:
        """Returns when execs happened that have one of these streams, and a seq that is not less."""
        least: dict[int, int] = {}
        for stream, seq in keys:
            least[stream] = min(seq, least.get(stream, seq))
        return self.of([Stretch(stream, seq, LAST_SEQ) for stream, seq in least.items()])

    def of(self, wanted: Sequence[Stretch]) -> Times:
        """Returns when execs of some stretches happened."""
        if not self._engine.dialect.plans_by_day:
            return ANY_TIME
        conditions = Conditions(self._engine.dialect)
        given = ", ".join(conditions.bind([*each]) for each in zip(*wanted, strict=True))
        if not given:
            return Times(())
        sql = (
            f'SELECT DISTINCT s."day" FROM unnest({given}) AS w(stream, low, high) JOIN "span" AS s'  # noqa: S608  # bound
            ' ON s."stream" = w.stream AND s."first_seq" <= w.high AND s."last_seq" >= w.low'
        )
        return times_of([row[0] for row in self._engine.rows(sql, conditions.parameters)])

    def stretches(self, stream: int, first: int, last: int, *, backward: bool) -> Iterator[tuple[int, int]]:
        """Yields the ends of stretches of a stream's seqs, in order or backward: the first are small.

        So whoever finds enough in these asks for few days.
        """
        if not self._engine.dialect.plans_by_day:
            yield first, last
            return
        ends = self.seqs(stream, None, None)
        if ends is None:
            return
        low, high, width = max(first, ends[0]), min(last, ends[1]), _NEAR
        while low <= high:
            if backward:
                yield max(low, high - width + 1), high
                high -= width
            else:
                yield low, min(high, low + width - 1)
                low += width
            width *= 4

    def seqs(self, stream: int, since_ns: int | None, until_ns: int | None) -> tuple[int, int] | None:
        """Returns between which seqs a stream's execs of a range are; None: there is none."""
        if not self._engine.dialect.plans_by_day:
            return self._ends("seq", stream, since_ns, until_ns)
        low, high = within(since_ns, until_ns)
        if low > high:
            return None
        first, last = -(-low // DAY_NS), (high + 1) // DAY_NS - 1
        found = [self._ends("seq", stream, *part) for part in _edges(low, high, first, last)]
        conditions = Conditions(self._engine.dialect)
        its, begin, end = map(conditions.bind, (stream, first, last))
        sql = (
            'SELECT min(s."first_seq"), max(s."last_seq") FROM "span" AS s'  # noqa: S608  # bound
            f' WHERE s."stream" = {its} AND s."day" >= {begin} AND s."day" <= {end}'
        )
        found.append(_pair(self._engine.rows(sql, conditions.parameters)[0]))
        known = [each for each in found if each is not None]
        return (min(low for low, _ in known), max(high for _, high in known)) if known else None

    def times(
        self, since_ns: int | None, until_ns: int | None, streams: Sequence[int] | None = None
    ) -> tuple[int, int] | None:
        """Returns the times of the first and the last exec of a range, of some streams; None: none is."""
        if not self._engine.dialect.plans_by_day:
            return self._ends("ts", streams, since_ns, until_ns)
        low, high = within(since_ns, until_ns)
        first = self._edge("min", low, high, streams)
        last = None if first is None else self._edge("max", first, high, streams)
        return None if first is None or last is None else (first, last)

    def _edge(self, function: str, low: int, high: int, streams: Sequence[int] | None) -> int | None:
        """Returns the first or the last time of a range, day by day: a day may have lost what it had."""
        begin, end = low // DAY_NS, high // DAY_NS
        while begin <= end:
            conditions = Conditions(self._engine.dialect)
            said = f's."day" >= {conditions.bind(begin)} AND s."day" <= {conditions.bind(end)}'
            if streams is not None:
                said += " AND " + conditions.one_of('s."stream"', streams)
            sql = f'SELECT {function}(s."day") FROM "span" AS s WHERE {said}'  # noqa: S608  # bound
            day = self._engine.rows(sql, conditions.parameters)[0][0]
            if day is None:
                return None
            found = self._ends("ts", streams, max(low, day * DAY_NS), min(high + 1, (day + 1) * DAY_NS))
            if found is not None:
                return found[0 if function == "min" else 1]
            begin, end = (day + 1, end) if function == "min" else (begin, day - 1)
        return None

    def _ends(
        self, axis: str, streams: Sequence[int] | int | None, since_ns: int | None, until_ns: int | None
    ) -> tuple[int, int] | None:
        """Returns the least and the greatest value of a column, from the execs of a range themselves."""
        dialect = self._engine.dialect
        conditions = Conditions(dialect)
        said = [dialect.sane]
        if streams is not None:
            among = [streams] if isinstance(streams, int) else streams
            said.append(conditions.one_of('e."stream"', among))
        if since_ns is not None:
            said.append(f'e."ts" >= {conditions.bind(since_ns)}')
        if until_ns is not None:
            # What is above is no number of the engine, and no time.
            said.append(f'e."ts" <= {conditions.bind(min(until_ns - 1, _LATEST))}')
        ends = ", ".join(dialect.extreme(function, f'e."{axis}"') for function in ("min", "max"))
        source = f"{dialect.as_it_is('exec', 'e')} WHERE {' AND '.join(said)}"
        sql = f"SELECT {ends} FROM {source}"  # noqa: S608  # bound
        return _pair(self._engine.rows(sql, conditions.parameters)[0])


def _clamped(ns: int) -> int:
    """Returns the moment that is a number of the engine."""
    return min(max(ns, -1), _LATEST)


def within(since_ns: int | None, until_ns: int | None) -> tuple[int, int]:
    """Returns the first and the last moment of a range, of those that an exec can have."""
    low = 0 if since_ns is None else max(since_ns, 0)
    high = _LATEST if until_ns is None else min(until_ns - 1, _LATEST)
    return (low, high) if low <= high else (1, 0)


def _edges(low: int, high: int, first: int, last: int) -> list[tuple[int, int]]:
    """Returns the parts of a range that are before its first whole day, and after its last one."""
    if first > last:
        return [(low, high + 1)]
    begin, end = first * DAY_NS, (last + 1) * DAY_NS
    return [part for part in ((low, begin), (end, high + 1)) if part[0] < part[1]]


def _pair(row: Sequence[int | None]) -> tuple[int, int] | None:
    low, high = row
    return None if low is None or high is None else (low, high)


def stretches(keys: Iterable[Key]) -> list[Stretch]:
    """Returns the stretches of which each key is in one."""
    found: list[Stretch] = []
    for stream, seq in sorted(keys):
        last = found[-1] if found else None
        if last is not None and last.stream == stream and seq - last.last <= _NEAR:
            found[-1] = last._replace(last=seq)
        else:
            found.append(Stretch(stream, seq, seq))
    if len(found) <= _MOST_STRETCHES:
        return found
    of_streams = (list(some) for _, some in groupby(found, key=lambda each: each.stream))
    return [some[0]._replace(last=some[-1].last) for some in of_streams]


def times_of(days: Iterable[int]) -> Times:
    """Returns the ranges of days since 1970; if they are too many, one that has all."""
    ranges: list[tuple[int, int]] = []
    for day in sorted(days):
        low = day * DAY_NS
        if ranges and ranges[-1][1] == low - 1:
            ranges[-1] = ranges[-1][0], min(low + DAY_NS - 1, _LATEST)
        else:
            ranges.append((low, min(low + DAY_NS - 1, _LATEST)))
    if len(ranges) > _MOST_RANGES:
        ranges = [(ranges[0][0], ranges[-1][1])]
    return Times(tuple(ranges))
