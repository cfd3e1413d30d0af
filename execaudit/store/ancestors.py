"""Choose which old execs a pruning leaves: what runs, and ancestors; no user can fill a history with them.

These stay, however old they are:

- a program of the running boot that has not ended, as far as the history knows, and whose process is there;
- an exec that has descendants which stay, so that lineage still leads to its roots. Of a long line of
  ancestors only the first and the last stay. A process can have any number of ancestors: it can execute one
  program after another, or fork, end, and go on in its child. What stays of the line is joined: the parent of
  an exec is then the nearest ancestor that is left.

Of what stays, one user has no more than a share of the history, and all users but root together have no more
than a larger share. The newest of it stay. A plan by age leaves what is younger, or of unknown age, wherever
it stands.

Uids without a name are those of a user namespace, which can have thousands. They have one share for each
login, apart from that of the user who logged in: a process without a login can choose one.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from execaudit.database.enum_codes import KINDS
from execaudit.database.field_columns import column_of, dictionary_of
from execaudit.enums import Kind
from execaudit.fields import LAUNCH_FIELDS, ORIGIN_FIELDS
from execaudit.store import lean
from execaudit.store.prune_plan import Ages

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from execaudit.fields import Field
    from execaudit.store.prune_plan import Now, Plan

# So many ancestors stay next to the root of a line, and so many next to what they stay for.
_FIRST, _LAST = 16, 24
# Ancestors are counted so far: of a long line once for so many of its execs.
_COUNTED = 200
# Of the history's limit, for what stays of one user, and of all users but root.
_USERS_PART, _ALL_PART = 10, 4
_ROW_BYTES = 250  # with its indexes, its end, and what a shortened line takes beside its bytes
_ROOT = 0
_FAILED = KINDS.index(Kind.FAILED)
_MAY_RUN = (  # of our own numbers alone
    f"kind != {_FAILED} AND clock_id IN (SELECT clock.id FROM clock JOIN run ON run.id = clock.run_id"  # noqa: S608
    " WHERE run.boot_id = :boot) AND duration_ns IS NULL"
    " AND NOT EXISTS (SELECT 1 FROM exit WHERE exec_id = exec.id)"
)
_ROWS = (
    f"SELECT id, parent_id, clock_id, ts, pid, uid, {_MAY_RUN}, coalesce(replaced_by,"  # noqa: S608  # ours
    " (SELECT replaced_by FROM exit WHERE exec_id = exec.id))"
    " FROM exec WHERE id BETWEEN :low AND :high ORDER BY id DESC"
)
# Parents of what stays: one child of a higher number is enough, of the millions that a parent may have.
_NEEDED = (
    "SELECT id FROM exec AS parent WHERE id BETWEEN :low AND :high"
    " AND EXISTS (SELECT 1 FROM exec WHERE parent_id = parent.id AND id > :high)"
)
# Its process runs something else by now, of which the history knows. Only the newest execs of that pid are
# looked at: a process may have been refused millions of times. If all of these failed, it counts as running.
_LOOKED_AT = 1000
_WENT_ON = (
    "SELECT 1 FROM (SELECT kind FROM exec WHERE pid = :pid AND id > :id ORDER BY id DESC"  # noqa: S608  # ours
    f" LIMIT {_LOOKED_AT}) WHERE kind != {_FAILED} LIMIT 1"
)
_BOOT_NS = "SELECT :ts - offset_ns FROM clock WHERE id = :clock_id"
_ANCESTORS = (
    "WITH RECURSIVE up(id, n) AS (SELECT :parent_id, 1 UNION ALL SELECT e.parent_id, n + 1 FROM up"
    " CROSS JOIN exec AS e ON e.id = up.id WHERE n <= :most AND e.parent_id < e.id) SELECT max(n) FROM up"
)


_LINE = (
    "SELECT length(v), user_id, auid, launch_id, origin_id FROM exec JOIN argv ON argv.id = argv_id"
    " LEFT JOIN launch ON launch.id = launch_id LEFT JOIN origin ON origin.id = origin_id WHERE exec.id = ?"
)


def _length_of_paths(table: str, fields: Iterable[Field]) -> str:
    """Returns the statement for how many bytes the paths of a row have."""
    columns = [column_of(field) for field in fields if dictionary_of(field) == "path"]
    return (
        "SELECT coalesce(sum(length(v)), 0) FROM path WHERE id IN"  # noqa: S608  # ours
        f" (SELECT value FROM {table}, json_each(json_array({', '.join(columns)})) WHERE {table}.id = ?)"
    )


_PATHS = {
    "launch": _length_of_paths("launch", LAUNCH_FIELDS),
    "origin": _length_of_paths("origin", ORIGIN_FIELDS),
}


class _Row(NamedTuple):
    id: int
    parent_id: int | None
    clock_id: int
    ts: int
    pid: int
    uid: int | None
    may_run: int
    replaced_by: int | None


class Chosen(NamedTuple):
    """What is to become of some execs."""

    stays: list[int]
    gone: int
    """How many do not stay."""
    moved: list[tuple[int | None, int]]
    """Those that have this parent (the second) are to have that one."""
    shortened: dict[int, int]
    """By exec that stays: how many bytes of its command line are to stay."""


class Choice:
    """Chooses part by part, from the newest execs to the oldest."""

    def __init__(self, connection: sqlite3.Connection, wanted: Plan, now: Now, max_bytes: int | None) -> None:
        self._connection, self._now = connection, now
        self._ages = Ages(connection, now)
        self._max_age_ns = now.wall_ns - wanted.until_ns if wanted.reason == "age" else None
        self._shares = None if max_bytes is None else _Shares(connection, max_bytes)
        self._chains: dict[int, int] = {}
        """By exec: how many programs in a row, of one process, replaced it and those after it."""
        self._near: dict[int, int] = {}
        """By exec that comes: how many generations it is above the nearest one that stays for itself."""

        self._above: dict[int, int] = {}
        """By exec that comes: at least how many ancestors it has."""

    def choose(self, low: int, high: int) -> Chosen:
        """Returns what is to become of the execs between two numbers; to be done before the next call."""
        given = {"boot": self._now.boot_id, "low": low, "high": high}
        rows = [_Row._make(row) for row in self._connection.execute(_ROWS, given)]
        needed = {row[0] for row in self._connection.execute(_NEEDED, given)}
        stays: list[int] = []
        shortened: dict[int, int] = {}
        passed: dict[int, int | None] = {}
        for row in rows:
            is_old = self._max_age_ns is None or self._ages.is_older(row.clock_id, row.ts, self._max_age_ns)
            near = self._near.pop(row.id, 1) if row.id in needed else None
            if not is_old or self._runs(row):
                near = 0
            if near is None:
                continue
            chain_length = self._chain(row)
            most = lean.most_bytes(chain_length)
            if is_old and not self._may_stay(row, near, most):
                if row.id not in needed:
                    continue
                passed[row.id] = row.parent_id
            else:
                stays.append(row.id)
                if is_old and (self._max_age_ns is None or row.id in needed):
                    shortened[row.id] = most
            if row.parent_id is not None:
                needed.add(row.parent_id)
                self._near[row.parent_id] = min(near + 1, self._near.get(row.parent_id, near + 1))
        return Chosen(stays, len(rows) - len(stays), _moved(passed), shortened)

    def _runs(self, row: _Row) -> bool:
        """Says whether it is a program that runs, as the history and the host know."""
        if not row.may_run:
            return False
        if self._connection.execute(_WENT_ON, {"pid": row.pid, "id": row.id}).fetchone() is not None:
            return False
        if self._now.started_of is None:
            return True
        started_ns = self._now.started_of(row.pid)
        given = {"ts": row.ts, "clock_id": row.clock_id}
        # Started later: another process with the same pid.
        return started_ns is not None and started_ns <= int(
            self._connection.execute(_BOOT_NS, given).fetchone()[0]
        )

    def _may_stay(self, row: _Row, near: int, most_bytes: int) -> bool:
        if near > _LAST and self._ancestors(row) >= _FIRST:
            return False
        return self._shares is None or row.uid == _ROOT or self._shares.take(row, most_bytes)

    def _ancestors(self, row: _Row) -> int:
        """Returns at least how many ancestors an exec has; exactly, if there are fewer than are asked for."""
        if row.parent_id is None:
            return 0
        known = self._above.pop(row.id, 0)
        if known < _FIRST:
            given = {"parent_id": row.parent_id, "most": _COUNTED}
            known = int(self._connection.execute(_ANCESTORS, given).fetchone()[0])
        self._above[row.parent_id] = known - 1
        return known

    def _chain(self, row: _Row) -> int:
        """Returns how long the chain is that replaced an exec, so far as it was seen."""
        if row.replaced_by is None:
            return 0
        length = self._chains[row.id] = self._chains.pop(row.replaced_by, 0) + 1
        return length


class _Shares:
    """How much of the history stays of each user, and of all."""

    def __init__(self, connection: sqlite3.Connection, max_bytes: int) -> None:
        self._connection = connection
        self._most_of_user, self._left = max_bytes // _USERS_PART, max_bytes // _ALL_PART
        self._taken: Counter[tuple[str, int | None]] = Counter()
        self._counted: set[tuple[str, int]] = set()

    def take(self, row: _Row, most_bytes: int) -> bool:
        """Counts an exec with so much of its line, if there is room for it. Says whether there was."""
        line, name, login, *shared = self._connection.execute(_LINE, (row.id,)).fetchone()
        user = ("login", login) if name is None else ("uid", row.uid)
        size = _ROW_BYTES + min(line, most_bytes)
        new = {each for each in zip(_PATHS, shared, strict=True) if each[1] is not None} - self._counted
        for table, number in new:
            size += int(self._connection.execute(_PATHS[table], (number,)).fetchone()[0])
        if self._taken[user] + size > self._most_of_user or size > self._left:
            return False
        self._taken[user] += size
        self._left -= size
        self._counted |= new
        return True


def _moved(passed: dict[int, int | None]) -> list[tuple[int | None, int]]:
    """Returns by which parents those are replaced that do not stay, given their own."""
    moved: dict[int, int | None] = {}
    for number in sorted(passed):
        parent = passed[number]
        moved[number] = parent if parent is None else moved.get(parent, parent)
    return [(parent, number) for number, parent in moved.items()]
