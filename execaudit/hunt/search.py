"""Run rules over a part of the history: one pass for all of them."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from execaudit.fields import UNKNOWN_LAUNCH, UNKNOWN_ORIGIN
from execaudit.hunt import narrowing
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


class _Finding(Protocol):
    def __call__(self, *, backward: bool) -> Iterator[Hit]:
        """Yields all hits, in the order of recording, or in the opposite one."""


def in_order(found: _Finding, wanted: Filter, correlations: Correlations | None) -> Iterator[Hit]:
    """Yields the hits that are wanted, in the order wanted. The filter's limit is that of hits."""
    limit, is_reverse = wanted.limit, wanted.reverse
    if correlations is not None:
        # They count in the order of recording.
        hits = correlations.of(found(backward=False))
        kept = hits if limit is None and not is_reverse else deque(hits, maxlen=limit)
        yield from reversed(kept) if isinstance(kept, deque) and is_reverse else kept
        return
    if limit is None:
        yield from found(backward=is_reverse)
        return
    newest = islice(found(backward=True), limit)
    if is_reverse:
        yield from newest
    else:
        yield from reversed(deque(newest))


# An exec's row, as far as most of the work needs it. As SQLite gives it: to make a NamedTuple of it takes as
# long as all else that is done to most rows.
_Outline = tuple[int, "int | None", "int | None", int, "int | None", "int | None"]
_NUMBER: Final = 0
_LAUNCH: Final = 1
_ORIGIN: Final = 2
_LINE: Final = 3
_TRUNCATED: Final = 4
_PARENT: Final = 5


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
        # By whether it is a parent's.
        self._launches: dict[bool, dict[int | None, int]] = {False: {}, True: {}}
        self._origins: dict[int | None, int] = {}
        # For which rules it was found out, and which of them may hit.
        self._lines: dict[bool, dict[int, tuple[int, int]]] = {False: {}, True: {}}
        self.looked_at = 0
        """So many execs."""

    @property
    def has_correlations(self) -> bool:
        """Says whether hits are counted."""
        return self._correlations is not None

    def is_about(self, names: Container[str]) -> bool:
        """Says whether a rule speaks of one of these fields."""
        every = (narrowing.sources(rule.expression) for rule in self._sieve.rules)
        return any(source.name in names for sources in every for source in sources)

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
        everything = replace(self.wanted, limit=None, reverse=False)
        spans = [*find.parts(self._connection, everything, after=after)]
        if until is not None:
            spans = [span._replace(high=min(span.high, until)) for span in spans if span.low <= until]

        def found(*, backward: bool) -> Iterator[Hit]:
            return self._found(everything, spans, advance, backward=backward)

        yield from in_order(found, self.wanted, self._correlations)

    def _found(
        self, wanted: Filter, spans: Sequence[Span], advance: Callable[[int], None], *, backward: bool
    ) -> Iterator[Hit]:
        for span in _strides(spans, backward=backward):
            rows = self._connection.execute(*outline_statement(wanted, span)).fetchall()
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
        self._learn_launches({row[_LAUNCH] for row in rows}, of_parent=False)
        launches = self._launches[False]
        masks = [launches[row[_LAUNCH]] & every for row in rows]
        if own.has_origin:
            self._learn_origins({row[_ORIGIN] for row in rows})
            masks = [bits & self._origins[row[_ORIGIN]] for row, bits in zip(rows, masks, strict=True)]
        left = {row[_NUMBER]: bits for row, bits in zip(rows, masks, strict=True) if bits}
        rows = [row for row, bits in zip(rows, masks, strict=True) if bits]
        if own.has_lines:
            # What is missing could have been anything: then the exec is checked as a whole.
            whole = [row for row in rows if row[_TRUNCATED] is None]
            self._learn_lines([(row[_LINE], left[row[_NUMBER]]) for row in whole], of_parent=False)
            lines = self._lines[False]
            for row in whole:
                left[row[_NUMBER]] &= lines[row[_LINE]][1] if row[_LINE] in lines else 0
            self._look_closer(whole, left)
        return self._after_parents([row for row in rows if left[row[_NUMBER]]], left)

    def _look_closer(self, rows: Sequence[_Outline], left: dict[int, int]) -> None:
        """Finds what takes long for the command lines of execs that rules may hit for all else."""
        slow = self._sieve.own.slow
        asked: dict[int, int] = {}
        for row in rows:
            if bits := left[row[_NUMBER]] & slow:
                asked[row[_LINE]] = asked.get(row[_LINE], 0) | bits
        found: dict[int, int] = {}
        for some in _pieces(asked):
            for number, argv in self._resolver.lines(some):
                found[number] = self._sieve.own.of_line_slowly(argv, asked[number])
        for row in rows if asked else ():
            left[row[_NUMBER]] &= found.get(row[_LINE], 0) | ~slow

    def _after_parents(self, rows: Sequence[_Outline], left: dict[int, int]) -> dict[int, int]:
        """Returns the same for fewer execs: for what their parents leave."""
        values = self._sieve.parents
        asked = [row for row in rows if left[row[_NUMBER]] & values.narrowed]
        parents = self._outlines({row[_PARENT] for row in asked if row[_PARENT] is not None})
        of_none = values.of_none() if asked else 0
        self._learn_launches({parent[_LAUNCH] for parent in parents.values()}, of_parent=True)
        launches, lines = self._launches[True], self._lines[True]
        for row in asked:
            parent = None if row[_PARENT] is None else parents.get(row[_PARENT])
            left[row[_NUMBER]] &= of_none if parent is None else launches[parent[_LAUNCH]]
        if values.has_lines:
            whole = [
                (row, parent)
                for row in asked
                if row[_PARENT] is not None
                and left[row[_NUMBER]]
                and (parent := parents.get(row[_PARENT])) is not None
                and parent[_TRUNCATED] is None
            ]
            self._learn_lines([(parent[_LINE], left[row[_NUMBER]]) for row, parent in whole], of_parent=True)
            for row, parent in whole:
                left[row[_NUMBER]] &= lines[parent[_LINE]][1] if parent[_LINE] in lines else 0
        return {row[_NUMBER]: bits for row in rows if (bits := left[row[_NUMBER]])}

    def _outlines(self, numbers: set[int]) -> dict[int, _Outline]:
        found: dict[int, _Outline] = {}
        for some in _pieces(numbers):
            for row in self._connection.execute(*outlines_statement(some)):
                found[row[_NUMBER]] = row
        return found

    def _learn_launches(self, numbers: set[int | None], *, of_parent: bool) -> None:
        values, launches = self._sieve.parents if of_parent else self._sieve.own, self._launches[of_parent]
        if len(launches) > _MOST_REMEMBERED:
            launches.clear()
        new = numbers.difference(launches)
        for some in _pieces(new - {None}):
            known = self._resolver.launches(some)
            for number in some:
                launches[number] = values.of_launch(known.get(number, UNKNOWN_LAUNCH))
        if None in new:
            launches[None] = values.of_launch(UNKNOWN_LAUNCH)

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

    def _learn_lines(self, wanted: Iterable[tuple[int, int]], *, of_parent: bool) -> None:
        """Finds out what is asked of command lines: of each number, for the rules of these bits."""
        lines = self._lines[of_parent]
        if len(lines) > _MOST_REMEMBERED:
            lines.clear()
        of_line = (self._sieve.parents if of_parent else self._sieve.own).of_line
        new: dict[int, int] = {}
        for number, bits in wanted:
            known = lines.get(number)
            if known is None or bits & ~known[0]:
                new[number] = new.get(number, 0) | bits
        for some in _pieces(new):
            for number, argv in self._resolver.lines(some):
                bits = new[number] | lines[number][0] if number in lines else new[number]
                lines[number] = bits, of_line(argv, bits)

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
            hits = [*rules_of(self._sieve, found, parent, likely[found.number])]
            yield from reversed(hits) if backward else hits


def rules_of(sieve: Sieve, found: Found, parent: ExecEvent | None, bits: int) -> Iterator[Hit]:
    """Yields the hits of an exec by the rules with these bits, each of which is checked as a whole.

    A rule that takes too long is put aside.
    """
    for index in sieve.members(bits):
        try:
            is_hit = sieve.checks[index](found.event, parent)
        except TimeoutError:
            sieve.put_aside(index)
            continue
        if is_hit:
            yield Hit(sieve.rules[index], found.number, found.event)


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
