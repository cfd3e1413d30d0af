"""Read a local history by the numbers of its rows, for who ships it. It is never kept open for long."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.database.imports import IS_IMPORT
from execaudit.errors import StoreError
from execaudit.forward.sealed_source import SealedSource
from execaudit.query import recorders
from execaudit.query.filter import Filter
from execaudit.query.find import PartReader
from execaudit.query.statements import Span
from execaudit.seal.newest import newest

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from execaudit.query.find import Page
    from execaudit.query.rows import Recording
    from execaudit.seal.chain import Head

_META = "SELECT value FROM meta WHERE key = ?"
_SIGNATURES = {
    "exec": "SELECT id, ts, pid FROM exec WHERE id <= ? AND id > ? ORDER BY id DESC LIMIT 1",
    "gap": "SELECT id, ts_from, ts_to FROM gap WHERE id <= ? AND id > ? ORDER BY id DESC LIMIT 1",
}
_ENDS = (
    "SELECT x.id, x.exec_id, e.ts, x.duration_ns, x.status, x.replaced_by FROM exit AS x"
    " JOIN exec AS e ON e.id = x.exec_id WHERE x.id > ? ORDER BY x.id LIMIT ?"
)
# All hits of an exec come together, because there is no number within an exec.
_LAST_OF_HITS = "SELECT max(exec_id) FROM (SELECT exec_id FROM hit WHERE exec_id > ? AND exec_id <= ? ORDER BY exec_id LIMIT ?)"
_HITS = (
    "SELECT z.exec_id, e.ts, z.rule_id, z.left_out FROM hit AS z JOIN exec AS e ON e.id = z.exec_id"
    " WHERE z.exec_id > ? AND z.exec_id <= ? ORDER BY z.exec_id, z.rule_id"
)
_RULES = "SELECT id, uuid, title, level, tags, file FROM rule WHERE id > ? ORDER BY id LIMIT ?"
_RUNS = "SELECT id, boot_id, host, version, started_ns, stopped_ns, seen_ns FROM run WHERE id > ? ORDER BY id LIMIT ?"
_GAPS = (
    "SELECT g.id, r.host, g.ts_from, g.ts_to, g.reason, g.count, g.exits, g.uid FROM gap AS g"
    " JOIN run AS r ON r.id = g.run_id WHERE g.id > ? ORDER BY g.id LIMIT ?"
)
_PRUNED = (
    "SELECT reason, execs > 0, finished, max(at_ns), max(top), min(ts_from), max(ts_to), sum(execs) FROM pruned"
    " GROUP BY reason, execs > 0, finished"
)
_PRUNED_AFTER = "SELECT max(top), min(ts_from), max(ts_to) FROM pruned WHERE top > ?"
# An import only if nothing was recorded.
_NEWEST_RUN = (
    f"SELECT CAST(host AS BLOB), CAST(version AS BLOB) FROM run ORDER BY {IS_IMPORT}, id DESC LIMIT 1"  # noqa: S608  # ours
)


class End(NamedTuple):
    """A row of `exit`, and the time of its exec."""

    number: int
    exec: int
    ts: int
    duration_ns: int
    status: int | None
    replaced_by: int | None


class Hit(NamedTuple):
    """A row of `hit`, and the time of its exec."""

    exec: int
    ts: int
    rule: int
    left_out: int


class Rule(NamedTuple):
    """A row of `rule`."""

    number: int
    uuid: str | None
    title: str
    level: str | None
    tags: str
    file: str


class Run(NamedTuple):
    """A row of `run`."""

    number: int
    boot_id: str
    host: str
    version: str
    started_ns: int
    stopped_ns: int | None
    seen_ns: int | None


class LocalGap(NamedTuple):
    """A row of `gap`, and its host."""

    number: int
    host: str
    ts_from: int
    ts_to: int
    reason: str
    missing: int | None
    exits: int
    uid: int | None


class Pruned(NamedTuple):
    """All prunings of one kind."""

    reason: str
    has_deleted: int
    finished: int
    at_ns: int
    top: int
    ts_from: int
    ts_to: int
    execs: int


class Lost(NamedTuple):
    """What prunings may have deleted after some number."""

    top: int
    ts_from: int
    ts_to: int


class Source:
    """An open history. All numbers are local ones."""

    def __init__(self, connection: sqlite3.Connection, is_whole: Callable[[], bool] = lambda: True) -> None:
        """Takes an open history, and what says whether it can be believed what was read from it."""
        self._connection, self._is_whole = connection, is_whole
        self._reader = PartReader(connection, Filter())
        self.sealed = SealedSource(connection)

    def check(self) -> None:
        """Raises StoreError if what was read may be wrong: a recorder began to write meanwhile."""
        if not self._is_whole():
            raise StoreError("somebody began to write the history while it was read", fix="it is read again")

    def stream_id(self) -> bytes:
        """Returns the 16 bytes that were made with the file."""
        value: bytes = self._connection.execute(_META, ("stream_id",)).fetchone()[0]
        return value

    def last(self) -> int:
        """Returns the number of the newest exec that there was, pruned or not."""
        return int(self._connection.execute(_META, ("next_id",)).fetchone()[0]) - 1

    def hunted(self) -> int:
        """Returns up to which exec detection rules were run; 0: none were."""
        row = self._connection.execute(_META, ("hunted",)).fetchone()
        return 0 if row is None else int(row[0])

    def head(self) -> tuple[Head, int] | None:
        """Returns the newest seal of the history, and its wall clock; None: nothing is sealed."""
        found = newest(self._connection)
        return None if found is None else (found.head, found.at_ns)

    def newest_run(self) -> tuple[bytes, bytes] | None:
        """Returns host and version of the newest recorder, else import; None: there was none."""
        row: tuple[bytes, bytes] | None = self._connection.execute(_NEWEST_RUN).fetchone()
        return row

    def recording(self) -> Recording:
        """Returns what is being recorded now."""
        return recorders.recording(self._connection)

    def page(self, after: int, last: int, most: int) -> Page | None:
        """Returns the next execs; None if there are none. Fewer than `most`, if they are large."""
        return next(self._reader.pages(Span(after + 1, last), most=most), None)

    def signature(self, table: str, upto: int, after: int) -> tuple[int, tuple[int, int]] | None:
        """Returns the last row up to a number, but above another, and what tells it apart; None: none."""
        row = self._connection.execute(_SIGNATURES[table], (upto, after)).fetchone()
        return None if row is None else (row[0], (row[1], row[2]))

    def time_of_next(self, after: int) -> int | None:
        """Returns the wall clock of the first exec after a number; None: there is none."""
        row = self._connection.execute(
            "SELECT ts FROM exec WHERE id > ? ORDER BY id LIMIT 1", (after,)
        ).fetchone()
        return None if row is None else int(row[0])

    def run_of(self, upto: int) -> int:
        """Returns the run of the last exec up to a number; 0: there is none."""
        row = self._connection.execute(
            "SELECT k.run_id FROM exec AS e JOIN clock AS k ON k.id = e.clock_id WHERE e.id <= ?"
            " ORDER BY e.id DESC LIMIT 1",
            (upto,),
        ).fetchone()
        return 0 if row is None else int(row[0])

    def last_gap(self) -> int:
        """Returns the number of the newest gap; 0: there is none."""
        return int(self._connection.execute("SELECT max(id) FROM gap").fetchone()[0] or 0)

    def ends(self, after: int, most: int) -> list[End]:
        """Returns ends in the order of their numbers."""
        return [End(*row) for row in self._connection.execute(_ENDS, (after, most))]

    def hits(self, after: int, most: int) -> list[Hit]:
        """Returns hits of the next execs that have some; `most`, or a few more."""
        last = self._connection.execute(_LAST_OF_HITS, (after, self.hunted(), most)).fetchone()[0]
        if last is None:
            return []
        return [Hit(*row) for row in self._connection.execute(_HITS, (after, last))]

    def rules(self, after: int, most: int) -> list[Rule]:
        """Returns detection rules that hit something, in the order of their numbers."""
        return [Rule(*row) for row in self._connection.execute(_RULES, (after, most))]

    def runs(self, after: int, most: int) -> list[Run]:
        """Returns recorders and imports, in the order of their numbers."""
        return [Run(*row) for row in self._connection.execute(_RUNS, (after, most))]

    def newest_runs(self, most: int) -> list[Run]:
        """Returns the newest of these, in the order of their numbers."""
        last = self._connection.execute("SELECT max(id) FROM run").fetchone()[0] or 0
        return self.runs(last - most, most)

    def gaps(self, after: int, most: int) -> list[LocalGap]:
        """Returns gaps in the order of their numbers."""
        return [LocalGap(*row) for row in self._connection.execute(_GAPS, (after, most))]

    def pruned(self) -> Iterator[Pruned]:
        """Yields the prunings, all of a kind as one."""
        return (Pruned(*row) for row in self._connection.execute(_PRUNED))

    def lost_after(self, after: int) -> Lost | None:
        """Returns up to where prunings deleted execs after a number, and of which time; None: nowhere."""
        row = self._connection.execute(_PRUNED_AFTER, (after,)).fetchone()
        return None if row[0] is None else Lost(*row)
