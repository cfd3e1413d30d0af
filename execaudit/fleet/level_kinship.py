"""Who descends from whom, where the server knows no recursion: a statement for each generation.

So a program that executes itself a million times would take a million statements. Ancestors are read in
stretches instead: who led to an exec is mostly just before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.fleet.answer_pages import number_of
from execaudit.fleet.conditions import Conditions
from execaudit.fleet.kinship import Kinship
from execaudit.fleet.relatives import pieces
from execaudit.query.lineage import Kin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from execaudit.fleet.engine import Row
    from execaudit.fleet.kinship import Key

# So many of the execs before one are read with it, once its ancestors have become many.
_STRETCH = 1000
_MANY = 20


class LevelKinship(Kinship):
    """Finds relatives, generation by generation."""

    def lineage(self, numbers: Sequence[int], most: int | None) -> Iterator[Kin]:
        """Yields these execs and all of their ancestors, each once, by number; those that are near first."""
        parents: dict[Key, int | None] = {}
        order: dict[Key, None] = {}
        level = [*dict.fromkeys(self.keys(numbers))]
        generation = 0
        while level and (most is None or len(order) < most):
            order.update(dict.fromkeys(level))
            self._learn([key for key in level if key not in parents], parents, is_deep=generation > _MANY)
            above = [
                (key[0], parent)
                for key in level
                if (parent := parents.get(key)) is not None and parent < key[1]
            ]
            level = [key for key in dict.fromkeys(above) if key not in order]
            generation += 1
        chosen = [*order][:most]
        there = [key for key in chosen if key in parents]
        led = {(key[0], parent) for key in there if (parent := parents[key]) is not None}
        following = self._following(led)
        found = []
        for stream, seq in there:
            parent, place = parents[stream, seq], self._streams.places[stream]
            is_next = parent is not None and following.get((stream, parent)) == seq
            of = number_of(place, parent) if parent is not None and parent < seq else None
            found.append(Kin(number_of(place, seq), of, is_next))
        yield from sorted(found, key=lambda each: each.number)

    def _learn(self, keys: Sequence[Key], parents: dict[Key, int | None], *, is_deep: bool) -> None:
        """Learns the parents of execs that are there; with `is_deep`, of those just before them too."""
        for some in pieces(keys):
            conditions = Conditions(self._engine.dialect)
            said = self._among('e."stream"', 'e."seq"', some, conditions)
            self._note(self._select(_PARENTS, said, conditions), parents)
        if is_deep:
            for stream, seq in keys:
                conditions = Conditions(self._engine.dialect)
                first, last = conditions.bind(seq - _STRETCH), conditions.bind(seq)
                its = conditions.bind(stream)
                said = f'e."stream" = {its} AND e."seq" >= {first} AND e."seq" < {last}'
                self._note(self._select(_PARENTS, said, conditions), parents)

    def _note(self, rows: Iterable[Row], parents: dict[Key, int | None]) -> None:
        parents.update(((stream, seq), parent) for stream, seq, parent in rows)

    def _below(self, keys: Sequence[Key], *, itself: bool = True) -> Iterator[int]:
        found: dict[Key, None] = dict.fromkeys(keys) if itself else {}
        level: Iterable[Key] = keys
        while level:
            children = [(stream, seq) for stream, seq, parent in self._children_of(level) if seq > parent]
            level = [key for key in dict.fromkeys(children) if key not in found]
            found.update(dict.fromkeys(level))
        return (self.number(*key) for key in found)

    def _children_of(self, keys: Iterable[Key], more: str = "") -> Iterator[Row]:
        for some in pieces(keys):
            conditions = Conditions(self._engine.dialect)
            said = self._among('e."stream"', 'e."parent"', some, conditions)
            yield from self._select(_PARENTS, said + more, conditions, ' ORDER BY e."stream", e."seq"')

    def below(
        self, tops: Sequence[int], drawn: Sequence[int], until_ns: int | None, most: int
    ) -> dict[int, int]:
        """Returns descendants of `tops` before a time, and of which of these; at most so many.

        Not those in `drawn`, nor what is below them alone.
        """
        left_out = frozenset(self.keys(drawn))
        more = "" if until_ns is None else f' AND e."ts" < {int(until_ns)}'
        tops_of: dict[Key, Key] = {key: key for key in self.keys(tops)}
        level: Iterable[Key] = [*tops_of]
        found: dict[int, int] = {}
        while level:
            below: dict[Key, Key] = {}
            for stream, seq, parent in self._children_of(level, more):
                if seq > parent and (stream, seq) not in left_out:
                    below[stream, seq] = tops_of[stream, parent]
            for key, top in below.items():
                if len(found) >= most:
                    return found
                found[self.number(*key)] = self.number(*top)
            tops_of, level = below, [*below]
        return found


_PARENTS = 'e."stream", e."seq", e."parent"'
