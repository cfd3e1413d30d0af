"""Make sealed histories, verify them, and change them as SQLite itself does."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

from execaudit.seal import indexes, shares, verify
from execaudit.seal.key_file import KeyFile, path_of
from execaudit.seal.keys import CHAIN_BYTES, KEY_BYTES, SealingKey, VerificationKey
from execaudit.seal.rows import Rows
from execaudit.store.writer import Store
from tests.histories import at, begin_run, make_event

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
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
        parts = verify.parts_of(connection, asked, since_ns)
        plan = shares.plan(connection, parts, children=3)
        rows = Rows(connection)
        found = [
            each
            for part in plan.parts
            for _, each in shares.check(connection, rows, asked, part, is_whole=plan.is_whole)
        ]
        result = verify.finish(connection, parts, map(verify.from_json, found))
        result.problems += indexes.counters(connection)
        return result


def sealed_history(path: Path, batches: int, *, size: int = 3, key: VerificationKey | None = KEY) -> Path:
    """Records so many batches of execs, with a key or without. Returns the path."""
    if key is not None:
        make_key(path, key)
    with Store(path) as store:
        begin_run(store)
        go_on(store, batches, size=size)
        store.end_run(at(10_000_000))
    return path


def go_on(store: Store, batches: int, *, size: int = 3, after: int = 0) -> None:
    """Stores so many batches of execs, whose command lines differ."""
    for batch in range(after, after + batches):
        numbers = range(batch * size, (batch + 1) * size)
        store.append(
            [make_event(b"run", b"%d" % number, seconds=number, pid=1 + number) for number in numbers]
        )


@contextlib.contextmanager
def changing(path: Path) -> Iterator[sqlite3.Connection]:
    """Opens a history as any other program does, and commits."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        yield connection


def change(path: Path, sql: str, *values: Any) -> None:  # noqa: ANN401  # SQLite's
    """Changes a history behind the recorder's back. Something must change."""
    with changing(path) as connection:
        assert connection.execute(sql, values).rowcount
