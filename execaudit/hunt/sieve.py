"""Find which rules may hit an exec, by values that many execs share.

The answer is a number with a bit for each alternative of a rule: see `narrowing`.

All rules are run at once: what a command line must have for a rule is looked for with one automaton. Few
execs are left, and of those each rule is checked as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ahocorasick_rs import BytesAhoCorasick

from execaudit.enums import Kind
from execaudit.event import ExecEvent, Nanoseconds
from execaudit.fields import BY_NAME, UNKNOWN_LAUNCH, UNKNOWN_ORIGIN, Form
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
_MOST_BYTES = 32 * 1024 * 1024
# A match takes a hundred bytes, and a megabyte of arguments may have half a million of them.
_PIECE = 64 * 1024


class Sieve:
    """Knows some rules."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        """Raises FilterError for a regular expression that is none."""
        self.rules = rules
        self.checks = [matcher.compiled(rule.expression) for rule in rules]
        split = [narrowing.alternatives(rule.expression) for rule in rules]
        self.texts = narrowing.likely(rule.expression for rule in rules)
        """What a history may look for; see narrowing.likely()."""
        self._rule_of = [index for index, each in enumerate(split) for _ in each]
        """By bit, the index of the rule."""
        self.left = (1 << len(self._rule_of)) - 1
        """The bits of all rules that are not put aside."""
        self.aside: list[int] = []
        """The indexes of those that are."""
        expressions = [expression for each in split for expression in each]
        # Each rule is checked as a whole.
        of_parent = [any(of.of_parent for of in narrowing.sources(rule.expression)) for rule in rules]
        self.of_parents = _bits(of_parent[index] for index in self._rule_of)
        """The bits of rules that say something of parents."""
        self.own, self.parents = (
            _Values(self, expressions, of_parent=of_parent) for of_parent in (False, True)
        )

    def put_aside(self, index: int) -> None:
        """Leaves out a rule that takes too long."""
        if index not in self.aside:
            self.aside.append(index)
            self.left &= ~_bits(each == index for each in self._rule_of)

    def put_bits_aside(self, bits: int) -> None:
        """Leaves out the rules with these bits."""
        for index in self.members(bits):
            self.put_aside(index)

    def members(self, bits: int) -> Iterator[int]:
        """Yields the indexes of the rules of which a bit is set, in order."""
        bits &= self.left
        last = -1
        while bits:
            low = bits & -bits
            bits ^= low
            index = self._rule_of[low.bit_length() - 1]
            if index != last:
                yield index
            last = index


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
        self.slow = self._line.slow
        """The rules that say something of a command line that takes long to find out."""
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

    def of_line(self, argv: bytes, bits: int) -> int:
        """Returns which of some rules may hit an exec with these arguments, of which nothing is missing.

        Those in `slow` may hit any, unless it is of a parent.
        """
        found = self._line.of(argv, bits)
        if self._of_parent and (slow := self.slow & bits):
            return found & ~slow | self._line.of_slow(argv, slow)
        return found

    def of_line_slowly(self, argv: bytes, bits: int) -> int:
        """Returns which of these rules, all in `slow`, may hit an exec with these arguments."""
        return self._line.of_slow(argv, bits)

    def of_none(self) -> int:
        """Returns which rules may hit an exec that has no parent."""
        left = -1
        for said in (self._line.said, *(field.said for field in self._fields.values())):
            for bit, _, check in said:
                if not check(_NOTHING, None):
                    left &= ~bit
        return left

    def those_of(self, said: Iterable[_Said], event: ExecEvent) -> int:
        """Returns the bits of those that hold of a value. A rule that takes too long is put aside."""
        found = 0
        for bit, _, check in said:
            try:
                if not found & bit and (check(_NOTHING, event) if self._of_parent else check(event, None)):
                    found |= bit
            except TimeoutError:
                self._sieve.put_bits_aside(bit)
        return found


class _Texts:
    """Finds which of the expressions about a text may hold, by what must be in it."""

    def __init__(self, said: Sequence[_Said]) -> None:
        self.others: list[_Said] = []
        """Those of which nothing is known."""
        wanted: dict[bytes, list[_Said]] = {}
        for each in said:
            texts = narrowing.needed(each[1])
            if texts is None:
                self.others.append(each)
            for text in texts or ():
                wanted.setdefault(text, []).append(each)
        self._wanted = list(wanted.values())
        self.is_of_some = bool(wanted)
        """Something is known of some."""
        self._overlap = max(map(len, wanted), default=1) - 1
        self._find: Callable[[bytes], list[tuple[int, int, int]]] | None = None
        if wanted:
            automaton = BytesAhoCorasick([*wanted])
            self._find = lambda text: automaton.find_matches_as_indexes(text, overlapping=True)

    def likely(self, text: bytes) -> list[_Said]:
        """Returns those that may hold, without the others. The text is in lower case."""
        if self._find is None:
            return []
        if len(text) <= _PIECE:
            places = {hit[0] for hit in self._find(text)}
        else:
            places = set()
            for start in range(0, len(text), _PIECE):
                places.update(hit[0] for hit in self._find(text[start : start + _PIECE + self._overlap]))
        return [each for place in places for each in self._wanted[place]]


class _Field:
    """What rules say of one field of a launch, or of an origin."""

    def __init__(self, values: _Values, name: str, said: list[_Said]) -> None:
        self._values, self.said = values, said
        self._source = BY_NAME[name].source
        self._is_origin = BY_NAME[name].part is Place.ORIGIN
        self._unsaid = ~sum(bit for bit, _, _ in said)
        # Of a container the value is the cgroup.
        self._texts = _Texts(said if BY_NAME[name].form is not Form.CONTAINER else ())
        self._known: dict[Any, int] = {}
        self._bytes = 0

    def of(self, value: Any) -> int:  # noqa: ANN401  # the field's
        known = self._known.get(value)
        if known is None:
            if len(self._known) > _MOST_REMEMBERED or self._bytes > _MOST_BYTES:
                self._known.clear()
                self._bytes = 0
            self._bytes += len(value) if isinstance(value, bytes) else 0
            known = self._known[value] = self._found(value)
        return known

    def _found(self, value: Any) -> int:  # noqa: ANN401  # the field's
        if self._is_origin:
            event = _NOTHING._replace(origin=UNKNOWN_ORIGIN._replace(**{self._source: value}))
        else:
            event = _NOTHING._replace(launch=UNKNOWN_LAUNCH._replace(**{self._source: value}))
        said = self.said
        if isinstance(value, bytes) and self._texts.is_of_some:
            said = [*self._texts.likely(value.lower()), *self._texts.others]
        return self._values.those_of(said, event) | self._unsaid


class _Lines:
    """What rules say of command lines."""

    def __init__(self, values: _Values, said: list[_Said]) -> None:
        self._values, self.said = values, said
        self._texts = _Texts(said)
        self._unsaid = ~sum(bit for bit, _, _ in said)
        self.slow = sum(bit for bit, _, _ in self._texts.others)
        self._quick = ~(self._unsaid | self.slow)

    def of(self, argv: bytes, bits: int) -> int:
        """Returns which of some may hold; of those in `slow` nothing is said."""
        found = (self._unsaid | self.slow) & bits
        asked = self._quick & bits
        if asked:
            likely = [
                each for each in self._texts.likely(argv.lower().replace(b"\0", b" ")) if each[0] & asked
            ]
            if likely:
                found |= self._values.those_of(likely, _NOTHING._replace(argv=argv))
        return found

    def of_slow(self, argv: bytes, bits: int) -> int:
        """Returns which of those in `slow` hold, of these bits."""
        said = [each for each in self._texts.others if each[0] & bits]
        return self._values.those_of(said, _NOTHING._replace(argv=argv))
