"""What `execaudit verify` does."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from execaudit.cli.run import verify_text
from execaudit.cli.run.missing import Missing, say
from execaudit.cli.run.progress import bar
from execaudit.cli.run.seal_status import lost_key
from execaudit.cli.run.verification_key import key_of
from execaudit.database.url import Central, location_of
from execaudit.enums import ChainReason
from execaudit.errors import ConfigError, DamagedStoreError, ExecauditError
from execaudit.escaping import printable
from execaudit.output.json_lines import json_text
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.seal import indexes, remembered, shares, stamp_check, stamps, verify
from execaudit.seal.chain import Head
from execaudit.seal.rows import Rows
from execaudit.system import clock, parallel
from execaudit.system.parallel import Block

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Generator, Iterator, Sequence

    from execaudit.cli.context import State
    from execaudit.cli.run.missing import Missed
    from execaudit.event import Nanoseconds
    from execaudit.seal.keys import VerificationKey
    from execaudit.seal.remembered import Remembered
    from execaudit.seal.segment_check import Asked, Checked, Problem
    from execaudit.seal.shares import Part
    from execaudit.seal.stamp_check import Stamped
    from execaudit.seal.verify import Parts, Result

# Rows are read in order, so a large cache is of no use.
_CACHE = "PRAGMA cache_size = -16384"


class Given(NamedTuple):
    """What the options say."""

    keys: tuple[str, ...]
    heads: tuple[str, ...]
    since_ns: Nanoseconds | None
    remembered: Path | None
    against: str | None
    tsa: Path | None


def run(state: State, given: Given, *, as_json: bool) -> bool:
    """Verifies the history, and writes what was found. Returns whether all is as it was sealed.

    Raises StoreError.
    """
    path = state.database()
    with state.local() as history:
        keys = [key_of(text) for text in given.keys]
        heads = [Head.from_text(text) for text in given.heads]
        known = None if given.remembered is None else remembered.load(given.remembered)
        if known is not None and keys and not known.authentic:
            known = None  # it was verified without a key
        check_keys(history.connection, keys)
        if given.against is not None:
            since_ns = given.since_ns if known is None else known.verified_ns
            heads += _forwarded(history.connection, given.against, since_ns)
        stamped, wrong = _stamped(state, history.connection, given, known)
        asked = verify.asked_of(history.connection, keys, heads, {each.head: each.number for each in stamped})
        parts, lost = _parts(history.connection, asked, given, known)
        history.connection.execute("PRAGMA shrink_memory")  # children get a copy of what is cached
        with contextlib.closing(found_in(history.connection, path, parts)) as found:
            result = verify.finish(history.connection, parts, found)
        result.problems[:0] = lost + wrong
        result.problems += indexes.counters(history.connection)
        missing = Missing(history, Filter(since_ns=given.since_ns))
        missed = missing.news()
        if given.remembered is not None and result.is_verified:
            _remember(history.connection, given.remembered, parts, result)
        _write(result, stamped, missing, missed, as_json=as_json)
    return result.is_verified


def _forwarded(connection: sqlite3.Connection, url: str, since_ns: int | None) -> list[Head]:
    """Returns the heads that a central database has of this history. Raises StoreError."""
    from execaudit.fleet.central import open_engine  # noqa: PLC0415  # heavy
    from execaudit.fleet.heads import heads_of  # noqa: PLC0415  # as above

    location = location_of(url)
    if not isinstance(location, Central):
        raise ConfigError(
            f"{url} is no central database", fix="name one: postgresql://... or clickhouse://..."
        )
    stream_id = connection.execute("SELECT value FROM meta WHERE key = 'stream_id'").fetchone()[0]
    with open_engine(location) as engine:
        found = heads_of(engine, stream_id, since_ns)
    if not found:
        raise DamagedStoreError(
            f"{location} has no head of this history, or none of that time",
            fix="has `execaudit forward` ever shipped it there? else somebody replaced the history",
        )
    return found


def _stamped(
    state: State, connection: sqlite3.Connection, given: Given, known: Remembered | None
) -> tuple[list[Stamped], list[Problem]]:
    """Returns the time stamps, checked if it is known whom to trust, and what is wrong with them.

    Raises ConfigError, MissingLibraryError.
    """
    since_ns = given.since_ns if known is None else known.verified_ns
    if not stamps.stored(connection, since_ns):
        return [], []
    trusted = None
    if given.tsa is not None:
        trusted = stamp_check.authorities(given.tsa)
    elif (configured := state.settings().text("seal", "timestamp_authority")) is not None:
        try:
            trusted = stamp_check.authorities(Path(configured))
        except ExecauditError as exc:
            click.echo(printable(f"warning: time stamps are not checked: {exc}"), err=True)
    return stamp_check.check_all(connection, trusted, since_ns)


def check_keys(connection: sqlite3.Connection, keys: Sequence[VerificationKey]) -> None:
    """Raises DamagedStoreError for a key that no chain of the history has."""
    chains = {row[0] for row in connection.execute("SELECT chain FROM seal_chain WHERE is_keyed")}
    for key in keys:
        if key.chain not in chains:
            raise DamagedStoreError(
                f"the history has no chain {key.chain.hex()[:16]}, which this key is for",
                fix="it is another history's key, or somebody replaced the history",
            )


def _parts(
    connection: sqlite3.Connection, asked: Asked, given: Given, known: Remembered | None
) -> tuple[Parts, list[Problem]]:
    """Returns what to check, and what of that which was verified earlier is not there."""
    lost = [] if known is None else remembered.problems(connection, known)
    after = 0 if known is None or lost else known.segment
    return verify.parts_of(connection, asked, given.since_ns, after=after), lost


def found_in(connection: sqlite3.Connection, path: Path, parts: Parts) -> Generator[Checked, None, None]:
    """Yields what processes find in the parts, and shows how far they are."""
    children = len(os.sched_getaffinity(0))
    plan = shares.plan(connection, parts, children=children)

    def work(some: Sequence[Part]) -> Iterator[Iterator[Block]]:
        with open_history(path) as own:
            own.execute(_CACHE)
            rows = Rows(own)
            for part in some:
                checked = shares.check(own, rows, parts.asked, part, is_whole=plan.is_whole)
                yield (Block(*each) for each in checked)

    with bar("Verifying", lambda: sum(part.weight for part in plan.parts)) as advance:
        for block in parallel.in_order(plan.parts, work, children=children):
            advance(block.items)
            yield verify.from_json(block.text)


def _remember(connection: sqlite3.Connection, file: Path, parts: Parts, result: Result) -> None:
    found = remembered.at(
        connection, parts.last - 1, is_authentic=result.is_authentic is True, now_ns=clock.wall_ns()
    )
    if found is not None:
        remembered.save(file, found)


def _write(
    result: Result, stamped: Sequence[Stamped], missing: Missing, missed: list[Missed], *, as_json: bool
) -> None:
    last = result.chains[-1] if result.chains else None
    if last is not None and last.reason == ChainReason.KEY_LOST.value:
        click.echo(lost_key(last), err=True)
    if as_json:
        click.echo(json_text(verify_text.record(result, stamped, [*missing.records(missed)])))
        return
    for line in verify_text.lines(result, stamped):
        click.echo(line)
    say(missed)
