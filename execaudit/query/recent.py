"""Count a few new execs: by second, command and user."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from execaudit.database.enum_codes import KINDS
from execaudit.enums import Kind
from execaudit.escaping import exact
from execaudit.event import Nanoseconds
from execaudit.query.statements import Times, launches_statement, tally_statement, values_statement

if TYPE_CHECKING:
    import sqlite3

    from execaudit.query.filter import Filter
    from execaudit.query.statements import Span

_SECOND = 1_000_000_000
_SNAPSHOT = KINDS.index(Kind.SNAPSHOT)


class Recent(NamedTuple):
    """The counts, without programs that ran when recording began."""

    seconds: Counter[int]
    """Since 1970."""
    commands: Counter[bytes | None]
    users: Counter[str]
    """By name, or uid where there is no name; `-` where neither is known."""


def recent(connection: sqlite3.Connection, wanted: Filter, part: Span, *, since: int, until: int) -> Recent:
    """Counts what is wanted of a part of the history, between two seconds since 1970.

    The connection is prepared for the filter, see find.prepare(), and one transaction is open.
    """
    found = Recent(Counter(), Counter(), Counter())
    start, end = Nanoseconds(since * _SECOND), Nanoseconds(until * _SECOND)
    wanted = replace(
        wanted,
        since_ns=start if wanted.since_ns is None else max(start, wanted.since_ns),
        until_ns=end if wanted.until_ns is None else min(end, wanted.until_ns),
    )
    pieces = until - since
    launches, moments = connection.execute(
        *tally_statement(wanted, part, Times(start, Nanoseconds(_SECOND), pieces))
    ).fetchone()
    if launches is None:
        return found
    counts: Counter[int] = Counter()
    # Both texts are in the same order.
    for launch, moment in zip(launches.split(","), moments.split(","), strict=True):
        kind, piece = divmod(int(moment), pieces)
        if kind != _SNAPSHOT:
            found.seconds[since + piece] += 1
            counts[int(launch)] += 1
    known = connection.execute(*launches_statement(counts)).fetchall()
    comms = dict(connection.execute(*values_statement("comm", {row[2] for row in known} - {None})))
    names = dict(connection.execute(*values_statement("user", {row[4] for row in known} - {None})))
    for number, _, comm, _, user, uid, _ in known:
        count, name = counts.pop(number), names.get(user)
        found.commands[comms.get(comm)] += count
        found.users[exact(name) if name is not None else "-" if uid is None else str(uid)] += count
    if lost := counts.total():
        # Their launches are not in the history.
        found.commands[None] += lost
        found.users["-"] += lost
    return found
