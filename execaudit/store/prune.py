"""Delete the oldest execs of a history, and what only they needed: small transactions, one at a time.

It runs in a recorder, or beside one and takes turns with it. If it is killed in between, the history is whole
and says that it was pruned, because that is written first. What stays, however old it is: see ancestors.py.
Of these execs, long command lines are shortened: see lean.py.

The newest are deleted first, so children go before their parents. A daemon that forked without an exec has no
row of its own: when its parent's row is deleted, the programs that it starts later have no parent here.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from execaudit.database.id_list import json_ids
from execaudit.database.packed_ids import CHUNK_EXECS
from execaudit.database.sealed_streams import Stream
from execaudit.database.trigram_bitmap import CHUNK_LINES, CHUNK_ROWS
from execaudit.store import lean, stripping
from execaudit.store.ancestors import Choice
from execaudit.store.lean import raise_generation
from execaudit.store.removal import Removal

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from execaudit.store.prune_plan import Now, Plan
    from execaudit.store.sealing import Sealer

# Rows that one transaction deletes or looks at; each takes some tens of milliseconds.
_DELETED, _MARKED, _SWEPT, _PAGES = 1000, 20_000, 2000, 1000
_SWEPT_BYTES = 8_000_000
# Numbers that are kept in one piece.
_PIECE = 256
# Of a chunk of an index: when less of its execs or lines is left, they are searched without it.
_THIN_PART = 64
# So many prunings have a row of their own; older ones are joined.
_SINGLE_PRUNINGS = 100
# Which rows of a dictionary a row of another table needs; the columns stand in the order of _REFERS.
# In two rounds: what only a row of the first needs that goes, goes as well.
_ROUNDS = (
    (("exec",), ("origin", "launch")),
    (("exec", "origin", "launch"), ("argv", "comm", "path", "user")),
)
# What goes with an exec, and the column that says which it is of.
_OF_EXECS = (
    ("exec", "id"), ("exit", "exec_id"), ("argv_cut", "exec_id"), ("hit", "exec_id"), ("seal_change", "exec_id"),
)  # fmt: skip
# Of those that are sealed by themselves: the number by which.
_SEALED = (
    (Stream.EXEC, "exec", "id", "id"), (Stream.EXIT, "exit", "exec_id", "id"), (Stream.HIT, "hit", "exec_id", "exec_id"),
    (Stream.CHANGE, "seal_change", "exec_id", "id"),
)  # fmt: skip
_TABLES = tuple(table for _, swept in _ROUNDS for table in swept)
_REFERS = {
    "exec": (("origin_id", "origin"), ("launch_id", "launch"), ("argv_id", "argv"), ("comm_id", "comm")),
    "origin": (("login_user_id", "user"), ("cgroup_id", "path")),
    "launch": (
        ("user_id", "user"), ("comm_id", "comm"), ("parent_comm_id", "comm"), ("filename_id", "path"),
        ("exe_id", "path"), ("cwd_id", "path"), ("interpreter_id", "path"), ("root_id", "path"),
    ),
}  # fmt: skip


def prune(  # noqa: PLR0913  # each is needed
    connection: sqlite3.Connection,
    wanted: Plan,
    now: Now,
    sealer: Sealer,
    *,
    max_bytes: int | None = None,
    shrink: bool = True,
) -> Iterator[int]:
    """Does it. Yields after each transaction how many execs have been deleted by then.

    `max_bytes`: the limit, of which what stays though it is old has a share; None: there is none.
    Without `shrink` the room is not given back to the file system but used again. Takes a connection
    in autocommit mode, and raises what SQLite raises; what was done by then stays done.
    """
    task = _Task(connection, wanted, now, max_bytes, sealer)
    deleted = 0
    high = wanted.top
    while (low := _lower_end(connection, high)) is not None:
        deleted += task.delete(low, high)
        yield deleted
        for _ in lean.shorten(connection, task.stays_short, sealer, (now.wall_ns, wanted.reason)):
            yield deleted
        high = low - 1
    _delete_small(connection, wanted, now, sealer)
    yield deleted
    for _ in chain(_sweep(connection, sealer), _sweep_index(connection, wanted, now, sealer)):
        yield deleted
    with sealer.transaction(connection):
        connection.execute("UPDATE pruned SET finished = 1 WHERE top <= ?", (wanted.top,))
        _join_old_prunings(connection)
        Removal(connection).finish(now.wall_ns, wanted.reason)
    for _ in stripping.strip(connection, sealer, wanted.top, now.wall_ns):
        yield deleted
    if shrink:
        for _ in tidy(connection):
            yield deleted


def tidy(connection: sqlite3.Connection) -> Iterator[bool]:
    """Gives unused pages back to the file system, in steps."""
    while _number(connection, "PRAGMA freelist_count"):
        before = _number(connection, "PRAGMA page_count")
        # execute() would do one page, each in a transaction of its own.
        connection.executescript(f"PRAGMA incremental_vacuum({_PAGES})")
        yield True
        if _number(connection, "PRAGMA page_count") == before:
            break  # a database that was made without auto_vacuum: the room is used again
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    yield True


def _number(connection: sqlite3.Connection, sql: str) -> int:
    """Returns a number, 0 for NULL."""
    return int(connection.execute(sql).fetchone()[0] or 0)


def _begin(connection: sqlite3.Connection, wanted: Plan, now_ns: int, sealer: Sealer) -> int:
    first = connection.execute("SELECT min(ts_min) FROM seg WHERE id_lo <= ?", (wanted.top,)).fetchone()[0]
    with sealer.transaction(connection):
        cursor = connection.execute(
            "INSERT INTO pruned (at_ns, top, ts_from, ts_to, execs, reason, finished) VALUES (?, ?, ?, ?, 0, ?, 0)",
            (now_ns, wanted.top, first or 0, wanted.until_ns, wanted.reason),
        )
        Removal(connection).finish(now_ns, wanted.reason)
    number = cursor.lastrowid
    if number is None:
        raise AssertionError("SQLite gave no rowid")
    return number


def _join_old_prunings(connection: sqlite3.Connection) -> None:
    """Makes one row of old prunings: a recorder that runs for years prunes a million times.

    Prunings by age and by size stay apart, and so do those that deleted nothing. So all that is asked of this
    table has the same answer as before: see summary.pruned() and prune_plan.
    """
    joined = connection.execute(
        "SELECT max(id), max(at_ns), max(top), min(ts_from), max(ts_to), sum(execs), reason, execs > 0 FROM pruned"
        " WHERE finished AND id <= (SELECT max(id) FROM pruned) - ? GROUP BY reason, execs > 0 HAVING count(*) > 1",
        (_SINGLE_PRUNINGS,),
    ).fetchall()
    for number, *values, reason, has_deleted in joined:
        connection.execute(
            "DELETE FROM pruned WHERE finished AND id < ? AND reason = ? AND (execs > 0) = ?",
            (number, reason, has_deleted),
        )
        connection.execute(
            "UPDATE pruned SET at_ns = ?, top = ?, ts_from = ?, ts_to = ?, execs = ? WHERE id = ?",
            (*values, number),
        )


def _lower_end(connection: sqlite3.Connection, high: int) -> int | None:
    """Returns from where so many execs lie up to `high`; None if there are none."""
    row = connection.execute(
        "SELECT min(id) FROM (SELECT id FROM exec WHERE id <= ? ORDER BY id DESC LIMIT ?)", (high, _DELETED)
    ).fetchone()
    return None if row[0] is None else int(row[0])


class _Task:
    """A pruning, in steps."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        wanted: Plan,
        now: Now,
        max_bytes: int | None,
        sealer: Sealer,
    ) -> None:
        self._connection, self._sealer = connection, sealer
        self._now_ns, self._reason = now.wall_ns, wanted.reason
        self._number = _begin(connection, wanted, now.wall_ns, sealer)
        self._choice = Choice(connection, wanted, now, max_bytes)
        self.stays_short: dict[int, int] = {}
        """How much is to stay of the command lines of what was left last."""

    def delete(self, low: int, high: int) -> int:
        """Deletes what may go between two numbers, in one transaction. Returns how many went."""
        connection = self._connection
        given: dict[str, object] = {"low": low, "high": high}
        with self._sealer.transaction(connection):
            chosen = self._choice.choose(low, high)
            self.stays_short = chosen.shortened
            given["stays"] = json_ids(chosen.stays)
            removal = Removal(connection)
            for stream, table, column, number in _SEALED:
                going = connection.execute(
                    f"SELECT {number} FROM {table} WHERE {column} BETWEEN :low AND :high"  # noqa: S608  # ours
                    f" AND {column} NOT IN (SELECT value FROM json_each(:stays))",
                    given,
                )
                removal.going(stream, [row[0] for row in going.fetchall()])
            for table, column in _OF_EXECS:
                connection.execute(
                    f"DELETE FROM {table} WHERE {column} BETWEEN :low AND :high"  # noqa: S608  # ours
                    f" AND {column} NOT IN (SELECT value FROM json_each(:stays))",
                    given,
                )
            connection.executemany(_NOTE_MOVED, chosen.moved)
            connection.executemany("UPDATE exec SET parent_id = ? WHERE parent_id = ?", chosen.moved)
            connection.execute(
                "UPDATE pruned SET execs = execs + ? WHERE id = ?", (chosen.gone, self._number)
            )
            raise_generation(connection)
            removal.finish(self._now_ns, self._reason, chosen.gone)
        return chosen.gone


# The newest run's last gap with ends stays: without it, a program that stays and whose end was missed would
# count as running.
_OLD_GAPS = (
    "ts_to < ? AND id IS NOT (SELECT id FROM gap"
    " WHERE run_id = (SELECT max(id) FROM run) AND exits > 0 ORDER BY ts_to DESC LIMIT 1)"
)
_NOTE_MOVED = "INSERT INTO seal_change (exec_id, parent_now, parent_was) SELECT id, ?1, parent_id FROM exec WHERE parent_id = ?2"


def _delete_small(connection: sqlite3.Connection, wanted: Plan, now: Now, sealer: Sealer) -> None:
    """Deletes rows of the other tables that are as old."""
    with sealer.transaction(connection):
        removal = Removal(connection)
        for stream, table, condition in (
            (Stream.STRAY_EXIT, "stray_exit", "ts < ?"),
            (Stream.GAP, "gap", _OLD_GAPS),
        ):
            old = f"FROM {table} WHERE {condition}"
            rows = connection.execute(f"SELECT id {old}", (wanted.until_ns,)).fetchall()  # ours
            removal.going(stream, [row[0] for row in rows])
            connection.execute(f"DELETE {old}", (wanted.until_ns,))
        connection.execute(
            "DELETE FROM seg WHERE id_hi <= ? AND NOT EXISTS"
            " (SELECT 1 FROM exec WHERE id BETWEEN seg.id_lo AND seg.id_hi)",
            (wanted.top,),
        )
        removal.finish(now.wall_ns, wanted.reason)


class _Numbers:
    """A set of row numbers: a byte for each, in pieces.

    Rows that stay for long have low numbers. Those of newer rows may be a thousand million higher.
    """

    def __init__(self) -> None:
        self._pieces: dict[int, bytearray] = {}

    def add(self, number: int) -> None:
        """Adds one."""
        at, offset = divmod(number, _PIECE)
        piece = self._pieces.get(at)
        if piece is None:
            piece = self._pieces[at] = bytearray(_PIECE)
        piece[offset] = 1

    def __contains__(self, number: int) -> bool:
        piece = self._pieces.get(number // _PIECE)
        return piece is not None and piece[number % _PIECE] == 1

    def has_all(self, low: int, high: int) -> bool:
        """Says whether all numbers from `low` to `high` are in it."""
        for at in range(low // _PIECE, high // _PIECE + 1):
            piece, first = self._pieces.get(at), at * _PIECE
            if piece is None or 0 in piece[max(low - first, 0) : high - first + 1]:
                return False
        return True


class _Marks:
    """Which rows of the dictionaries are needed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # Rows with higher numbers are newer than this pruning, and stay.
        self.last = {
            table: connection.execute(f"SELECT max(id) FROM {table}").fetchone()[0] or 0  # noqa: S608  # ours
            for table in _TABLES
        }
        self.needed = {table: _Numbers() for table in _TABLES}
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
        for at, (_, into) in enumerate(_REFERS[table], 1):
            add = self.needed[into].add
            # The same numbers come again and again.
            for value in {row[at] for row in rows}:
                if value is not None:
                    add(value)
        if rows:
            self._seen[table] = rows[-1][0]
        return len(rows) == _MARKED


def _sweep(connection: sqlite3.Connection, sealer: Sealer) -> Iterator[None]:
    """Deletes what no row refers to any more."""
    marks = _Marks(connection)
    for sources, swept in _ROUNDS:
        while marks.step(sources):
            yield
        for table in swept:
            yield from _sweep_table(connection, table, marks, sources, sealer)


def _sweep_table(
    connection: sqlite3.Connection, table: str, marks: _Marks, sources: tuple[str, ...], sealer: Sealer
) -> Iterator[None]:
    needed, last = marks.needed[table], marks.last[table]
    first_from = f"SELECT min(id) FROM {table} WHERE id >= ?"  # noqa: S608  # ours
    some = f"SELECT id FROM {table} WHERE id BETWEEN ? AND ?"  # noqa: S608  # ours
    low = 1
    while low <= last:
        high = min(low + _SWEPT - 1, last)
        if needed.has_all(low, high):
            low = high + 1
            continue
        first = connection.execute(first_from, (low,)).fetchone()[0]
        if first is None or first > high:
            low = last + 1 if first is None else first
            continue
        if table == "argv":
            high = _few_bytes(connection, low, high)
        if any(number not in needed for (number,) in connection.execute(some, (low, high)).fetchall()):
            with sealer.transaction(connection):
                # Execs that the recorder has written since: it may have used old numbers that it remembers.
                while marks.step(sources):
                    pass
                gone = [
                    row for row in connection.execute(some, (low, high)).fetchall() if row[0] not in needed
                ]
                if table == "argv":
                    connection.executemany("DELETE FROM long_argv WHERE argv_id = ?", gone)
                if table == "argv" and gone[-1:] == [(last,)]:
                    # The highest number stays, without its text: no number is ever given again.
                    connection.execute("UPDATE argv SET v = x'' WHERE id = ?", gone.pop())
                connection.executemany(f"DELETE FROM {table} WHERE id = ?", gone)  # noqa: S608  # ours
                raise_generation(connection)
        yield
        low = high + 1


def _few_bytes(connection: sqlite3.Connection, low: int, high: int) -> int:
    """Returns up to which line there are not too many bytes for one transaction."""
    size = 0
    lines = connection.execute(
        "SELECT id, length(v) FROM argv WHERE id BETWEEN ? AND ? ORDER BY id", (low, high)
    )
    for number, length in lines:
        size += length
        if size > _SWEPT_BYTES:
            return int(number)
    return high


def _sweep_index(connection: sqlite3.Connection, wanted: Plan, now: Now, sealer: Sealer) -> Iterator[None]:
    """Deletes the index of chunks of which little is left: it takes more room than these rows."""
    for index, table, size, rows in (
        ("argv_used", "exec", CHUNK_EXECS, 1),
        ("argv_grams", "argv", CHUNK_LINES, CHUNK_ROWS),
    ):
        enough = max(size // _THIN_PART, 1)
        first_from = f"SELECT min(id) FROM {index} WHERE id >= ?"  # noqa: S608  # ours
        left = f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE id >= ? AND id < ? LIMIT {enough})"  # noqa: S608  # ours
        chunk = 0
        while (first := connection.execute(first_from, (chunk * rows,)).fetchone()[0]) is not None:
            chunk = first // rows
            if connection.execute(left, (chunk * size, (chunk + 1) * size)).fetchone()[0] < enough:
                within = (chunk * rows, (chunk + 1) * rows)
                with sealer.transaction(connection):
                    removal = Removal(connection)
                    if index == "argv_grams":
                        removal.going(Stream.ARGV_GRAMS, range(*within))
                    connection.execute(f"DELETE FROM {index} WHERE id >= ? AND id < ?", within)  # noqa: S608  # ours
                    removal.finish(now.wall_ns, wanted.reason)
                yield
            chunk += 1
