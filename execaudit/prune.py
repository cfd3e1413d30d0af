"""Delete the oldest execs of a history, and what only they needed: small transactions, one at a time.

Beside a recorder, which takes turns, or in it. Whoever is killed in between leaves a history that
is whole, and says that it was pruned: that is written first. What stays, however old:

- an exec that has descendants which stay, so that lineage still leads to its roots;
- a program of the running boot that has not ended, as far as the history knows.

Newest first, so that children go before their parents. A daemon that forked without running a
program, and lost its parent, is nobody's row: what it starts later has no parent here.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from execaudit.codes import KINDS
from execaudit.event import Kind, Nanoseconds
from execaudit.lineuse import CHUNK_EXECS
from execaudit.transaction import transaction
from execaudit.trigrams import CHUNK_LINES, CHUNK_ROWS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

# Rows that one transaction deletes or looks at; each takes some tens of milliseconds.
_DELETED, _MARKED, _SWEPT, _PAGES = 1000, 20_000, 2000, 1000
# Below the limit by so much, so that it is not reached again at once.
_TARGET = 0.9
_FAILED = KINDS.index(Kind.FAILED)
_ALIVE = (  # of our own numbers alone
    f"kind != {_FAILED} AND clock_id IN (SELECT clock.id FROM clock JOIN run ON run.id = clock.run_id"  # noqa: S608
    " WHERE run.boot_id = :boot) AND duration_ns IS NULL"
    " AND NOT EXISTS (SELECT 1 FROM exit WHERE exec_id = exec.id)"
)
# Which rows of a dictionary a row of another table needs; the columns stand in the order of _REFERS.
# In two rounds: what only a row of the first needs that goes, goes as well.
_ROUNDS = (
    (("exec",), ("origin", "launch")),
    (("exec", "origin", "launch"), ("argv", "comm", "path", "user")),
)
_TABLES = tuple(table for _, swept in _ROUNDS for table in swept)
_REFERS = {
    "exec": (("origin_id", "origin"), ("launch_id", "launch"), ("argv_id", "argv"), ("comm_id", "comm")),
    "origin": (("login_user_id", "user"), ("cgroup_id", "path")),
    "launch": (
        ("user_id", "user"), ("comm_id", "comm"), ("parent_comm_id", "comm"), ("filename_id", "path"),
        ("exe_id", "path"), ("cwd_id", "path"), ("interpreter_id", "path"), ("root_id", "path"),
    ),
}  # fmt: skip


class Limits(NamedTuple):
    """How much history is kept."""

    max_age_ns: Nanoseconds | None = None
    max_bytes: int | None = None


class Plan(NamedTuple):
    """What is to go."""

    top: int
    """The highest number of an exec that may go."""
    until_ns: Nanoseconds
    """Wall clock: what is older than this may be gone."""
    reason: str
    """`age` or `size`."""


def size_of(path: Path) -> int:
    """Returns the bytes that a database takes, its WAL included."""
    files = (path, path.with_name(f"{path.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def plan(connection: sqlite3.Connection, path: Path, limits: Limits, now_ns: int) -> Plan | None:
    """Returns what is to go so that the limits are kept; None if they are."""
    plans = [_unfinished(connection)]
    if limits.max_age_ns is not None:
        plans.append(_plan_by_age(connection, now_ns - limits.max_age_ns))
    if limits.max_bytes is not None:
        free = _number(connection, "PRAGMA freelist_count") * _number(connection, "PRAGMA page_size")
        plans.append(_plan_by_size(connection, size_of(path) - free, limits.max_bytes))
    found = [each for each in plans if each is not None]
    return max(found, key=lambda each: each.top) if found else None


def _unfinished(connection: sqlite3.Connection) -> Plan | None:
    """Returns what somebody began who was killed: what nobody needs any more may still be there."""
    row = connection.execute(
        "SELECT top, ts_to, reason FROM pruned WHERE NOT finished ORDER BY top DESC LIMIT 1"
    ).fetchone()
    return None if row is None else Plan(*row)


def _plan_by_age(connection: sqlite3.Connection, until_ns: int) -> Plan | None:
    # The first that is young enough ends it, whatever the clock was set to later.
    segment = connection.execute(
        "SELECT id_lo, id_hi FROM seg WHERE ts_max >= ? ORDER BY id_lo LIMIT 1", (until_ns,)
    ).fetchone()
    if segment is None:
        top = _number(connection, "SELECT max(id) FROM exec")
    else:
        young = connection.execute(
            "SELECT min(id) FROM exec WHERE id BETWEEN ? AND ? AND ts >= ?", (*segment, until_ns)
        ).fetchone()[0]
        top = (segment[1] + 1 if young is None else young) - 1
    return _worth_it(connection, Plan(top, Nanoseconds(until_ns), "age"))


def _plan_by_size(connection: sqlite3.Connection, size: int, most_bytes: int) -> Plan | None:
    if size <= most_bytes:
        return None
    # As if all were of one size; by what it is still too large then is for the next plan.
    gone = int(_number(connection, "SELECT count(*) FROM exec") * (size - _TARGET * most_bytes) / size)
    row = connection.execute(
        "SELECT id FROM exec WHERE id > ? ORDER BY id LIMIT 1 OFFSET ?", (_done(connection), max(gone - 1, 0))
    ).fetchone()
    top = row[0] if row is not None else _number(connection, "SELECT max(id) FROM exec")
    until = connection.execute("SELECT max(ts_max) FROM seg WHERE id_lo <= ?", (top,)).fetchone()[0]
    return _worth_it(connection, Plan(top, Nanoseconds(until or 0), "size"))


def _worth_it(connection: sqlite3.Connection, wanted: Plan) -> Plan | None:
    """Returns the plan, but not one that an earlier pruning has done already: what is left then stays."""
    return wanted if wanted.top > _done(connection) else None


def _done(connection: sqlite3.Connection) -> int:
    return _number(connection, "SELECT max(top) FROM pruned WHERE finished")


def _number(connection: sqlite3.Connection, sql: str) -> int:
    """Returns a number, 0 for NULL."""
    return int(connection.execute(sql).fetchone()[0] or 0)


class Preview(NamedTuple):
    """What a plan would delete at most."""

    execs: int
    first_ns: int | None
    last_ns: int | None
    share: float
    """Of all execs."""


def preview(connection: sqlite3.Connection, wanted: Plan) -> Preview:
    """Returns what would go, but for what stays as somebody's ancestor or because it runs."""
    execs, first, last = connection.execute(
        "SELECT count(*), min(ts), max(ts) FROM exec WHERE id <= ?", (wanted.top,)
    ).fetchone()
    every = _number(connection, "SELECT count(*) FROM exec")
    return Preview(execs, first, last, execs / every if every else 0.0)


def prune(connection: sqlite3.Connection, wanted: Plan, *, boot_id: str, now_ns: int) -> Iterator[int]:
    """Does it. Yields after each transaction how many execs have been deleted by then.

    `boot_id` is the running boot's. Takes a connection in autocommit mode, and raises what SQLite
    raises; what was done by then stays done.
    """
    number = _begin(connection, wanted, now_ns)
    deleted = 0
    high = wanted.top
    while (low := _lower_end(connection, high)) is not None:
        deleted += _delete(connection, (low, high), number, boot_id)
        yield deleted
        high = low - 1
    _delete_small(connection, wanted)
    yield deleted
    for _ in chain(_sweep(connection), _sweep_index(connection)):
        yield deleted
    with transaction(connection):
        connection.execute("UPDATE pruned SET finished = 1 WHERE top <= ?", (wanted.top,))
    while _number(connection, "PRAGMA freelist_count"):
        before = _number(connection, "PRAGMA page_count")
        connection.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
        yield deleted
        if _number(connection, "PRAGMA page_count") == before:
            break  # a database that was made without auto_vacuum: the room is used again
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    yield deleted


def _begin(connection: sqlite3.Connection, wanted: Plan, now_ns: int) -> int:
    first = connection.execute("SELECT min(ts_min) FROM seg WHERE id_lo <= ?", (wanted.top,)).fetchone()[0]
    with transaction(connection):
        cursor = connection.execute(
            "INSERT INTO pruned (at_ns, top, ts_from, ts_to, execs, reason, finished) VALUES (?, ?, ?, ?, 0, ?, 0)",
            (now_ns, wanted.top, first or 0, wanted.until_ns, wanted.reason),
        )
    number = cursor.lastrowid
    if number is None:
        raise AssertionError("SQLite gave no rowid")
    return number


def _lower_end(connection: sqlite3.Connection, high: int) -> int | None:
    """Returns from where so many execs lie up to `high`; None if there are none."""
    row = connection.execute(
        "SELECT min(id) FROM (SELECT id FROM exec WHERE id <= ? ORDER BY id DESC LIMIT ?)", (high, _DELETED)
    ).fetchone()
    return None if row[0] is None else int(row[0])


def _delete(connection: sqlite3.Connection, between: tuple[int, int], number: int, boot_id: str) -> int:
    given: dict[str, object] = {"boot": boot_id, "low": between[0], "high": between[1]}
    with transaction(connection):
        rows = connection.execute(
            f"SELECT id, parent_id, {_ALIVE} FROM exec WHERE id BETWEEN :low AND :high ORDER BY id DESC",  # noqa: S608  # ours
            given,
        ).fetchall()
        # Parents of what stays: of higher numbers, by the index; of these, as it is decided.
        needed = {
            row[0]
            for row in connection.execute(
                "SELECT parent_id FROM exec WHERE parent_id BETWEEN :low AND :high AND id > :high", given
            )
        }
        stays = []
        for exec_id, parent_id, alive in rows:
            if alive or exec_id in needed:
                stays.append(exec_id)
                needed.add(parent_id)
        given["stays"] = f"[{','.join(map(str, stays))}]"
        for table, column in (("exec", "id"), ("exit", "exec_id"), ("argv_cut", "exec_id")):
            connection.execute(
                f"DELETE FROM {table} WHERE {column} BETWEEN :low AND :high"  # noqa: S608  # ours
                f" AND {column} NOT IN (SELECT value FROM json_each(:stays))",
                given,
            )
        gone = len(rows) - len(stays)
        connection.execute("UPDATE pruned SET execs = execs + ? WHERE id = ?", (gone, number))
        _raise_generation(connection)
    return gone


def _delete_small(connection: sqlite3.Connection, wanted: Plan) -> None:
    """Deletes what stands beside the execs, and is as old."""
    with transaction(connection):
        connection.execute(
            "DELETE FROM seg WHERE id_hi <= ? AND NOT EXISTS"
            " (SELECT 1 FROM exec WHERE id BETWEEN seg.id_lo AND seg.id_hi)",
            (wanted.top,),
        )
        connection.execute("DELETE FROM stray_exit WHERE ts < ?", (wanted.until_ns,))
        connection.execute("DELETE FROM gap WHERE ts_to < ?", (wanted.until_ns,))


def _raise_generation(connection: sqlite3.Connection) -> None:
    """Tells the recorder that what it remembers may be gone: it looks in each of its transactions."""
    connection.execute(
        "UPDATE meta SET value = CAST(CAST(value AS INTEGER) + 1 AS BLOB) WHERE key = 'generation'"
    )


class _Marks:
    """Which rows of the dictionaries are needed: a byte for each number."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # What comes later is needed: it is new.
        self.last = {
            table: connection.execute(f"SELECT max(id) FROM {table}").fetchone()[0] or 0  # noqa: S608  # ours
            for table in _TABLES
        }
        self.needed = {table: bytearray(last + 1) for table, last in self.last.items()}
        self._seen = dict.fromkeys(_REFERS, 0)

    def step(self, tables: tuple[str, ...]) -> bool:
        """Looks at some more rows of these. Returns whether there are others."""
        more = [self._look_at(table) for table in tables]
        return any(more)

    def _look_at(self, table: str) -> bool:
        columns = ", ".join(column for column, _ in _REFERS[table])
        rows = self._connection.execute(
            f"SELECT id, {columns} FROM {table} WHERE id > ? ORDER BY id LIMIT ?",  # noqa: S608  # ours
            (self._seen[table], _MARKED),
        ).fetchall()
        marks = [self.needed[into] for _, into in _REFERS[table]]
        for number, *values in rows:
            for mark, value in zip(marks, values, strict=True):
                if value is not None and value < len(mark):
                    mark[value] = 1
            self._seen[table] = number
        return len(rows) == _MARKED


def _sweep(connection: sqlite3.Connection) -> Iterator[None]:
    """Deletes what no row refers to any more."""
    marks = _Marks(connection)
    for sources, swept in _ROUNDS:
        while marks.step(sources):
            yield
        for table in swept:
            yield from _sweep_table(connection, table, marks, sources)


def _sweep_table(
    connection: sqlite3.Connection, table: str, marks: _Marks, sources: tuple[str, ...]
) -> Iterator[None]:
    needed = marks.needed[table]
    for low in range(1, marks.last[table] + 1, _SWEPT):
        high = min(low + _SWEPT - 1, marks.last[table])
        if 0 not in memoryview(needed)[low : high + 1]:
            continue
        with transaction(connection):
            # What the recorder has written since; it remembers old numbers, and uses them.
            while marks.step(sources):
                pass
            gone = [(number,) for number in range(low, high + 1) if not needed[number]]
            connection.executemany(f"DELETE FROM {table} WHERE id = ?", gone)  # noqa: S608  # ours
            _raise_generation(connection)
        yield


def _sweep_index(connection: sqlite3.Connection) -> Iterator[None]:
    """Deletes the index of chunks of which nothing is left."""
    for index, table, size, rows in (
        ("argv_used", "exec", CHUNK_EXECS, 1),
        ("argv_grams", "argv", CHUNK_LINES, CHUNK_ROWS),
    ):
        ends = f"SELECT (SELECT min(id) FROM {index}), (SELECT max(id) FROM {index})"  # noqa: S608  # ours
        first, last = connection.execute(ends).fetchone()
        for chunk in () if first is None else range(first // rows, last // rows + 1):
            ids = (chunk * size, (chunk + 1) * size)
            left = connection.execute(f"SELECT 1 FROM {table} WHERE id >= ? AND id < ? LIMIT 1", ids)  # noqa: S608  # ours
            if left.fetchone() is None:
                with transaction(connection):
                    connection.execute(
                        f"DELETE FROM {index} WHERE id >= ? AND id < ?",  # noqa: S608  # ours
                        (chunk * rows, (chunk + 1) * rows),
                    )
                yield
