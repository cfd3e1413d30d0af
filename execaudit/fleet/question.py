"""A filter as a central database is asked it: in which streams, in which order, and on what condition."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.fleet.answer_pages import SEQ, STREAM, TS
from execaudit.fleet.conditions import Conditions, both, exact, joined
from execaudit.fleet.dialects import FALSE, TRUE
from execaudit.query.expression import LINE, Agrees, And, Passes, Under, conjuncts, every

if TYPE_CHECKING:
    from collections.abc import Sequence

    from execaudit.fleet.conditions import Bounds
    from execaudit.fleet.dialects import Dialect
    from execaudit.fleet.engine import Row
    from execaudit.fleet.streams import Stream, Streams
    from execaudit.query.expression import Expression
    from execaudit.query.filter import Filter
    from execaudit.query.history import Likely

    Key = tuple[int, ...]
    """What puts an exec in order, and tells it from all others."""

_NEAR, _NEXT = 2_000, 20_000
_MINUTE = 60_000_000_000


class Order(NamedTuple):
    """The order of an answer."""

    columns: tuple[str, ...]
    """The columns of exec that put it in order, and tell an exec from all others."""
    places: tuple[int, ...]
    """Their places in a row."""
    first: int
    """How much of the first one is looked at first: so little that it is of few days."""
    width: int
    """How much then."""

    def key(self, row: Row) -> Key:
        """Returns what puts a row of EXEC in order."""
        return tuple(row[place] for place in self.places)

    def text(self, *, backward: bool) -> str:
        """Returns what follows ORDER BY."""
        return ", ".join(f'e."{name}"{" DESC" if backward else ""}' for name in self.columns)


AS_RECORDED = Order(("seq",), (SEQ,), _NEAR, _NEXT)
"""The order of one history."""
BY_TIME = Order(("ts", "stream", "seq"), (TS, STREAM, SEQ), _MINUTE, _MINUTE)
"""The order of several, by the clocks of their hosts."""


class Question(NamedTuple):
    """What is asked of the engine, and what is left to be checked."""

    wanted: Filter
    chosen: Sequence[Stream]
    """The streams that can have what is wanted."""
    order: Order
    conditions: Conditions
    """The parameters of the bounds."""
    bounds: Bounds
    """For all but the `under` of the filter."""
    left: And
    """What the engine cannot decide, or not of all execs."""

    @property
    def is_exact(self) -> bool:
        """Says whether the engine decides alone."""
        return not self.left.parts

    @property
    def is_about_parents(self) -> bool:
        """Says whether what is left speaks of the execs that led to others."""
        return any(
            (isinstance(each, Passes) and each.text.of_parent)
            or (isinstance(each, Agrees) and (each.text.of_parent or each.other.of_parent))
            for each in every(self.left)
        )

    def with_some(self, likely: Likely) -> str:
        """Returns the upper bound of what has one of these texts, or of what may have had it."""
        dialect, found = self.conditions.dialect, []
        if sum(map(len, likely.values())) > dialect.most_texts:
            return self.bounds.upper
        for name, texts in sorted(likely.items()):
            value = 'e."argv"' if name == LINE else f'e."{name}"'
            found.append(dialect.has_some(value, sorted(texts), self.conditions.bind))
            if name == LINE:
                found.append('e."truncated" IS NOT NULL')
        return joined([self.bounds.upper, joined(found, "OR", FALSE, TRUE)], "AND", TRUE, FALSE)


def question(wanted: Filter, streams: Streams, chosen: Sequence[Stream], dialect: Dialect) -> Question:
    """Returns what is asked for a filter, of the chosen streams."""
    conditions = Conditions(dialect)
    bounds = [exact(each) for each in streams.visible(conditions, chosen)]
    left: list[Expression] = []
    begun_with = Under(wanted.under)
    for part in conjuncts(wanted.expression()):
        if part == begun_with:
            continue
        its = conditions.of(part)
        bounds.append(its)
        if not its.is_exact:
            left.append(part)
    order = AS_RECORDED if len(chosen) == 1 else BY_TIME
    return Question(wanted, chosen, order, conditions, both(bounds), And(tuple(left)))
