"""What detection rules hit while it was recorded."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

from execaudit.database import files
from execaudit.event import LEVELS, HuntRule
from execaudit.query import find
from execaudit.query.statements import hits_of_statement, hits_statement

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from execaudit.errors import DamagedStoreError
    from execaudit.query.filter import Filter


class OfRule(NamedTuple):
    """The hits of one rule."""

    rule: HuntRule
    hits: int
    """With those that were left out."""
    left_out: int
    """So many of them were too many, and are only counted."""


def of_execs(connection: sqlite3.Connection, numbers: Iterable[int]) -> dict[int, list[OfRule]]:
    """Returns what hit each of some execs, by their numbers: of one that nothing hit, nothing.

    Raises DamagedStoreError for a hit that makes no sense.
    """
    found: dict[int, list[OfRule]] = defaultdict(list)
    rows = connection.execute(*hits_of_statement(numbers)).fetchall()
    rules = _rules(connection, {rule for _, rule, _ in rows})
    for number, rule, left_out in rows:
        found[number].append(OfRule(rules[rule], 1 + left_out, left_out))
    return {number: sorted(hits, key=order) for number, hits in found.items()}


def count(connection: sqlite3.Connection, wanted: Filter) -> list[OfRule]:
    """Returns the rules that hit what is wanted: those of the highest level first, then by their hits.

    Raises FilterError; DamagedStoreError for a hit that makes no sense.
    """
    find.prepare(connection, wanted)
    hits: Counter[int] = Counter()
    left_out: Counter[int] = Counter()
    for part in find.parts(connection, wanted):
        for rule, some, others in connection.execute(*hits_statement(wanted, part)):
            hits[rule] += some + others
            left_out[rule] += others
    rules = _rules(connection, hits)
    return by_rule(OfRule(rules[number], some, left_out[number]) for number, some in hits.items())


def by_rule(counts: Iterable[OfRule]) -> list[OfRule]:
    """Returns the counts of each rule in order: a rule that was stored twice is one."""
    every: dict[HuntRule, OfRule] = {}
    for rule, some, left_out in counts:
        before = every.get(rule, OfRule(rule, 0, 0))
        every[rule] = OfRule(rule, before.hits + some, before.left_out + left_out)
    return sorted(every.values(), key=order)


def order(each: OfRule) -> tuple[int, int, str, str]:
    """Returns what puts rules in order: the highest level first, then the most hits."""
    level = -1 if each.rule.level is None else LEVELS.index(each.rule.level)
    return -level, -each.hits, each.rule.title, each.rule.file


def _rules(connection: sqlite3.Connection, numbers: Iterable[int]) -> dict[int, HuntRule]:
    wanted = set(numbers)
    rules = {}
    if wanted:
        rows = connection.execute("SELECT id, uuid, title, level, tags, file FROM rule").fetchall()
        rules = {row[0]: rule_of(row) for row in rows if row[0] in wanted}
    for number in wanted - rules.keys():
        raise nonsense(number)
    return rules


def rule_of(row: tuple[int, str | None, str, str | None, str, str]) -> HuntRule:
    """Returns the rule of a row of `rule`. Raises DamagedStoreError."""
    number, uuid, title, level, tags, file = row
    try:
        words = json.loads(tags)
    except (ValueError, RecursionError) as exc:
        raise nonsense(number) from exc
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise nonsense(number)
    if level is not None and level not in LEVELS:
        raise nonsense(number)
    return HuntRule(uuid, title, level, tuple(words), file)


def nonsense(number: int) -> DamagedStoreError:
    """Returns the error for a rule that makes no sense, or is missing."""
    return files.damaged(f"the history is damaged: rule number {number} makes no sense")
