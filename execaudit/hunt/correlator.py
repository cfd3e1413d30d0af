"""Correlate hits: so many in a time, or so many values of a field, for each group of execs. Pure.

A hit is given at the exec with which the condition becomes true, and again only after it was false.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from execaudit.query import matcher

if TYPE_CHECKING:
    from execaudit.event import ExecEvent, Nanoseconds
    from execaudit.hunt.rule import Correlation

# Groups whose time is over are forgotten when there are more.
_MOST_GROUPS = 10_000


class _Seen(NamedTuple):
    """An exec that one of the rules hit."""

    time_ns: Nanoseconds
    number: int
    value: bytes | None


@dataclass
class _Group:
    """What was seen of one group in the time that counts."""

    seen: deque[_Seen] = field(default_factory=deque)
    values: Counter[bytes | None] = field(default_factory=Counter)
    is_true: bool = False

    def add(self, seen: _Seen) -> None:
        self.seen.append(seen)
        self.values[seen.value] += 1

    def forget_until(self, time_ns: int) -> None:
        while self.seen and self.seen[0].time_ns <= time_ns:
            value = self.seen.popleft().value
            self.values[value] -= 1
            if not self.values[value]:
                del self.values[value]


class Correlator:
    """Counts the hits of the rules that a correlation names."""

    def __init__(self, correlation: Correlation) -> None:
        self.rule = correlation
        self._keys = [matcher.text_of(text) for text in correlation.group_by]
        self._value = None if correlation.counted is None else matcher.text_of(correlation.counted)
        self._groups: dict[tuple[bytes | None, ...], _Group] = {}

    def is_due(self, number: int, event: ExecEvent) -> bool:
        """Takes an exec that a rule hit, in order. Says whether that makes the condition true."""
        value = None if self._value is None else self._value(event, None)
        if self._value is not None and value is None:
            return False
        oldest = event.time_ns - self.rule.span_ns
        if len(self._groups) > _MOST_GROUPS:
            kept = {key: each for key, each in self._groups.items() if each.seen[-1].time_ns > oldest}
            self._groups = kept
        group = self._groups.setdefault(tuple(get(event, None) for get in self._keys), _Group())
        if group.seen and group.seen[-1].number == number:
            return False  # another of the rules hit it, and it was counted
        group.forget_until(oldest)
        # It may have become false in the time without execs.
        was = group.is_true and self.rule.holds(self._count(group))
        group.add(_Seen(event.time_ns, number, value))
        group.is_true = self.rule.holds(self._count(group))
        return group.is_true and not was

    def _count(self, group: _Group) -> int:
        return len(group.seen) if self._value is None else len(group.values)
