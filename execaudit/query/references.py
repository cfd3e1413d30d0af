"""Find the execs that somebody names: by an id, by its beginning, or by a pid."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from execaudit.enums import Kind
from execaudit.exec_id import decode_id, keys_from
from execaudit.query.filter import Filter

if TYPE_CHECKING:
    from execaudit.event import Nanoseconds
    from execaudit.query.history import History

_PID = re.compile(r"pid:([0-9]{1,9})")
_STARTED = (Kind.EXEC, Kind.SNAPSHOT)


def pid_of(text: str) -> int | None:
    """Returns the pid of a reference such as `pid:7`; None if it is an id, or the beginning of one."""
    found = _PID.fullmatch(text)
    return None if found is None else int(found[1])


def named(
    history: History,
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
        started = _numbers(history, replace(wanted, kinds=_STARTED))
        return started if len(started) == 1 else _numbers(history, wanted)
    key = decode_id(text)
    if key is not None:
        number = history.locate(key)
        return [] if number is None else [number]
    keys = keys_from(text)
    return [] if keys is None else sorted(history.beginning(text.lower(), *keys))[:most]


def _numbers(history: History, wanted: Filter) -> list[int]:
    return [found.number for found in history.find(wanted)]
