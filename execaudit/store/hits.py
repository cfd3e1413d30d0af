"""Write what detection rules hit, and up to which exec they were run: both at once, so no hit comes twice.

The caller owns the transaction.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import sqlalchemy as sa

    from execaudit.event import Hit, HuntRule

_BEGIN = (
    "INSERT OR IGNORE INTO meta (key, value)"
    " SELECT 'hunted', CAST(CAST(value AS INTEGER) - 1 AS BLOB) FROM meta WHERE key = 'next_id'"
)
_HUNTED = "UPDATE meta SET value = ? WHERE key = 'hunted' AND CAST(value AS INTEGER) < ?"
_FIND_RULE = "SELECT id FROM rule WHERE title = ? AND file = ? AND tags = ? AND uuid IS ? AND level IS ?"
_INSERT_RULE = "INSERT INTO rule (title, file, tags, uuid, level) VALUES (?, ?, ?, ?, ?)"
# The exec may have been pruned since the rule was run.
_INSERT_HIT = "INSERT OR IGNORE INTO hit (exec_id, rule_id, left_out) SELECT id, ?, ? FROM exec WHERE id = ?"


def begin(connection: sa.Connection) -> None:
    """Notes that rules are run from the next exec on, unless they were run before: then that goes on."""
    connection.exec_driver_sql(_BEGIN)


def insert(connection: sa.Connection, hits: Iterable[Hit], hunted: int, known: dict[HuntRule, int]) -> None:
    """Writes hits, and that all execs up to `hunted` were looked at. Adds to the rows of rules in `known`."""
    for hit in hits:
        number = known.get(hit.rule)
        if number is None:
            number = known[hit.rule] = _rule(connection, hit.rule)
        connection.exec_driver_sql(_INSERT_HIT, (number, hit.left_out, hit.number))
    connection.exec_driver_sql(_HUNTED, (b"%d" % hunted, hunted))


def _rule(connection: sa.Connection, rule: HuntRule) -> int:
    values = (rule.title, rule.file, json.dumps(rule.tags), rule.id, rule.level)
    found = connection.exec_driver_sql(_FIND_RULE, values).scalar()
    if found is None:
        found = connection.exec_driver_sql(_INSERT_RULE, values).lastrowid
    return int(found)
