"""The seals of a host's history that were shipped, so that the host cannot deny them later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.fleet.conditions import Conditions
from execaudit.seal.chain import Head

if TYPE_CHECKING:
    from execaudit.fleet.engine import Engine

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
