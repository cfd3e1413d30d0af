"""Find the execs whose ids begin with a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.database import id_lookup
from execaudit.exec_id import encode_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from execaudit.exec_id import ExecKey

# All that are of one moment: a beginning that is longer leaves some of these.
_MOST_LOOKED_AT = 1000
# The last moment that an id can have.
_LATEST = 2**60 - 1


def beginning(connection: sqlite3.Connection, text: str, first: ExecKey, last: ExecKey) -> Iterator[int]:
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
