"""Find the exec of an id in a central database, or those whose ids begin in the same way.

There is no index of ids. The runs of its boot say in which streams it is. Wall clock minus boot clock is
about the same in a run, so the id says when it was, and the index of pids, or of times, does the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.database.enum_codes import KINDS
from execaudit.enums import Kind
from execaudit.exec_id import boot_prefix, encode_id
from execaudit.fleet.conditions import Conditions
from execaudit.fleet.days import DAY_NS, Days, Times

if TYPE_CHECKING:
    from collections.abc import Iterator

    from execaudit.exec_id import ExecKey
    from execaudit.fleet.engine import Engine, Row
    from execaudit.fleet.kinship import Kinship
    from execaudit.fleet.streams import Streams

_FAILED = KINDS.index(Kind.FAILED)
_TASK = f'CASE WHEN e."kind" = {_FAILED} THEN e."tid" ELSE e."pid" END'
# How far clocks are set while a host runs, most probably; if nothing is found so, all of the run is searched.
_NEAR_NS = 600_000_000_000
_MOST_LOOKED_AT = 1000
_LATEST = 2**60 - 1


class _Run(NamedTuple):
    """A run of a recorder, or an import."""

    stream: int
    number: int
    boot: int
    """As in ids."""
    started_ns: int


class Ids:
    """Finds execs."""

    def __init__(self, engine: Engine, streams: Streams, kinship: Kinship) -> None:
        self._engine, self._streams, self._kinship = engine, streams, kinship
        self._days = Days(engine)
        self._runs: list[_Run] | None = None

    def locate(self, key: ExecKey) -> int | None:
        """Returns the number of the exec with this id, or None if it is not there."""
        # A host may have another one's boot id; it does not have all of it searched.
        for is_near in (True, False):
            found = [
                (is_failed, self._kinship.number(stream, seq))
                for run in self._of_boots(key.boot, key.boot)
                for stream, seq, _, _, is_failed in self._between(
                    run, key.boot_ns, key.boot_ns, is_near=is_near, task=key.task
                )
            ]
            if found:
                # Only one that succeeded is a parent, or ends.
                return min(found)[1]
        return None

    def beginning(self, text: str, first: ExecKey, last: ExecKey) -> Iterator[int]:
        """Yields numbers of execs whose ids begin with a text, a thousand of each run at most."""
        for run in self._of_boots(first.boot, last.boot):
            low = first.boot_ns if run.boot == first.boot else 0
            high = last.boot_ns if run.boot == last.boot else _LATEST
            rows = self._between(run, low, high, is_near=True) or self._between(run, low, high, is_near=False)
            for stream, seq, boot_ns, task, _ in rows:
                if encode_id((run.boot, boot_ns, task)).startswith(text):
                    yield self._kinship.number(stream, seq)

    def _of_boots(self, first: int, last: int) -> list[_Run]:
        """Returns the runs of some boots."""
        if self._runs is None:
            run = self._engine.dialect.table("run")
            rows = self._engine.rows(f'SELECT "stream", "id", "boot_id", "started_ns" FROM {run}', {})  # noqa: S608  # ours
            self._runs = sorted(
                _Run(stream, number, _boot(boot_id), started_ns)
                for stream, number, boot_id, started_ns in rows
                if stream in self._streams.places
            )
        return [each for each in self._runs if first <= each.boot <= last]

    def _between(
        self, run: _Run, low_ns: int, high_ns: int, *, is_near: bool, task: int | None = None
    ) -> list[Row]:
        """Returns a run's execs between two moments of the boot clock; only where the wall clock says so.

        Of each the stream, the seq, the boot clock, the task, and whether it failed.
        """
        offset = self._offset(run)
        if offset is None:
            return []
        if is_near:
            times = Times(((low_ns + offset - _NEAR_NS, high_ns + offset + _NEAR_NS),))
        else:
            times = self._days.of_later([(run.stream, 0)])
        conditions = Conditions(self._engine.dialect)
        said = [
            f'e."stream" = {conditions.bind(run.stream)}',
            f'e."run" = {conditions.bind(run.number)}',
            f'e."boot_ns" >= {conditions.bind(low_ns)}',
            f'e."boot_ns" <= {conditions.bind(high_ns)}',
            *self._streams.visible(conditions, self._streams.all),
            times.said("e", conditions),
        ]
        if task is not None:
            its = conditions.bind(task)
            said.append(
                f'(e."kind" <> {_FAILED} AND e."pid" = {its} OR e."kind" = {_FAILED} AND e."tid" = {its})'
            )
        sql = (
            f'SELECT e."stream", e."seq", e."boot_ns", {_TASK}, e."kind" = {_FAILED} FROM {self._engine.dialect.table("exec", "e")}'  # noqa: S608  # bound
            f' WHERE {" AND ".join(said)} ORDER BY e."seq" LIMIT {_MOST_LOOKED_AT}'
        )
        return self._engine.rows(sql, conditions.parameters)

    def _offset(self, run: _Run) -> int | None:
        """Returns what the wall clock was ahead of the boot clock at the first exec of a run."""
        table = self._engine.dialect.table("exec", "e")
        started_ns = max(run.started_ns, 0)
        # Mostly it was soon. What was imported is older than its run.
        near = Times(((max(started_ns - _NEAR_NS, 0), started_ns + DAY_NS),))
        for times in (near, self._days.of_later([(run.stream, 0)])):
            conditions = Conditions(self._engine.dialect)
            said = (
                f'e."stream" = {conditions.bind(run.stream)} AND e."run" = {conditions.bind(run.number)}'
                f" AND {times.said('e', conditions)}"
            )
            sql = f'SELECT e."ts" - e."boot_ns" FROM {table} WHERE {said} ORDER BY e."seq" LIMIT 1'  # noqa: S608  # bound
            rows = self._engine.rows(sql, conditions.parameters)
            if rows:
                return int(rows[0][0])
        return None


def _boot(boot_id: bytes) -> int:
    return boot_prefix(boot_id.decode("ascii", "replace"))
