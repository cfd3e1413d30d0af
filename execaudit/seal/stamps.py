"""Time stamps of heads: that what was sealed existed at a time, as an authority says. The rows of them.

A process with a network asks for them (cli/run/timestamp.py) and leaves what it got in a file, from which the
recorder, which has none, puts it into the history. stamp_check.py has what is cryptographic.
"""

from __future__ import annotations

import base64
import json
import os
import stat
from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit.database.transaction import transaction
from execaudit.errors import StoreError
from execaudit.seal.chain import Head

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence
    from pathlib import Path

TABLE = "seal_timestamp"
"""Where they are."""
LARGEST_REPLY = 32_768
"""Bytes of an authority's answer, certificates included: those of public ones have about 6000."""
MOST_LEFT = 16
"""So many stamps are left for the recorder, which then may be away for as many hours."""
_LARGEST_FILE = MOST_LEFT * 2 * LARGEST_REPLY
_LONGEST_NAME = 1000
_MOST_NS = 2**63 - 1
_COLUMNS = "head, at_ns, authority, reply"


class Stamp(NamedTuple):
    """A time stamp."""

    head: str
    """What existed."""
    at_ns: int
    """At the latest then: ns since 1970, by the authority's clock."""
    authority: str
    """Its name, as its certificate has it."""
    reply: bytes
    """Its whole answer, DER of a TimeStampResp (RFC 3161)."""


def stored(connection: sqlite3.Connection, since_ns: int | None = None) -> list[tuple[int, Stamp]]:
    """Returns the stamps of a history with their numbers: all, or those from a time on."""
    rows = connection.execute(
        f"SELECT id, {_COLUMNS} FROM seal_timestamp WHERE at_ns >= ? ORDER BY id",  # noqa: S608  # ours
        (-_MOST_NS if since_ns is None else since_ns,),
    )
    return [(number, Stamp(*rest)) for number, *rest in rows]


def newest(connection: sqlite3.Connection) -> Stamp | None:
    """Returns the stamp that was stored last; None: there is none."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM seal_timestamp ORDER BY id DESC LIMIT 1"  # noqa: S608  # ours
    ).fetchone()
    return None if row is None else Stamp(*row)


def add(connection: sqlite3.Connection, found: Sequence[Stamp]) -> int:
    """Stores those that are new, in a connection in autocommit mode. Returns how many these are.

    New is what is of a chain that is here, with a later epoch than any stamp of it.
    """
    new = 0
    with transaction(connection):
        for stamp in found:
            if _is_new(connection, Head.from_text(stamp.head)):
                connection.execute(f"INSERT INTO seal_timestamp ({_COLUMNS}) VALUES (?, ?, ?, ?)", stamp)  # noqa: S608  # ours
                new += 1
    return new


def _is_new(connection: sqlite3.Connection, head: Head) -> bool:
    (known,) = connection.execute(
        "SELECT count(*) FROM seal_chain WHERE substr(lower(hex(chain)), 1, ?) = ?",
        (len(head.chain), head.chain),
    ).fetchone()
    last = connection.execute(
        "SELECT head FROM seal_timestamp WHERE head GLOB ? || '-*' ORDER BY id DESC LIMIT 1", (head.chain,)
    ).fetchone()
    try:
        return bool(known) and (last is None or Head.from_text(last[0]).epoch < head.epoch)
    except StoreError:
        return True  # somebody changed it, and `verify` says so


def to_json(left: Sequence[Stamp]) -> str:
    """Returns the text of the file that is left for the recorder: the last ones."""
    return json.dumps(
        [[*stamp[:3], base64.b64encode(stamp.reply).decode("ascii")] for stamp in left[-MOST_LEFT:]]
    )


def read_left(path: Path) -> list[Stamp]:
    """Returns what a process with a network has left. Raises OSError; ValueError: it is none of ours.

    The file is another user's, who may write anything into it.
    """
    # A pipe would never answer.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("no file")
        raw = file.read(_LARGEST_FILE + 1)
    if len(raw) > _LARGEST_FILE:
        raise ValueError("too large")
    try:
        return list(_stamps(json.loads(raw)))
    except (TypeError, RecursionError, StoreError) as exc:
        raise ValueError("no stamps") from exc


def _stamps(raw: Any) -> Iterator[Stamp]:  # noqa: ANN401  # whatever a file has
    for head, at_ns, authority, reply in raw[:MOST_LEFT]:
        if not isinstance(head, str) or not isinstance(authority, str) or len(authority) > _LONGEST_NAME:
            raise ValueError("no stamp")
        stamp = Stamp(str(Head.from_text(head)), at_ns, authority, base64.b64decode(reply, validate=True))
        if type(at_ns) is not int or not 0 <= at_ns <= _MOST_NS or len(stamp.reply) > LARGEST_REPLY:
            raise ValueError("no stamp")
        authority.encode()  # half of a surrogate pair is no text
        yield stamp
