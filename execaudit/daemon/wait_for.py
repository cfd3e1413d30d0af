"""Which execs `execaudit forward` has shipped, so that the recorder deletes no others for their age."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from execaudit.store import prune_plan

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

DEFAULT_SHARE = 0.5
_LONGEST = 1000
_LAST = "SELECT CAST(value AS INTEGER) - 1 FROM meta WHERE key = 'next_id'"


class WaitFor(NamedTuple):
    """What is not to be deleted for its age."""

    path: Path
    """Where the forwarder writes what has arrived."""
    share: float
    """Of the limit: when what has not arrived takes more, it is deleted too."""


def arrived(path: Path, stream_id: bytes) -> int:
    """Returns up to which number the execs of a history have arrived. 0: none, or nothing is known.

    The file is another user's, who may write anything into it.
    """
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        # A pipe would never answer.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                said = json.loads(file.read(_LONGEST))
                return max(int(said["seq"]), 0) if said["stream"] == stream_id.hex() else 0
    return 0


def may_go(connection: sqlite3.Connection, wanted: WaitFor, max_bytes: int) -> int | None:
    """Returns up to which exec a pruning by age may go.

    None: all of them, because what has not arrived takes too much.
    """
    stream_id = connection.execute("SELECT value FROM meta WHERE key = 'stream_id'").fetchone()[0]
    last = connection.execute(_LAST).fetchone()[0]
    upto = min(arrived(wanted.path, stream_id), last)
    every, waiting = connection.execute(
        "SELECT coalesce(sum(id_hi - id_lo + 1), 0), coalesce(sum(max(id_hi - max(id_lo - 1, ?), 0)), 0) FROM seg",
        (upto,),
    ).fetchone()
    if every and prune_plan.used_bytes(connection) * waiting / every > wanted.share * max_bytes:
        return None
    # A pruning judges the rows of `seg` as a whole.
    whole = connection.execute("SELECT max(id_hi) FROM seg WHERE id_hi <= ?", (upto,)).fetchone()[0]
    return int(whole or 0)
