"""What `execaudit verify` does with a central database: each history that hosts forwarded, as it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from execaudit.cli.run import verify_text
from execaudit.cli.run.progress import bar
from execaudit.cli.run.verification_key import key_of
from execaudit.errors import DamagedStoreError, ExecauditError
from execaudit.escaping import printable
from execaudit.fleet.sealed_reader import SealedReader
from execaudit.fleet.streams import Streams
from execaudit.fleet.verify import CentralResult, Wanted, verify
from execaudit.output.json_lines import json_text
from execaudit.seal.chain import Head
from execaudit.system import clock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from execaudit.cli.context import State
    from execaudit.cli.run.verify import Given
    from execaudit.fleet.engine import Engine
    from execaudit.fleet.streams import Stream


def run(state: State, given: Given, hosts: Sequence[str], *, as_json: bool) -> bool:
    """Verifies the histories of the hosts, and writes what was found. Returns whether all are as sealed.

    Raises StoreError.
    """
    keys = {key.chain: key for key in map(key_of, given.keys)}
    heads = [Head.from_text(text) for text in given.heads]
    wanted = Wanted(keys, heads, given.since_ns)
    is_verified = True
    with state.central() as engine:
        streams = Streams(engine)
        chosen = streams.of_hosts(engine, hosts) if hosts else streams.all
        if not chosen:
            raise ExecauditError(
                "no such host has shipped here", fix="`execaudit fleet status --all` has all"
            )
        _check_chains(engine, chosen, wanted)
        for stream in chosen:
            result = _verified(engine, stream, wanted)
            is_verified &= result.is_verified
            _write(result, as_json=as_json)
    return is_verified


def _check_chains(engine: Engine, chosen: Sequence[Stream], wanted: Wanted) -> None:
    """Raises DamagedStoreError if a key or a head is of no history that is verified."""
    if not wanted.keys and not wanted.heads:
        return
    chains = {name for stream in chosen for _, name in SealedReader(engine, stream.number).chains()}
    known = {name.hex()[:16] for name in chains}
    asked = {key.hex()[:16]: "key" for key in wanted.keys} | {head.chain: "head" for head in wanted.heads}
    for chain, what in asked.items():
        if chain not in known:
            raise DamagedStoreError(
                f"no history that was shipped has the chain {chain}, which this {what} is for",
                fix="it is another history's, or somebody replaced the history",
            )


def _verified(engine: Engine, stream: Stream, wanted: Wanted) -> CentralResult:
    reader = SealedReader(engine, stream.number)
    chains = {name for _, name in reader.chains()}
    its = wanted._replace(keys={chain: key for chain, key in wanted.keys.items() if chain in chains})
    last = reader.last()
    name = printable(stream.host.decode("utf-8", "backslashreplace"))
    with bar(f"Verifying {name}", lambda: 0 if last is None else last.id) as advance:
        return verify(engine, stream, its, clock.wall_ns(), advance)


def _write(result: CentralResult, *, as_json: bool) -> None:
    if as_json:
        record = verify_text.record(result, (), ())
        # Neither is shipped with seals: `query` has gaps, and the host its time stamps.
        del record["gaps"], record["timestamps"]
        said = {"host": result.host, "history": result.history, **record}
        said |= {"unsealed": result.unsealed, "unproved": result.unproved}
        click.echo(json_text(said))
        return
    click.echo(f"{printable(result.host)}:")
    for line in _lines(result):
        click.echo(f"  {line}")


def _lines(result: CentralResult) -> Iterator[str]:
    if not result.is_shipped:
        yield "NOT VERIFIED: no seals were shipped: upgrade its forwarder"
        return
    yield from verify_text.lines(result)
    if result.unsealed:
        execs = "1 exec" if result.unsealed == 1 else f"{result.unsealed} execs"
        yield f"not sealed yet: {execs} whose seals have not arrived"
    if result.unproved:
        rows = "1 row" if result.unproved == 1 else f"{result.unproved} rows"
        yield f"not proved: {rows} that were sealed together with others which were pruned"
