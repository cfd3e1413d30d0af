"""A detection rule that was compiled. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from execaudit.query.expression import Expression

LEVELS = ("informational", "low", "medium", "high", "critical")
"""The least first."""


@dataclass(frozen=True)
class Rule:
    """What a rule says of itself, and of execs."""

    file: str
    """The path by which it was found."""
    title: str
    expression: Expression
    id: str | None = None
    """A UUID."""
    level: str | None = None
    tags: tuple[str, ...] = ()

    def reaches(self, floor: str | None) -> bool:
        """Says whether the rule is at this level or above. One without a level is below all."""
        return floor is None or (self.level is not None and LEVELS.index(self.level) >= LEVELS.index(floor))
