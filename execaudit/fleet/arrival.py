"""Until when everything of some hosts has arrived in a central database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.event import Nanoseconds
from execaudit.fleet.conditions import Conditions
from execaudit.fleet.heard import last_heard
from execaudit.query import recorders
from execaudit.query.recorders import Complete

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from execaudit.fleet.engine import Engine
    from execaudit.fleet.status import Heard

# A host at rest says once in 15 seconds that it is there, and its recorder once a minute.
_LATE_NS = 120_000_000_000


def complete_until(engine: Engine, chosen: Collection[int], *, now_ns: int, patience_ns: int) -> Complete:
    """Returns until when everything of the hosts of some streams is here. Raises StoreError.

    A host that is retired does not count, and neither does what was imported. One that was not heard of for
    `patience_ns` is left out: what happened there comes later, if at all.
    """
    # First the runs: how far the streams are is then as new as they, or newer.
    runs = _live_runs(engine)
    expected = [
        each
        for each in last_heard(engine)
        if each.stream in chosen and not each.is_import and each.retired_ns is None
    ]
    heard = [each for each in expected if each.contact_ns >= now_ns - patience_ns]
    names = {each.host for each in heard}
    left_out = sorted({each.host for each in expected} - names)
    if not any(each.live_run is not None or _is_behind(each) for each in heard):
        return Complete(None, left_out=tuple(left_out))
    ends = {each.stream: _end(engine, each, runs) for each in heard}
    until_ns = min(ends.values())
    # Of hosts that are about as late, all are named.
    late = {each.host for each in heard if ends[each.stream] <= min(until_ns + _LATE_NS, now_ns - _LATE_NS)}
    return Complete(Nanoseconds(until_ns), tuple(sorted(late)), tuple(left_out))


def _is_behind(heard: Heard) -> bool:
    return heard.exec_seq < heard.last_seq


def _end(engine: Engine, heard: Heard, runs: Mapping[tuple[int, int], tuple[int, int | None]]) -> int:
    """Returns until when all of a stream has arrived."""
    if _is_behind(heard):
        return _last_time(engine, heard.stream, heard.exec_seq)
    if heard.live_run is not None and (run := runs.get((heard.stream, heard.live_run))) is not None:
        return recorders.complete_of(*run)
    # Nobody recorded then: what a recorder that begins has is later.
    return heard.contact_ns


def _live_runs(engine: Engine) -> dict[tuple[int, int], tuple[int, int | None]]:
    """Returns when recorders that have not stopped began, and until when they said that all is stored."""
    rows: Iterable[tuple[int, int, int, int | None]] = engine.rows(
        f'SELECT "stream", "id", "started_ns", "seen_ns" FROM {engine.dialect.table("run")} WHERE "stopped_ns" IS NULL',  # noqa: S608  # ours
        {},
    )
    return {(stream, number): (started_ns, seen_ns) for stream, number, started_ns, seen_ns in rows}


def _last_time(engine: Engine, stream: int, upto: int) -> int:
    """Returns the time of the last exec of a stream up to a number; 0: there is none."""
    conditions = Conditions(engine.dialect)
    its = f'e."stream" = {conditions.bind(stream)} AND e."seq" <= {conditions.bind(upto)}'
    exec_ = engine.dialect.table("exec", "e")
    sql = f'SELECT e."ts" FROM {exec_} WHERE {its} ORDER BY e."seq" DESC LIMIT 1'  # noqa: S608  # bound
    rows = engine.rows(sql, conditions.parameters)
    return recorders.complete_of(0, rows[0][0]) if rows else 0
