"""Make sealed histories, verify them, and change them as SQLite itself does."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from execaudit.seal import verify
from execaudit.seal.key_file import KeyFile, path_of
from execaudit.seal.keys import CHAIN_BYTES, KEY_BYTES, SealingKey, VerificationKey

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from execaudit.seal.chain import Head
    from execaudit.seal.verify import Result

KEY = VerificationKey(bytes(range(CHAIN_BYTES)), bytes(range(KEY_BYTES)))


def make_key(path: Path, key: VerificationKey = KEY) -> None:
    """Puts a sealing key beside a database, as `seal setup` does."""
    KeyFile(path_of(path)).make(SealingKey.new(key), owner=path.parent.stat())


def verified(
    path: Path,
    keys: Iterable[VerificationKey] = (KEY,),
    heads: Iterable[Head] = (),
    since_ns: int | None = None,
) -> Result:
    """Verifies a history in this process."""
    with contextlib.closing(
        sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    ) as connection:
        asked = verify.asked_of(connection, keys, heads)
        parts = verify.parts_of(connection, asked, since_ns, 3)
        found = [
            each for low, high in parts.ranges for each in verify.check_range(connection, asked, low, high)
        ]
        return verify.finish(connection, parts, map(verify.from_json, map(verify.to_json, found)))
