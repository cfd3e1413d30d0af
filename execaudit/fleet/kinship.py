"""Who descends from whom in a central database: numbers of relatives. The caller reads the rows.

Relatives are of one stream. An exec's seq is greater than its parent's; every recursion requires this, so it
ends in damaged data too. A recursion is done by the server: a program that executes itself a million times
has as many ancestors.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from execaudit.escaping import exact
from execaudit.fleet.answer_pages import number_of, place_and_seq
from execaudit.fleet.conditions import Conditions, joined
from execaudit.fleet.days import ANY_TIME, LAST_SEQ, Days, Stretch, Times
from execaudit.fleet.dialects import FALSE, TRUE
from execaudit.fleet.relatives import pieces
from execaudit.query.lineage import Kin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from execaudit.fleet.engine import Engine, Row
    from execaudit.fleet.streams import Streams

    Key = tuple[int, int]


class Kinship:
    """Finds relatives."""

    def __init__(self, engine: Engine, streams: Streams) -> None:
        self._engine, self._streams = engine, streams
        self._days = Days(engine)

    def keys(self, numbers: Iterable[int]) -> list[Key]:
        """Returns stream and seq of execs, but for those of no stream."""
        every, found = self._streams.all, []
        for number in numbers:
            place, seq = place_and_seq(number)
            if 0 <= place < len(every):
                found.append((every[place].number, seq))
        return found

    def number(self, stream: int, seq: int) -> int:
        """Returns the number of an exec, whose stream is known."""
        return number_of(self._streams.places[stream], seq)

    def times_of(self, keys: Iterable[Key]) -> dict[Key, int]:
        """Returns the times of execs, by wall clock; of those that are there."""
        found: dict[Key, int] = {}
        for some in pieces(keys):
            conditions = Conditions(self._engine.dialect)
            said = self._among('e."stream"', 'e."seq"', some, conditions, self._days.of_keys(some))
            rows = self._select('e."stream", e."seq", e."ts"', said, conditions)
            found.update(((stream, seq), ts) for stream, seq, ts in rows)
        return found

    def lineage(self, numbers: Sequence[int], most: int | None) -> Iterator[Kin]:
        """Yields these execs and all of their ancestors, each once, by number; those that are near first."""
        order: dict[Key, None] = {}
        parents: dict[Key, int | None] = {}
        following: dict[Key, int | None] = {}
        level = [*dict.fromkeys(self.keys(numbers))]
        while level and (most is None or len(order) < most):
            order.update(dict.fromkeys(level))
            beyond = []
            for stream, seq, is_there, parent, replaced_by in self._up(level, most):
                if is_there:
                    order.setdefault((stream, seq))
                    parents[stream, seq], following[stream, seq] = parent, replaced_by
                elif (stream, seq) not in order:
                    beyond.append((stream, seq))
            level = [*dict.fromkeys(beyond)]
        there = [key for key in [*order][:most] if key in parents]
        led = {(key[0], parent) for key in there if (parent := parents[key]) is not None}
        following.update(self._following(led.difference(following)))
        found = []
        for stream, seq in there:
            parent, place = parents[stream, seq], self._streams.places[stream]
            of = None if parent is None else number_of(place, parent)
            is_next = parent is not None and following.get((stream, parent)) == seq
            found.append(Kin(number_of(place, seq), of, is_next))
        yield from sorted(found, key=lambda each: each.number)

    def _up(self, keys: Sequence[Key], most: int | None) -> list[Row]:
        """Returns these execs and their ancestors, as far up as they are of the same days.

        Of each stream, seq, whether it is there on these days, its parent, and what came next.
        """
        conditions = Conditions(self._engine.dialect)
        times = self._days.of_keys(keys)
        exec_, exit_ = (self._engine.dialect.table(*each) for each in (("exec", "e"), ("exit", "x")))
        same = f'e."stream" = h.stream AND e."seq" = h.seq AND {times.said("e", conditions)}'
        limit = "" if most is None else f" LIMIT {int(most)}"
        sql = (
            f"WITH RECURSIVE up(stream, seq) AS ({_given(keys, conditions)} UNION"  # noqa: S608  # bound
            f' SELECT e."stream", e."parent" FROM up AS h JOIN {exec_} ON {same} WHERE e."parent" < e."seq")'
            ' SELECT h.stream, h.seq, e."seq" IS NOT NULL, CASE WHEN e."parent" < e."seq" THEN e."parent" END,'
            ' coalesce(e."replaced_by", x."replaced_by")'
            f" FROM (SELECT * FROM up{limit}) AS h LEFT JOIN {exec_} ON {same}"
            f' LEFT JOIN {exit_} ON x."stream" = e."stream" AND x."seq" = e."seq" AND x."ts" = e."ts"'
            f" AND {times.said('x', conditions)}"
        )
        return self._rows(sql, conditions)

    def _following(self, keys: Iterable[Key]) -> dict[Key, int]:
        """Returns what came next in the processes of execs, if it is known."""
        found: dict[Key, int] = {}
        for some in pieces(keys):
            times = self._days.of_keys(some)
            for table in ("exec", "exit"):
                conditions = Conditions(self._engine.dialect)
                said = self._among('e."stream"', 'e."seq"', some, conditions, times)
                source = (
                    f'{self._engine.dialect.table(table, "e")} WHERE {said} AND e."replaced_by" IS NOT NULL'
                )
                sql = f'SELECT e."stream", e."seq", e."replaced_by" FROM {source}'  # noqa: S608  # bound
                for stream, seq, following in self._rows(sql, conditions):
                    found.setdefault((stream, seq), following)
        return found

    def descendants(self, numbers: Sequence[int], newest: int | None) -> array[int]:
        """Returns these execs and all of their descendants, each once, in order; the newest so many."""
        keys = self.keys(numbers)
        if not keys:
            return array("q")
        found = array("q", sorted(self._below(keys)))
        return found if newest is None else found[max(0, len(found) - newest) :]

    def under(self, roots: Sequence[int]) -> array[int]:
        """Returns the descendants of execs, each once, in order; not the execs themselves.

        An exec that descends from another of these is there.
        """
        keys = self.keys(roots)
        return array("q", sorted(set(self._below(keys, itself=False)))) if keys else array("q")

    def _below(self, keys: Sequence[Key], *, itself: bool = True) -> Iterator[int]:
        conditions = Conditions(self._engine.dialect)
        table = self._engine.dialect.table("exec", "e")
        times = self._days.of_later(keys).said("e", conditions)
        child = f'e."stream" = h.stream AND e."parent" = h.seq AND e."seq" > h.seq AND {times}'
        begin = _given(keys, conditions)
        if not itself:
            begin = f'SELECT e."stream", e."seq" FROM ({begin}) AS h(stream, seq) JOIN {table} ON {child}'  # noqa: S608  # bound
        sql = (
            f"WITH RECURSIVE down(stream, seq) AS ({begin} UNION"  # noqa: S608  # bound
            f' SELECT e."stream", e."seq" FROM down AS h JOIN {table} ON {child})'
            " SELECT stream, seq FROM down"
        )
        places = self._streams.places
        return (number_of(places[stream], seq) for stream, seq in self._rows(sql, conditions))

    def below(
        self, tops: Sequence[int], drawn: Sequence[int], until_ns: int | None, most: int
    ) -> dict[int, int]:
        """Returns descendants of `tops` that happened before a time, and of which of these; at most so many.

        Not those in `drawn`, nor what is below them alone.
        """
        keys = self.keys(tops)
        if not keys:
            return {}
        conditions = Conditions(self._engine.dialect)
        table = self._engine.dialect.table("exec", "e")
        times = self._days.of_later(keys)
        said = ['e."stream" = h.stream', 'e."seq" > h.seq', times.said("e", conditions)]
        if until_ns is not None:
            said.append(f'e."ts" < {conditions.bind(until_ns)}')
        if drawn:
            there = _given(self.keys(drawn), conditions)
            said.append(f'(e."stream", e."seq") NOT IN ({there})')
        on = " AND ".join(said)
        sql = (
            f'WITH RECURSIVE below(stream, seq, top) AS (SELECT e."stream", e."seq", h.seq'  # noqa: S608  # bound
            f' FROM ({_given(keys, conditions)}) AS h(stream, seq) JOIN {table} ON e."parent" = h.seq AND {on}'
            ' UNION ALL SELECT e."stream", e."seq", h.top'
            f' FROM below AS h JOIN {table} ON e."parent" = h.seq AND {on})'
            f" SELECT stream, seq, top FROM below LIMIT {int(most)}"
        )
        rows = self._rows(sql, conditions)
        return {self.number(stream, seq): self.number(stream, top) for stream, seq, top in rows}

    def users_of(self, numbers: Sequence[int]) -> dict[int, tuple[str | None, int | None]]:
        """Returns the name and the uid of who ran each of these execs."""
        found = {}
        for some in pieces(self.keys(numbers)):
            conditions = Conditions(self._engine.dialect)
            said = self._among('e."stream"', 'e."seq"', some, conditions, self._days.of_keys(some))
            for stream, seq, name, uid in self._select(
                'e."stream", e."seq", e."user", e."uid"', said, conditions
            ):
                found[self.number(stream, seq)] = None if name is None else exact(name), uid
        return found

    def children(self, number: int, most: int | None) -> list[int]:
        """Returns the numbers of an exec's first so many children."""
        return self._of_parent(number, number, "ASC", most)

    def count_children(self, number: int, most: int) -> int:
        """Returns how many children an exec has, or `most` if it has more."""
        for stream, seq in self.keys([number]):
            conditions = Conditions(self._engine.dialect)
            its, parent = conditions.bind(stream), conditions.bind(seq)
            times = self._days.of_later([(stream, seq)]).said("e", conditions)
            said = f'e."stream" = {its} AND e."parent" = {parent} AND e."seq" > {parent} AND {times}'
            inner = f"SELECT 1 FROM {self._engine.dialect.table('exec', 'e')} WHERE {said} LIMIT {int(most)}"  # noqa: S608  # bound
            return int(self._rows(f"SELECT count(*) FROM ({inner}) AS e", conditions)[0][0])  # noqa: S608  # ours
        return 0

    def siblings(self, number: int, most: int) -> list[int]:
        """Returns the numbers of the last so many siblings before an exec, then of the first after it."""
        for stream, seq in self.keys([number]):
            conditions = Conditions(self._engine.dialect)
            key = [(stream, seq)]
            said = self._among('e."stream"', 'e."seq"', key, conditions, self._days.of_keys(key))
            rows = self._select('e."parent"', said, conditions)
            if not rows or rows[0][0] is None:
                return []
            parent = self.number(stream, rows[0][0])
            before = self._of_parent(parent, number, "DESC", most)
            return before[::-1] + self._of_parent(parent, number, "ASC", most)
        return []

    def _of_parent(self, parent: int, other: int, order: str, most: int | None) -> list[int]:
        """Returns the numbers of children after another exec, or before it."""
        found: list[int] = []
        for stream, seq in self.keys([parent]):
            edge = place_and_seq(other)[1]
            first, last = (max(edge, seq) + 1, LAST_SEQ) if order == "ASC" else (seq + 1, edge - 1)
            for low, high in self._days.stretches(stream, first, last, backward=order == "DESC"):
                conditions = Conditions(self._engine.dialect)
                said = [
                    self._days.of([Stretch(stream, low, high)]).said("e", conditions),
                    f'e."stream" = {conditions.bind(stream)} AND e."parent" = {conditions.bind(seq)}',
                    f'e."seq" >= {conditions.bind(low)} AND e."seq" <= {conditions.bind(high)}',
                ]
                limit = "" if most is None else f" LIMIT {int(most) - len(found)}"
                rows = self._select(
                    'e."seq"', " AND ".join(said), conditions, f' ORDER BY e."seq" {order}{limit}'
                )
                found += [self.number(stream, row[0]) for row in rows]
                if most is not None and len(found) >= most:
                    break
        return found

    def _among(
        self, first: str, second: str, keys: Sequence[Key], conditions: Conditions, times: Times = ANY_TIME
    ) -> str:
        among = self._engine.dialect.keys((first, second), keys, conditions.bind)
        return joined([times.said("e", conditions), among], "AND", TRUE, FALSE)

    def _select(self, columns: str, said: str, conditions: Conditions, rest: str = "") -> list[Row]:
        table = self._engine.dialect.table("exec", "e")
        return self._rows(f"SELECT {columns} FROM {table} WHERE {said}{rest}", conditions)  # noqa: S608  # bound

    def _rows(self, sql: str, conditions: Conditions) -> list[Row]:
        return self._engine.rows(sql, conditions.parameters)


def _given(keys: Sequence[Key], conditions: Conditions) -> str:
    """Returns the SELECT of some keys."""
    streams, seqs = (list(each) for each in zip(*keys, strict=True))
    return f"SELECT * FROM unnest({conditions.bind(streams)}, {conditions.bind(seqs)})"  # noqa: S608  # bound
