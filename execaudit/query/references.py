"""Find the execs that somebody names: by an id, by its beginning, or by a pid."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from execaudit.database import id_lookup
from execaudit.enums import Kind
from execaudit.exec_id import ExecKey, decode_id, encode_id, keys_from
from execaudit.query import find
from execaudit.query.filter import Filter

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from execaudit.event import Nanoseconds

# All that are of one moment: a beginning that is longer leaves some of these.
_MOST_LOOKED_AT = 1000
# The last moment that an id can have.
_LATEST = 2**60 - 1
_PID = re.compile(r"pid:([0-9]{1,9})")
_STARTED = (Kind.EXEC, Kind.SNAPSHOT)


def pid_of(text: str) -> int | None:
    """Returns the pid of a reference such as `pid:7`; None if it is an id, or the beginning of one."""
    found = _PID.fullmatch(text)
    return None if found is None else int(found[1])


def named(
    connection: sqlite3.Connection,
    text: str,
    *,
    most: int,
    since_ns: Nanoseconds | None = None,
    until_ns: Nanoseconds | None = None,
) -> list[int]:
    """Returns the row numbers of at most `most` execs that a text names, in order.

    The times are for a pid alone: an id is unique in the history. A pid names the one program that it ran,
    though the kernel refused others before: a search along PATH leaves such attempts.
    """
    pid = pid_of(text)
    if pid is not None:
        wanted = Filter(pids=(pid,), since_ns=since_ns, until_ns=until_ns, limit=most)
        started = _numbers(connection, replace(wanted, kinds=_STARTED))
        return started if len(started) == 1 else _numbers(connection, wanted)
    key = decode_id(text)
    if key is not None:
        number = find.locate(connection, key)
        return [] if number is None else [number]
    keys = keys_from(text)
    return [] if keys is None else sorted(_beginning(connection, text.lower(), *keys))[:most]


def _numbers(connection: sqlite3.Connection, wanted: Filter) -> list[int]:
    return [found.number for found in find.find(connection, wanted)]


def _beginning(connection: sqlite3.Connection, text: str, first: ExecKey, last: ExecKey) -> Iterator[int]:
    """Yields row numbers of execs whose ids begin with a text, a thousand of each boot at most."""
    boots = connection.execute("SELECT DISTINCT lower(substr(boot_id, 1, 7)) FROM run").fetchall()
    for (boot,) in boots:
        prefix = int(boot, 16)
        if not first.boot <= prefix <= last.boot:
            continue
        values = {
            "boot": boot,
            "boot_ns": first.boot_ns if prefix == first.boot else 0,
            "last_ns": last.boot_ns if prefix == last.boot else _LATEST,
            "most": _MOST_LOOKED_AT,
        }
        for number, boot_ns, task in connection.execute(id_lookup.FIND_BETWEEN, values):
            if encode_id((prefix, boot_ns, task)).startswith(text):
                yield number
