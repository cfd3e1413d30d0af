"""Detection rules that were compiled, and correlations of their hits. Pure."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from execaudit.event import LEVELS, HuntRule
from execaudit.query.expression import Or

if TYPE_CHECKING:
    from collections.abc import Callable

    from execaudit.query.expression import Expression, Text

OPERATORS: dict[str, Callable[[int, float], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "eq": operator.eq,
}
"""The comparisons that become true by one more exec."""


@dataclass(frozen=True, kw_only=True)
class Named:
    """What a rule says of itself."""

    file: str
    """The path by which it was found."""
    title: str
    id: str | None = None
    """A UUID."""
    level: str | None = None
    tags: tuple[str, ...] = ()

    def said(self) -> HuntRule:
        """Returns what it says, as other rooms know it."""
        return HuntRule(self.id, self.title, self.level, self.tags, self.file)

    def reaches(self, floor: str | None) -> bool:
        """Says whether the rule is at this level or above. One without a level is below all."""
        return floor is None or (self.level is not None and LEVELS.index(self.level) >= LEVELS.index(floor))


@dataclass(frozen=True, kw_only=True)
class Rule(Named):
    """A rule that says something of execs."""

    expression: Expression = field(default=Or(()))
    name: str | None = None
    """By it, or by the id, correlations refer to the rule."""


@dataclass(frozen=True, kw_only=True)
class Correlation(Named):
    """A rule that counts the hits of others."""

    rules: tuple[str, ...]
    """Their names or ids."""
    are_shown: bool
    """Their own hits are hits as well."""
    group_by: tuple[Text, ...]
    """What the execs have in common that are counted together."""
    span_ns: int
    counted: Text | None
    """Its different values are counted; None: the execs are."""
    compare: str
    """A key of OPERATORS."""
    count: float

    def holds(self, count: int) -> bool:
        """Says whether so many are what the condition wants."""
        return OPERATORS[self.compare](count, self.count)
