"""Find which rules may hit an exec, by values that many execs share: a number with a bit for each rule.

All rules are run at once: what a command line must have for a rule is looked for with one automaton. Few
execs are left, and of those each rule is checked as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ahocorasick_rs import BytesAhoCorasick

from execaudit.enums import Kind
from execaudit.event import ExecEvent, Nanoseconds
from execaudit.fields import BY_NAME, UNKNOWN_LAUNCH, UNKNOWN_ORIGIN
from execaudit.fields import Part as Place
from execaudit.hunt import narrowing
from execaudit.query import matcher
from execaudit.query.expression import LINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from execaudit.fields import Launch, Origin
    from execaudit.hunt.rule import Rule
    from execaudit.query.expression import Expression

    # A bit, what its rule says of one value, and the function that says whether that holds.
    _Said = tuple[int, Expression, matcher.Check]

_NOTHING = ExecEvent(
    Kind.EXEC, "", "0" * 7, Nanoseconds(0), Nanoseconds(0), 0, 0, None, b"", None, None, (), None, None,
    UNKNOWN_LAUNCH, UNKNOWN_ORIGIN,
)  # fmt: skip
_MOST_REMEMBERED = 100_000
# A match takes a hundred bytes, and a megabyte of arguments may have half a million of them.
_PIECE = 64 * 1024


class Sieve:
    """Knows some rules."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        """Raises FilterError for a regular expression that is none."""
        self.rules = rules
        self.checks = [matcher.compiled(rule.expression) for rule in rules]
        self.left = (1 << len(rules)) - 1
        """The rules that are not put aside."""
        sources = [narrowing.sources(rule.expression) for rule in rules]
        self.of_parents = _bits(any(source.of_parent for source in each) for each in sources)
        """The rules that say something of parents."""
        self.own, self.parents = (
            _Values(self, [each.expression for each in rules], of_parent=of_parent)
            for of_parent in (False, True)
        )

    def put_aside(self, bits: int) -> None:
        """Leaves out rules that take too long."""
        self.left &= ~bits

    def members(self, bits: int) -> Iterator[int]:
        """Yields the indexes of the rules whose bits are set, in order."""
        bits &= self.left
        while bits:
            low = bits & -bits
            yield low.bit_length() - 1
            bits ^= low


def _bits(values: Iterable[bool]) -> int:
    return sum(1 << place for place, value in enumerate(values) if value)


class _Values:
    """What rules say of the values of execs, or of those of their parents."""

    def __init__(self, sieve: Sieve, expressions: Sequence[Expression], *, of_parent: bool) -> None:
        self._sieve, self._of_parent = sieve, of_parent
        every = frozenset().union(*map(narrowing.sources, expressions))
        said: dict[str, list[_Said]] = {}
        for source in sorted(
            (each for each in every if each.of_parent is of_parent), key=lambda each: each.name
        ):
            if not narrowing.is_shared(source):
                continue
            of_rules = [narrowing.about(each, source) for each in expressions]
            said[source.name] = [
                (1 << place, each, matcher.compiled(each))
                for place, each in enumerate(of_rules)
                if each != narrowing.TRUE
            ]
        lines = said.pop(LINE, [])
        self._line = _Lines(self, lines)
        self._fields = {name: _Field(self, name, each) for name, each in said.items() if each}
        self.has_origin = any(BY_NAME[name].part is Place.ORIGIN for name in self._fields)
        self.has_lines = bool(lines)
        self.narrowed = 0
        """The rules that say something of a value alone."""
        for each in (lines, *said.values()):
            for bit, _, _ in each:
                self.narrowed |= bit

    def of_launch(self, launch: Launch) -> int:
        """Returns which rules may hit an exec with this launch."""
        return self._of(launch, Place.LAUNCH)

    def of_origin(self, origin: Origin) -> int:
        """Returns which rules may hit an exec from there."""
        return self._of(origin, Place.ORIGIN)

    def _of(self, part: Launch | Origin, place: Place) -> int:
        left = -1
        for name, field in self._fields.items():
            if BY_NAME[name].part is place:
                left &= field.of(getattr(part, BY_NAME[name].source))
        return left

    def of_line(self, argv: bytes) -> int:
        """Returns which rules may hit an exec with these arguments, of which nothing is missing."""
        return self._line.of(argv)

    def of_none(self) -> int:
        """Returns which rules may hit an exec that has no parent."""
        left = -1
        for said in (self._line.said, *(field.said for field in self._fields.values())):
            for bit, _, check in said:
                if not check(_NOTHING, None):
                    left &= ~bit
        return left

    def passes(self, said: _Said, event: ExecEvent) -> bool:
        """Says whether what a rule says of a value holds. A rule that takes too long is put aside."""
        bit, _, check = said
        try:
            return check(_NOTHING, event) if self._of_parent else check(event, None)
        except TimeoutError:
            self._sieve.put_aside(bit)
            return False


class _Field:
    """What rules say of one field of a launch, or of an origin."""

    def __init__(self, values: _Values, name: str, said: list[_Said]) -> None:
        self._values, self.said = values, said
        self._source = BY_NAME[name].source
        self._is_origin = BY_NAME[name].part is Place.ORIGIN
        self._others = ~sum(bit for bit, _, _ in said)
        self._known: dict[Any, int] = {}

    def of(self, value: Any) -> int:  # noqa: ANN401  # the field's
        known = self._known.get(value)
        if known is None:
            if len(self._known) > _MOST_REMEMBERED:
                self._known.clear()
            if self._is_origin:
                event = _NOTHING._replace(origin=UNKNOWN_ORIGIN._replace(**{self._source: value}))
            else:
                event = _NOTHING._replace(launch=UNKNOWN_LAUNCH._replace(**{self._source: value}))
            known = self._others
            for each in self.said:
                if self._values.passes(each, event):
                    known |= each[0]
            self._known[value] = known
        return known


class _Lines:
    """What rules say of command lines."""

    def __init__(self, values: _Values, said: list[_Said]) -> None:
        self._values, self.said = values, said
        self._others = ~sum(bit for bit, _, _ in said)
        self._always: list[_Said] = []
        wanted: dict[bytes, list[_Said]] = {}
        for each in said:
            texts = narrowing.needed(each[1])
            if texts is None:
                self._always.append(each)
            for text in texts or ():
                wanted.setdefault(text, []).append(each)
        self._wanted = list(wanted.values())
        self._overlap = max(map(len, wanted), default=1) - 1
        self._find: Callable[[bytes], list[tuple[int, int, int]]] | None = None
        if wanted:
            automaton = BytesAhoCorasick([*wanted])
            self._find = lambda text: automaton.find_matches_as_indexes(text, overlapping=True)

    def of(self, argv: bytes) -> int:
        found = self._others
        likely = list(self._always)
        if self._find is not None:
            text = argv.lower().replace(b"\0", b" ")
            for start in range(0, len(text), _PIECE) or (0,):
                hits = self._find(
                    text if len(text) <= _PIECE else text[start : start + _PIECE + self._overlap]
                )
                for place in {hit[0] for hit in hits}:
                    likely += self._wanted[place]
        if likely:
            event = _NOTHING._replace(argv=argv)
            for each in likely:
                if not found & each[0] and self._values.passes(each, event):
                    found |= each[0]
        return found
