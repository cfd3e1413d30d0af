"""Run rules over a part of the history: one pass for all of them."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from execaudit.fields import UNKNOWN_LAUNCH, UNKNOWN_ORIGIN
from execaudit.query import find
from execaudit.query.lookups import Resolver
from execaudit.query.statements import Span, outline_statement, outlines_statement

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

    from execaudit.event import ExecEvent
    from execaudit.hunt.correlator import Correlator
    from execaudit.hunt.rule import Named
    from execaudit.hunt.sieve import Sieve
    from execaudit.query.filter import Filter
    from execaudit.query.rows import Found

# Execs that are looked at together, and that are in memory together: command lines can have megabytes.
_STRIDE, _PAGE = 20_000, 64
_LOOKED_UP = 2000
_MOST_REMEMBERED = 200_000


class Hit(NamedTuple):
    """An exec, and a rule that it is a case of."""

    rule: Named
    number: int
    event: ExecEvent


class Correlations:
    """Adds the hits of correlations to those of rules, and leaves out what is only counted."""

    def __init__(self, correlators: Mapping[int, Sequence[Correlator]], shown: Container[int]) -> None:
        """By id() of a rule, what counts its hits. `shown` has id() of the rules whose hits are hits."""
        self._correlators, self._shown = correlators, shown

    def of(self, hits: Iterable[Hit]) -> Iterator[Hit]:
        """Yields the hits that are shown. Takes them in the order of recording."""
        for hit in hits:
            key = id(hit.rule)
            if key in self._shown:
                yield hit
            for correlator in self._correlators.get(key, ()):
                if correlator.is_due(hit.number, hit.event):
                    yield Hit(correlator.rule, hit.number, hit.event)


class _Outline(NamedTuple):
    """An exec's row, as far as most of the work needs it."""

    number: int
    launch: int | None
    origin: int | None
    line: int
    truncated: int | None
    parent: int | None


class Hunt:
    """Runs rules over a history, and remembers what many execs share."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        sieve: Sieve,
        wanted: Filter,
        correlations: Correlations | None = None,
    ) -> None:
        """`wanted` is what is hunted; its limit is that of hits."""
        self._correlations = correlations
        self._connection, self._sieve, self.wanted = connection, sieve, wanted
        self._resolver = Resolver(connection)
        self._launches: dict[tuple[int | None, bool], int] = {}
        self._origins: dict[int | None, int] = {}
        self._lines: dict[tuple[int, bool], int] = {}
        self.looked_at = 0
        """So many execs."""

    def hits(
        self,
        *,
        after: int = 0,
        until: int | None = None,
        advance: Callable[[int], None] = lambda _execs: None,
    ) -> Iterator[Hit]:
        """Yields the hits among what was recorded after a number and up to another, in the order wanted.

        Calls `advance` with how many execs were looked at. Raises FilterError.
        """
        wanted = self.wanted
        limit, is_reverse = wanted.limit, wanted.reverse
        everything = replace(wanted, limit=None, reverse=False)
        spans = [*find.parts(self._connection, everything, after=after)]
        if until is not None:
            spans = [span._replace(high=min(span.high, until)) for span in spans if span.low <= until]
        if self._correlations is not None:
            # They count in the order of recording.
            hits = self._correlations.of(self._found(everything, spans, advance, backward=False))
            kept = hits if limit is None and not is_reverse else deque(hits, maxlen=limit)
            yield from reversed(kept) if isinstance(kept, deque) and is_reverse else kept
            return
        if limit is None:
            yield from self._found(everything, spans, advance, backward=is_reverse)
            return
        newest = islice(self._found(everything, spans, advance, backward=True), limit)
        if is_reverse:
            yield from newest
        else:
            yield from reversed(deque(newest))

    def _found(
        self, wanted: Filter, spans: Sequence[Span], advance: Callable[[int], None], *, backward: bool
    ) -> Iterator[Hit]:
        for span in _strides(spans, backward=backward):
            rows = [
                _Outline._make(row)
                for row in self._connection.execute(*outline_statement(wanted, span)).fetchall()
            ]
            likely = self._likely(rows)
            self.looked_at += len(rows)
            advance(len(rows))
            numbers = [*likely]
            if backward:
                numbers.reverse()
            for start in range(0, len(numbers), _PAGE):
                yield from self._checked(numbers[start : start + _PAGE], likely, backward=backward)

    def _likely(self, rows: Sequence[_Outline]) -> dict[int, int]:
        """Returns which rules may hit, by number, of the execs that any may hit."""
        own, every = self._sieve.own, self._sieve.left
        left = {row.number: every for row in rows}
        self._learn_launches({row.launch for row in rows}, of_parent=False)
        for row in rows:
            left[row.number] &= self._launches[row.launch, False]
        if own.has_origin:
            self._learn_origins({row.origin for row in rows})
            for row in rows:
                left[row.number] &= self._origins[row.origin]
        if own.has_lines:
            # What is missing could have been anything: then the exec is checked as a whole.
            whole = [row for row in rows if left[row.number] and row.truncated is None]
            self._learn_lines({row.line for row in whole}, of_parent=False)
            for row in whole:
                left[row.number] &= self._lines.get((row.line, False), 0)
            self._look_closer(whole, left)
        return self._after_parents([row for row in rows if left[row.number]], left)

    def _look_closer(self, rows: Sequence[_Outline], left: dict[int, int]) -> None:
        """Finds what takes long for the command lines of execs that rules may hit for all else."""
        slow = self._sieve.own.slow
        asked: dict[int, int] = {}
        for row in rows:
            if bits := left[row.number] & slow:
                asked[row.line] = asked.get(row.line, 0) | bits
        found: dict[int, int] = {}
        for some in _pieces(asked):
            for number, argv in self._resolver.lines(some):
                found[number] = self._sieve.own.of_line_slowly(argv, asked[number])
        for row in rows if asked else ():
            left[row.number] &= found.get(row.line, 0) | ~slow

    def _after_parents(self, rows: Sequence[_Outline], left: dict[int, int]) -> dict[int, int]:
        """Returns the same for fewer execs: for what their parents leave."""
        narrowed = self._sieve.parents.narrowed
        asked = [row for row in rows if left[row.number] & narrowed]
        parents = self._outlines({row.parent for row in asked if row.parent is not None})
        of_none = self._sieve.parents.of_none() if asked else 0
        self._learn_launches({parent.launch for parent in parents.values()}, of_parent=True)
        if self._sieve.parents.has_lines:
            self._learn_lines(
                {parent.line for parent in parents.values() if parent.truncated is None}, of_parent=True
            )
        for row in asked:
            parent = None if row.parent is None else parents.get(row.parent)
            if parent is None:
                left[row.number] &= of_none
                continue
            left[row.number] &= self._launches[parent.launch, True]
            if parent.truncated is None and self._sieve.parents.has_lines:
                left[row.number] &= self._lines.get((parent.line, True), 0)
        return {row.number: bits for row in rows if (bits := left[row.number])}

    def _outlines(self, numbers: set[int]) -> dict[int, _Outline]:
        found: dict[int, _Outline] = {}
        for some in _pieces(numbers):
            for row in self._connection.execute(*outlines_statement(some)):
                found[row[0]] = _Outline._make(row)
        return found

    def _learn_launches(self, numbers: Iterable[int | None], *, of_parent: bool) -> None:
        values = self._sieve.parents if of_parent else self._sieve.own
        if len(self._launches) > _MOST_REMEMBERED:
            self._launches.clear()
        new = {number for number in numbers if (number, of_parent) not in self._launches}
        for some in _pieces(new - {None}):
            known = self._resolver.launches(some)
            for number in some:
                self._launches[number, of_parent] = values.of_launch(known.get(number, UNKNOWN_LAUNCH))
        if None in new:
            self._launches[None, of_parent] = values.of_launch(UNKNOWN_LAUNCH)

    def _learn_origins(self, numbers: set[int | None]) -> None:
        if len(self._origins) > _MOST_REMEMBERED:
            self._origins.clear()
        new = numbers.difference(self._origins)
        for some in _pieces(new - {None}):
            known = self._resolver.origins(some)
            for number in some:
                self._origins[number] = self._sieve.own.of_origin(known.get(number, UNKNOWN_ORIGIN))
        if None in new:
            self._origins[None] = self._sieve.own.of_origin(UNKNOWN_ORIGIN)

    def _learn_lines(self, numbers: set[int], *, of_parent: bool) -> None:
        if len(self._lines) > _MOST_REMEMBERED:
            self._lines.clear()
        of_line = (self._sieve.parents if of_parent else self._sieve.own).of_line
        new = {number for number in numbers if (number, of_parent) not in self._lines}
        for some in _pieces(new):
            for number, argv in self._resolver.lines(some):
                self._lines[number, of_parent] = of_line(argv)

    def _checked(self, numbers: Sequence[int], likely: dict[int, int], *, backward: bool) -> Iterator[Hit]:
        """Yields the hits of execs, each of whose rules is checked as a whole."""
        every = find.fetch(self._connection, numbers)
        of_parents = self._sieve.of_parents
        wanted = {
            found.parent for found in every if found.parent is not None and likely[found.number] & of_parents
        }
        parents = {found.number: found.event for found in find.fetch(self._connection, sorted(wanted))}
        for found in every:
            parent = None if found.parent is None else parents.get(found.parent)
            hits = [*self._rules_of(found, parent, likely[found.number])]
            yield from reversed(hits) if backward else hits

    def _rules_of(self, found: Found, parent: ExecEvent | None, bits: int) -> Iterator[Hit]:
        for index in self._sieve.members(bits):
            try:
                is_hit = self._sieve.checks[index](found.event, parent)
            except TimeoutError:
                self._sieve.put_aside(index)
                continue
            if is_hit:
                yield Hit(self._sieve.rules[index], found.number, found.event)


def _strides(spans: Iterable[Span], *, backward: bool) -> Iterator[Span]:
    """Yields small parts of spans, in the direction of reading: a read transaction is to be short."""
    for span in reversed([*spans]) if backward else spans:
        starts = range(span.low, span.high + 1, _STRIDE)
        for start in reversed(starts) if backward else starts:
            yield span._replace(low=start, high=min(span.high, start + _STRIDE - 1))


def _pieces(numbers: Iterable[int | None]) -> Iterator[set[int]]:
    """Yields some numbers at a time, in order."""
    ordered = sorted(number for number in numbers if number is not None)
    for start in range(0, len(ordered), _LOOKED_UP):
        yield set(ordered[start : start + _LOOKED_UP])
