"""What `execaudit seal status` says."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import click

from execaudit.enums import ChainReason
from execaudit.escaping import printable
from execaudit.output.json_lines import json_text
from execaudit.output.summary_line import local_text
from execaudit.seal import stamps
from execaudit.seal.newest import newest, unsealed
from execaudit.times import utc_text

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from execaudit.cli.context import State
    from execaudit.seal.chain import ChainRow
    from execaudit.seal.newest import Newest
    from execaudit.seal.stamps import Stamp

REASONS = {
    ChainReason.BEGUN: "the history began",
    ChainReason.OLDER: "the history was sealed, which an earlier version had recorded",
    ChainReason.SETUP: "`seal setup` made a key",
    ChainReason.KEY_LOST: "the sealing key was lost",
    ChainReason.OTHER_KEY: "there was another sealing key",
}
"""Why a chain began."""


class _Status(NamedTuple):
    last: Newest | None
    sealed: int
    unsealed: int
    stamp: Stamp | None = None
    """The last time stamp. `verify` checks it."""


def write(state: State, *, as_json: bool) -> bool:
    """Writes what is sealed to standard output. Returns whether anything is. Raises StoreError."""
    with state.local() as history:
        found = _status(history.connection)
    if as_json:
        click.echo(json_text(_record(found)))
    else:
        for line in _lines(found):
            click.echo(line)
    last = found.last
    if last is not None and last.chain.reason == ChainReason.KEY_LOST.value:
        click.echo(lost_key(last.chain), err=True)
    return last is not None


def _status(connection: sqlite3.Connection) -> _Status:
    connection.execute("BEGIN")
    try:
        last = newest(connection)
        (whole,) = connection.execute("SELECT count(*) FROM exec").fetchone()
        if last is None:
            return _Status(None, 0, whole)
        above = {table: count for table, (count, _, _) in unsealed(connection, last.ends).items()}
        stamp = stamps.newest(connection)
    finally:
        connection.execute("ROLLBACK")
    return _Status(last, whole - above.get("exec", 0), sum(above.values()), stamp)


def _record(found: _Status) -> dict[str, object]:
    last = found.last
    return {
        "sealed": found.sealed,
        "unsealed": found.unsealed,
        "last": None if last is None else utc_text(last.at_ns),
        "head": None if last is None else str(last.head),
        "epoch": None if last is None else last.head.epoch,
        "keyed": None if last is None else bool(last.chain.is_keyed),
        "chain": None if last is None else last.head.chain,
        "began": None if last is None else utc_text(last.chain.begun_ns),
        "reason": None if last is None else last.chain.reason,
        "timestamp": None
        if (stamp := found.stamp) is None
        else {"head": stamp.head, "at": utc_text(stamp.at_ns), "authority": stamp.authority},
    }


def _lines(found: _Status) -> list[str]:
    last = found.last
    if last is None:
        return ["nothing is sealed yet: a recorder seals what it stores"]
    keyed = "yes" if last.chain.is_keyed else "no: changes are found only by who has a head; see `seal setup`"
    return [
        f"sealed    {found.sealed} execs, the last at {local_text(last.at_ns)}",
        f"unsealed  {found.unsealed} rows",
        f"head      {last.head}",
        f"key       {keyed}",
        f"chain     since {local_text(last.chain.begun_ns)}: {reason_text(last.chain.reason)}",
        *([] if found.stamp is None else [_stamp_line(found.stamp)]),
    ]


def _stamp_line(stamp: Stamp) -> str:
    return printable(
        f"stamped   {stamp.head} at {local_text(stamp.at_ns)} by {stamp.authority} (see `verify --tsa`)"
    )


def lost_key(chain: ChainRow, time_text: Callable[[int], str] = local_text) -> str:
    """Returns the warning that nobody vouches any more for what is recorded."""
    return (
        f"warning: the sealing key is gone or damaged, and since {time_text(chain.begun_ns)} nobody vouches for what is"
        " recorded: find out why, then run `execaudit seal setup --new-key`"
    )


def reason_text(reason: str) -> str:
    """Returns why a chain began, in words; the reason itself if it is none of ours."""
    known = {each.value: text for each, text in REASONS.items()}
    return known.get(reason, printable(reason))
