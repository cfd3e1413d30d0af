"""Say what vouches for an answer; with `--verify`, verify its range before it is written."""

from __future__ import annotations

import contextlib
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from execaudit.cli.context import State
from execaudit.cli.run import verify as verifying
from execaudit.cli.run.proof_text import Proof, Vouched
from execaudit.cli.run.verification_key import key_of
from execaudit.database.url import Central
from execaudit.errors import ConfigError, DamagedStoreError, StoreError
from execaudit.query import find, recorders
from execaudit.query.filter import Filter
from execaudit.query.local_history import LocalHistory
from execaudit.seal import indexes, ranges, remembered, verify
from execaudit.seal.chain import Head
from execaudit.seal.newest import newest
from execaudit.seal.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from execaudit.query.history import History
    from execaudit.seal.verify import Result


class Verifier:
    """Says what vouches for an answer, and with `--verify` whether its range is proved."""

    def __init__(self, context: click.Context, *, is_asked: bool, keys: tuple[str, ...]) -> None:
        """Without `keys`, those that the configuration has for `verify`.

        Raises ConfigError if what is to be verified is in a central database; UsageError for keys of nothing.
        """
        state = context.ensure_object(State)
        is_keyed = context.get_parameter_source("keys") is ParameterSource.COMMANDLINE
        if is_keyed and not is_asked:
            raise click.UsageError("--key is for --verify")
        if is_asked and isinstance(state.location(), Central):
            raise ConfigError(
                "--verify is for the file of a history, and --db is a central database",
                fix="run `execaudit verify --against` with its URL on the host, or leave --verify out",
            )
        self._state, self._is_asked, self._keys = state, is_asked, keys
        self._proof: Proof | None = None

    @property
    def status(self) -> int:
        """The exit status: 4 if it was looked at, and is not as it was sealed."""
        return 0 if self._proof is None or self._proof.is_fine else DamagedStoreError.exit_status

    def look(self, history: History, wanted: Filter, *, marks: Sequence[int] = ()) -> list[Vouched]:
        """Returns what vouches for the answer to a filter and for `marks` (numbers of execs), by host.

        Raises StoreError.
        """
        if not isinstance(history, LocalHistory):
            return _arrived(history, wanted.hosts)
        whose = recorders.newest_host(history.connection)
        if not self._is_asked:
            return [_newest(history, whose, _verified_ns(self._state))]
        keys = self._keys or self._state.configured("verify", "key")
        result = _verified(history, wanted, keys, marks)
        self._proof = _proof(result)
        return [
            Vouched(
                whose,
                result.head,
                None if result.head is None else Head.from_text(result.head).epoch,
                result.sealed_until_ns,
                bool(result.chains[-1].is_keyed) if result.chains else None,
                self._proof,
                from_ns=wanted.since_ns,
                execs=result.execs,
                problems=result.problems,
                verified_ns=_verified_ns(self._state),
            )
        ]


def _newest(history: LocalHistory, whose: str | None, verified_ns: int | None) -> Vouched:
    last = newest(history.connection)
    if last is None:
        return Vouched(whose, None, None, None, None, Proof.NOT_SEALED)
    return Vouched(
        whose,
        str(last.head),
        last.head.epoch,
        last.at_ns,
        bool(last.chain.is_keyed),
        Proof.NOT_LOOKED_AT,
        verified_ns=verified_ns,
    )


def _verified(history: LocalHistory, wanted: Filter, texts: Sequence[str], marks: Sequence[int]) -> Result:
    """Verifies what an answer is made of: not only its execs, but all from its first one on."""
    connection = history.connection
    keys = [key_of(text) for text in texts]
    verifying.check_keys(connection, keys)
    asked = verify.asked_of(connection, keys, ())
    span = next(find.parts(connection, Filter(since_ns=wanted.since_ns)), None)
    parts = ranges.parts_of(connection, asked, wanted.since_ns, None if span is None else span.low)
    before = ranges.check(connection, Rows(connection), asked, ranges.led_to(connection, parts, marks))
    connection.execute("PRAGMA shrink_memory")  # children get a copy of what is cached
    with contextlib.closing(verifying.found_in(connection, history.path, parts)) as found:
        result = verify.finish(connection, parts, chain(before, found))
    result.problems += indexes.counters(connection)
    return result


def _proof(result: Result) -> Proof:
    if not result.is_sealed:
        return Proof.NOT_SEALED
    if not result.is_verified:
        return Proof.NOT_PROVED
    return Proof.PROVED if result.is_authentic and not result.unkeyed else Proof.UNBROKEN


def _verified_ns(state: State) -> int | None:
    """Returns when `verify` had verified all, if it is configured to remember that."""
    try:
        name = state.settings().text("verify", "state")
        known = None if name is None else remembered.load(Path(name))
    except (ConfigError, StoreError):
        return None  # `doctor` says why
    return None if known is None else known.verified_ns


def _arrived(history: History, hosts: Sequence[str]) -> list[Vouched]:
    """Returns what a central database has of hosts."""
    from execaudit.fleet.central_history import CentralHistory  # noqa: PLC0415  # heavy, and loaded by now

    assert isinstance(history, CentralHistory)  # noqa: S101  # there is no third kind
    arrived, more = history.heads(hosts)
    if more:
        click.echo(
            f"heads: of the first {len(arrived)} hosts only, and {more} more: choose with --host", err=True
        )
    return [
        Vouched(
            host,
            None if head is None else str(head),
            None if head is None else head.epoch,
            None if head is None else at_ns,
            None,
            Proof.NOT_LOOKED_AT,
            is_central=True,
        )
        for host, head, at_ns in arrived
    ]
