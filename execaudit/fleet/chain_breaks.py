"""Find hosts whose seals do not follow those that arrived before, or begin a new chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.fleet.conditions import Conditions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from execaudit.fleet.engine import Engine

    _Key = tuple[int, int]

# Of a statement that names rows.
_MOST_KEYS = 500
# What a forwarder that means harm ships has no end.
_MOST_FOUND = 10_000
_MOST_REASONS = 5


class Breaks(NamedTuple):
    """What is wrong with the seals of a stream."""

    broken: int
    """How often a piece did not follow the one before it."""
    chains: tuple[str, ...]
    """Why new chains began."""
    is_copied: bool
    """A chain of it is in another history, too."""


def chain_breaks(engine: Engine, since_ns: int) -> dict[int, Breaks]:
    """Returns it by stream, of what was sealed since a time by the hosts' clocks. Raises StoreError."""
    broken: dict[int, int] = {}
    candidates = _candidates(engine, since_ns)
    before = _hashes(engine, [(stream, number - 1) for stream, number, _ in candidates])
    for stream, number, digest in candidates:
        # What is not there any more was deleted by the owner.
        if before.get((stream, number - 1), digest) != digest:
            broken[stream] = broken.get(stream, 0) + 1
    chains, copied = _new_chains(engine, since_ns), _copied(engine)
    return {
        stream: Breaks(broken.get(stream, 0), tuple(chains.get(stream, ())), stream in copied)
        for stream in broken.keys() | chains.keys() | copied
    }


def _copied(engine: Engine) -> set[int]:
    """Returns streams that have a chain of another one. Its id is random."""
    shared = f'SELECT "chain" FROM "seal_chain" GROUP BY "chain" HAVING count(DISTINCT "stream") > 1 LIMIT {_MOST_KEYS}'  # noqa: S608  # ours
    ids = [row[0] for row in engine.rows(shared, {})]
    if not ids:
        return set()
    conditions = Conditions(engine.dialect)
    chosen = conditions.one_of('"chain"', ids)
    sql = f'SELECT "stream" FROM "seal_chain" WHERE {chosen} LIMIT {_MOST_FOUND}'  # noqa: S608  # bound
    return {row[0] for row in engine.rows(sql, conditions.parameters)}


def _candidates(engine: Engine, since_ns: int) -> list[tuple[int, int, bytes]]:
    """Returns pieces that may not follow the one before, and which hash they follow.

    All that do not are among them, and the first piece of each stream since then.
    """
    dialect = engine.dialect
    conditions = Conditions(dialect)
    since = conditions.bind(since_ns)
    if dialect.has_windows:
        window = '(PARTITION BY "stream" ORDER BY "id")'
        sql = (
            'SELECT w."stream", w."id", w."before" FROM (SELECT "stream", "id", "before",'  # noqa: S608  # bound
            f' lag("hash") OVER {window} AS "last" FROM "seal" WHERE "ts" >= {since}) AS w'
            f' WHERE w."id" > 1 AND (w."last" IS NULL OR w."last" <> w."before") LIMIT {_MOST_FOUND}'
        )
        return engine.rows(sql, conditions.parameters)
    none_before = (
        f'SELECT "stream", "id", "before" FROM "seal" WHERE "ts" >= {since} AND "id" > 1'  # noqa: S608  # bound
        f' AND ("stream", "before") GLOBAL NOT IN (SELECT "stream", "hash" FROM "seal" WHERE "ts" >= {since})'
        f" LIMIT {_MOST_FOUND}"
    )
    # Of two that follow one piece the second does not come after it.
    twice = (
        'SELECT "stream", max("id"), "before" FROM "seal"'  # noqa: S608  # bound
        f' WHERE "ts" >= {since} GROUP BY "stream", "before" HAVING uniqExact("id") > 1 LIMIT {_MOST_FOUND}'
    )
    rows = [*engine.rows(none_before, conditions.parameters), *engine.rows(twice, conditions.parameters)]
    return list(dict.fromkeys(rows))


def _hashes(engine: Engine, keys: Sequence[_Key]) -> dict[_Key, bytes]:
    """Returns the hashes of pieces, of those that are there."""
    found: dict[_Key, bytes] = {}
    for at in range(0, len(keys), _MOST_KEYS):
        conditions = Conditions(engine.dialect)
        named = engine.dialect.keys(('"stream"', '"id"'), keys[at : at + _MOST_KEYS], conditions.bind)
        sql = f'SELECT "stream", "id", "hash" FROM "seal" WHERE {named}'  # noqa: S608  # bound
        found |= {(row[0], row[1]): row[2] for row in engine.rows(sql, conditions.parameters)}
    return found


def _new_chains(engine: Engine, since_ns: int) -> dict[int, list[str]]:
    """Returns why chains began after the first one of their stream."""
    conditions = Conditions(engine.dialect)
    sql = (
        'SELECT "stream", "reason" FROM "seal_chain" WHERE "id" > 1'  # noqa: S608  # bound
        f' AND "begun_ns" >= {conditions.bind(since_ns)} ORDER BY "stream", "id" LIMIT {_MOST_FOUND}'
    )
    found: dict[int, list[str]] = {}
    for stream, reason in engine.rows(sql, conditions.parameters):
        text = reason.decode("utf-8", "backslashreplace")
        reasons = found.setdefault(stream, [])
        if text not in reasons and len(reasons) < _MOST_REASONS:
            reasons.append(text)
    return found
