"""Who descends from whom: row numbers of relatives, by index alone. The caller reads the rows.

An exec's number is greater than its parent's. Every recursion requires this, so it ends in a damaged history
too.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, NamedTuple

from execaudit.database.id_list import json_ids
from execaudit.escaping import exact

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

# The numbers travel as JSON, because SQLite takes no more than 32 766 parameters.
_GIVEN = "SELECT value FROM json_each(:numbers)"
# UNION and not UNION ALL: ancestors that are shared are walked once.
_LINEAGE = (
    f"WITH RECURSIVE up(id) AS ({_GIVEN} UNION SELECT e.parent_id FROM up AS h"  # noqa: S608  # no value is in it
    " CROSS JOIN exec AS e ON e.id = h.id WHERE e.parent_id < e.id LIMIT :most)"
    " SELECT e.id, CASE WHEN e.parent_id < e.id THEN e.parent_id END,"
    " coalesce(p.replaced_by, x.replaced_by) IS e.id"
    " FROM up AS h CROSS JOIN exec AS e ON e.id = h.id LEFT JOIN exec AS p ON p.id = e.parent_id"
    " LEFT JOIN exit AS x ON x.exec_id = e.parent_id"
    " ORDER BY e.id"
)
_DESCENDANTS = (
    f"WITH RECURSIVE down(id) AS ({_GIVEN} UNION SELECT e.id FROM down AS h"  # noqa: S608  # as above
    " CROSS JOIN exec AS e ON e.parent_id = h.id WHERE e.id > h.id)"
    " SELECT id FROM (SELECT id FROM down ORDER BY id DESC LIMIT :newest) ORDER BY id"
)
# What is below execs, and below which of them; not what stands elsewhere, nor what is below that.
_BELOW = (
    f"WITH RECURSIVE below(id, top) AS (SELECT e.id, t.value FROM ({_GIVEN}) AS t"  # noqa: S608  # as above
    " CROSS JOIN exec AS e ON e.parent_id = t.value"
    " WHERE e.id > t.value AND e.ts < :until_ns AND e.id NOT IN (SELECT value FROM json_each(:drawn))"
    " UNION ALL SELECT e.id, h.top FROM below AS h CROSS JOIN exec AS e ON e.parent_id = h.id"
    " WHERE e.id > h.id AND e.ts < :until_ns AND e.id NOT IN (SELECT value FROM json_each(:drawn)) LIMIT :most)"
    " SELECT id, top FROM below"
)
_USERS = (
    f"SELECT e.id, u.v, e.uid FROM ({_GIVEN}) AS n CROSS JOIN exec AS e ON e.id = n.value"  # noqa: S608  # as above
    " LEFT JOIN launch AS l ON l.id = e.launch_id LEFT JOIN user AS u ON u.id = l.user_id"
)
_CHILDREN = "FROM exec WHERE parent_id = :number AND id > :number"
_SIBLINGS = (
    "SELECT id FROM exec WHERE parent_id = (SELECT parent_id FROM exec WHERE id = :number)"
    " AND id {} :number ORDER BY id {} LIMIT :most"
)
_LATEST = 2**63 - 1
_ALL = -1  # SQLite's word for no limit


class Kin(NamedTuple):
    """An exec's place in its family."""

    number: int
    parent: int | None
    """Number of the exec that led to it; its row may be missing."""
    replaces: bool
    """The parent ran in this very process, and ended with this exec."""


def lineage(
    connection: sqlite3.Connection, numbers: Sequence[int], *, most: int | None = None
) -> Iterator[Kin]:
    """Yields the execs of these numbers and all of their ancestors, each once, by number.

    Only `most`, if that is given: ancestors that are near first. SQLite holds about 50 bytes for each of
    them meanwhile.
    """
    values = {"numbers": json_ids(numbers), "most": _ALL if most is None else most}
    for number, parent, replaces in connection.execute(_LINEAGE, values):
        yield Kin(number, parent, bool(replaces))


def descendants(
    connection: sqlite3.Connection, numbers: Sequence[int], *, newest: int | None = None
) -> array[int]:
    """Returns the numbers of these execs and all of their descendants, each once, in order.

    Only the `newest` so many, if that is given.
    """
    values = {"numbers": json_ids(numbers), "newest": _ALL if newest is None else newest}
    return array("q", (row[0] for row in connection.execute(_DESCENDANTS, values)))


def below(
    connection: sqlite3.Connection,
    tops: Sequence[int],
    *,
    drawn: Sequence[int],
    until_ns: int | None,
    most: int,
) -> dict[int, int]:
    """Returns descendants of `tops` that happened before a time, and of which of these; at most so many.

    Not those in `drawn`, nor what is below them alone.
    """
    values = {
        "numbers": json_ids(tops),
        "drawn": json_ids(drawn),
        "until_ns": _LATEST if until_ns is None else until_ns,
        "most": most,
    }
    return dict(connection.execute(_BELOW, values))


def users_of(
    connection: sqlite3.Connection, numbers: Sequence[int]
) -> dict[int, tuple[str | None, int | None]]:
    """Returns the name and the uid of who ran each of these execs."""
    found = connection.execute(_USERS, {"numbers": json_ids(numbers)})
    return {number: (None if name is None else exact(name), uid) for number, name, uid in found}


def children(connection: sqlite3.Connection, number: int, *, most: int | None) -> list[int]:
    """Returns the numbers of an exec's first `most` children; None: of all of them."""
    values = {"number": number, "most": _ALL if most is None else most}
    return [row[0] for row in connection.execute(f"SELECT id {_CHILDREN} ORDER BY id LIMIT :most", values)]


def count_children(connection: sqlite3.Connection, number: int, *, most: int) -> int:
    """Returns how many children an exec has, or `most` if it has more: a million take 70 ms."""
    inner = f"SELECT 1 {_CHILDREN} LIMIT :most"
    values = {"number": number, "most": most}
    return int(connection.execute(f"SELECT count(*) FROM ({inner})", values).fetchone()[0])  # noqa: S608  # ours


def siblings(connection: sqlite3.Connection, number: int, *, most: int) -> list[int]:
    """Returns the numbers of the last `most` siblings before an exec, then of the first after it."""
    values = {"number": number, "most": most}
    before, after = (
        [row[0] for row in connection.execute(_SIBLINGS.format(side, order), values)]
        for side, order in (("<", "DESC"), (">", "ASC"))
    )
    return before[::-1] + after
