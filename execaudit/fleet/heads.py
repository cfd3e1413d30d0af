"""The seals of a host's history that were shipped, so that the host cannot deny them later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.fleet.conditions import Conditions
from execaudit.seal.chain import Head

if TYPE_CHECKING:
    from collections.abc import Sequence

    from execaudit.fleet.engine import Engine, Row

# A host decides how many chains it has.
_MOST_CHAINS = 10
# One came with each batch, at most each minute of a host at rest.
_MOST = 20_000


def heads_of(engine: Engine, stream_id: bytes, since_ns: int | None) -> list[Head]:
    """Returns the newest heads of all streams of a history, sealed from a time (wall clock) on.

    Raises StoreError.
    """
    conditions = Conditions(engine.dialect)
    of_history = conditions.bind(stream_id.hex().encode())
    streams = engine.rows(
        f'SELECT DISTINCT "stream" FROM "stream" WHERE "stream_id" = {of_history}',  # noqa: S608  # bound
        conditions.parameters,
    )
    if not streams:
        return []
    conditions = Conditions(engine.dialect)
    chosen = conditions.one_of('h."stream"', [number for (number,) in streams])
    since = conditions.bind(0 if since_ns is None else since_ns)
    sql = (
        f'SELECT h."chain", h."epoch", h."hash" FROM "head" AS h WHERE {chosen} AND h."at_ns" >= {since}'  # noqa: S608  # bound
        f' ORDER BY h."at_ns" DESC LIMIT {_MOST}'
    )
    rows = engine.rows(sql, conditions.parameters)
    return [Head(chain.decode(), epoch, digest.decode()) for chain, epoch, digest in rows]


def heads_of_stream(engine: Engine, stream: int, since_ns: int | None) -> list[tuple[Head, int]]:
    """Returns the newest heads of a stream, sealed from a time (wall clock) on, and when.

    Raises StoreError.
    """
    conditions = Conditions(engine.dialect)
    said = f'h."stream" = {conditions.bind(stream)} AND h."at_ns" >= {conditions.bind(since_ns or 0)}'
    sql = (
        f'SELECT h."chain", h."epoch", h."hash", h."at_ns" FROM "head" AS h WHERE {said}'  # noqa: S608  # bound
        f' ORDER BY h."at_ns" DESC LIMIT {_MOST}'
    )
    return [*map(_head, engine.rows(sql, conditions.parameters))]


def newest_head(engine: Engine, stream: int) -> tuple[Head, int] | None:
    """Returns the head of a stream that was sealed last, and when (wall clock of the host), if there is one.

    Its texts are the host's. Raises StoreError.
    """
    best: tuple[Head, int] | None = None
    below = b"\xff"
    # The key is stream, chain, epoch: so no more than a row of each chain is read.
    for _ in range(_MOST_CHAINS):
        rows = _last(engine, stream, below, 'h."chain" DESC, h."epoch" DESC')
        if not rows:
            return best
        below, *_, at_ns = rows[0]
        if best is None or at_ns > best[1]:
            best = _head(rows[0])
    return next(map(_head, _last(engine, stream, b"\xff", 'h."at_ns" DESC')), None)


def _last(engine: Engine, stream: int, below: bytes, order: str) -> Sequence[Row]:
    conditions = Conditions(engine.dialect)
    chosen = f'h."stream" = {conditions.bind(stream)} AND h."chain" < {conditions.bind(below)}'
    sql = (
        f'SELECT h."chain", h."epoch", h."hash", h."at_ns" FROM "head" AS h WHERE {chosen}'  # noqa: S608  # bound
        f" ORDER BY {order} LIMIT 1"
    )
    return engine.rows(sql, conditions.parameters)


def _head(row: Row) -> tuple[Head, int]:
    chain, epoch, digest, at_ns = row
    return Head(
        chain.decode("utf-8", "backslashreplace"), epoch, digest.decode("utf-8", "backslashreplace")
    ), at_ns
