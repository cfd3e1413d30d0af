"""Read rows in order from a central database: in parts that are small where there is much."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.central.tables import EXEC
from execaudit.fleet.days import ANY_TIME, Days, Stretch, Times, within
from execaudit.fleet.dialects import TRUE
from execaudit.fleet.engine import Select
from execaudit.fleet.question import AS_RECORDED

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from execaudit.fleet.conditions import Conditions
    from execaudit.fleet.engine import Engine, Row
    from execaudit.fleet.question import Key, Order, Question
    from execaudit.query.filter import Filter

PAGE_ROWS = 2000
PAGE_BYTES = 16 * 1024 * 1024
"""Of command lines; one alone may have more."""
_LINE = EXEC.names.index("argv")
# After a part without anything: an engine without an index by time looks at a whole day for each part.
_WIDER = 64


class Range(NamedTuple):
    """What is read."""

    low: Key | None = None
    """Only what comes after this key in the order; None: from the first one on."""
    high: Key | None = None
    """Only what comes before it."""
    least: Key | None = None
    """This one and what comes after it."""


_ALL = Range()


def ends_of(table: Callable[[str, str], str], text: str, times: str = TRUE) -> str:
    """Returns the join with ends that came later, as `x` of some times, if some SQL speaks of it."""
    if ' x."' not in text and '(x."' not in text:
        return ""
    # With the time, by which both tables are divided.
    same = " AND ".join(f'x."{name}" = e."{name}"' for name in ("stream", "seq", "ts"))
    return f" LEFT JOIN {table('exit', 'x')} ON {same}{'' if times == TRUE else f' AND {times}'}"


def source_of(engine: Engine, said: Sequence[str], conditions: Conditions, times: Times) -> str:
    """Returns what follows FROM, for execs on all that is said, of some times."""
    table = engine.dialect.table
    of_ends, of_execs = (times.said(alias, conditions) for alias in ("x", "e"))
    every = (of_execs, engine.dialect.sane, *said)
    where = engine.dialect.where([each for each in every if each != TRUE] or [TRUE])
    return f"{table('exec', 'e')}{ends_of(table, ' AND '.join(said), of_ends)} {where}"


def times_of(wanted: Filter) -> Times:
    """Returns the range of a filter."""
    if wanted.since_ns is None and wanted.until_ns is None:
        return ANY_TIME
    return Times((within(wanted.since_ns, wanted.until_ns),))


class Walk:
    """Reads the rows of a question."""

    def __init__(
        self,
        engine: Engine,
        asked: Question,
        condition: str,
        *,
        watch: Callable[[int, int, int], None] = lambda _low, _high, _at: None,
    ) -> None:
        """`condition` is the SQL of what is read, with the question's parameters.

        `watch` is called with how far it is: between two numbers, at a third one.
        """
        self._engine, self._asked, self._condition, self._watch = engine, asked, condition, watch
        self._days = Days(engine)

    def rows(
        self, within: Range = _ALL, *, backward: bool, columns: Sequence[str] = EXEC.names
    ) -> Iterator[list[Row]]:
        """Yields the rows in order, a page at a time; of these columns of EXEC.

        The columns have those of the order at their beginning, if they are not all.
        """
        ends = self._ends(within)
        if ends is None:
            return
        low, high = ends
        parts = _parts(low, high, self._asked.order, backward=backward)
        part = next(parts, None)
        while part is not None:
            self._watch(low, high, part[1] if backward else part[0])
            found = 0
            for page in self._part(part, within, columns, backward=backward):
                found += len(page)
                yield page
            try:
                part = parts.send(found)
            except StopIteration:
                return

    def rows_of(
        self, keys: Sequence[Key], *, backward: bool, columns: Sequence[str] = EXEC.names
    ) -> Iterator[list[Row]]:
        """Yields the rows of execs that are named by their keys, which are in order."""
        pieces = [keys[start : start + PAGE_ROWS] for start in range(0, len(keys), PAGE_ROWS)]
        low, high = (keys[0][0], keys[-1][0]) if keys else (0, 0)
        for some in reversed(pieces) if backward else pieces:
            self._watch(low, high, some[-1][0] if backward else some[0][0])
            yield from self._part((some[0][0], some[-1][0]), _ALL, columns, backward=backward, keys=some)

    def _part(
        self,
        part: tuple[int, int],
        within: Range,
        columns: Sequence[str],
        *,
        backward: bool,
        keys: Sequence[Key] | None = None,
    ) -> Iterator[list[Row]]:
        """Yields the rows of a part of the order, of these execs alone if they are given."""
        order = self._asked.order
        is_whole = columns == EXEC.names
        if order is AS_RECORDED:
            times = self._days.of([Stretch(self._asked.chosen[0].number, *part)])
        else:
            times = Times((part,))
        while True:
            conditions = self._asked.conditions.further()
            low, high = map(conditions.bind, part)
            axis = f'e."{order.columns[0]}"'
            said = [
                f"{axis} >= {low}",
                f"{axis} <= {high}",
                *self._edges(within, conditions),
                self._condition,
            ]
            if keys is not None:
                stream = self._asked.chosen[0].number
                pairs = [(key[-2] if len(key) > 1 else stream, key[-1]) for key in keys]
                said.append(self._engine.dialect.keys(('e."stream"', 'e."seq"'), pairs, conditions.bind))
            source = source_of(self._engine, said, conditions, times)
            select = Select(source, order.text(backward=backward), PAGE_ROWS)
            rows = (
                self._engine.page(select, columns, PAGE_BYTES, conditions.parameters)
                if is_whole
                else self._engine.rows(select.text(columns), conditions.parameters)
            )
            if rows:
                yield rows
            if len(rows) < PAGE_ROWS and not (
                is_whole and sum(len(row[_LINE]) for row in rows) >= PAGE_BYTES
            ):
                return
            last = order.key(rows[-1]) if is_whole else tuple(rows[-1][: len(order.columns)])
            within = within._replace(high=last) if backward else within._replace(low=last, least=None)

    def _edges(self, within: Range, conditions: Conditions) -> list[str]:
        names = ", ".join(f'e."{name}"' for name in self._asked.order.columns)
        sides = ((within.low, ">"), (within.high, "<"), (within.least, ">="))
        return [
            f"({names}) {sign} ({', '.join(map(conditions.bind, key))})"
            for key, sign in sides
            if key is not None
        ]

    def _ends(self, within: Range) -> tuple[int, int] | None:
        """Returns the least and the largest value of the order's first column that can be wanted."""
        asked = self._asked
        since_ns, until_ns = asked.wanted.since_ns, asked.wanted.until_ns
        if asked.order is AS_RECORDED:
            ends = self._days.seqs(asked.chosen[0].number, since_ns, until_ns)
        else:
            ends = self._days.times(since_ns, until_ns)
        if ends is None:
            return None
        low, high = ends
        for edge in (within.low, within.least):
            low = low if edge is None else max(low, edge[0])
        return low, high if within.high is None else min(high, within.high[0])


def _parts(low: int, high: int, order: Order, *, backward: bool) -> Generator[tuple[int, int], int, None]:
    """Yields parts of a range, in the direction of reading; is sent how many execs were found in each."""
    width, following = order.first, order.width
    while low <= high:
        if backward:
            part = max(low, high - width + 1), high
            high = part[0] - 1
        else:
            part = low, min(high, low + width - 1)
            low = part[1] + 1
        found = yield part
        if not found:
            width = max(width * _WIDER, following)
        elif found < PAGE_ROWS // 4:
            width = max(width * 4, following)
        elif found > 4 * PAGE_ROWS:
            width = max(width // 4, 1)
        else:
            width = max(width, following)
        following = 0
