"""Seal what a transaction wrote, in that transaction: an entry with the hashes of the new rows.

Whoever writes to a history does this: the recorder, an import, `db prune`, `seal setup`. What a Sealer knows
is in the database and in the key file; it reads them again when another process has written.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from execaudit.database import transaction as plain
from execaudit.database.sealed_streams import Stream
from execaudit.enums import ChainReason
from execaudit.seal import chain, tree
from execaudit.seal.chain import NOTHING, Added, ChainRow, Cursors, Entry, Link, RunState
from execaudit.seal.key_file import KeyFile, LostKeyError, path_of
from execaudit.seal.keys import CHAIN_BYTES
from execaudit.seal.newest import Newest
from execaudit.seal.rows import TABLES, Rows
from execaudit.seal.segments import COLUMNS, read_segment
from execaudit.store.removal import Removal
from execaudit.system import clock

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from execaudit.seal.keys import SealingKey

# A segment's row is written anew with each entry, so it stays below a page of the database.
_MOST_ENTRIES, _MOST_ROWS, _MOST_BYTES = 64, 4096, 1500
# Rows of a stream that one entry covers. A transaction has fewer, except when an old history is sealed.
_MOST_IN_ENTRY = 4000
_LAST = f"SELECT {COLUMNS} FROM seal ORDER BY id DESC LIMIT 1"  # noqa: S608  # ours
_CHAIN = "SELECT id, chain, is_keyed, reason, begun_ns FROM seal_chain ORDER BY id DESC LIMIT 1"
_NEW_CHAIN = "INSERT INTO seal_chain (chain, is_keyed, reason, begun_ns) VALUES (?, ?, ?, ?)"
_PUT = f"INSERT OR REPLACE INTO seal ({COLUMNS}) VALUES ({', '.join('?' * len(COLUMNS.split(',')))})"  # noqa: S608  # ours
_RUN = "SELECT id, started_ns, stopped_ns, seen_ns FROM run WHERE id = ?"
_HUNTED = "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'hunted'"
_IS_OLD = "SELECT (SELECT count(*) FROM seal) = 0 AND EXISTS (SELECT 1 FROM exec) OR EXISTS (SELECT 1 FROM meta WHERE key = 'sealing_older')"
_US = 1000


@dataclass
class _State:
    """Where the chain stands."""

    chain: ChainRow | None
    segment: int
    begins: Entry
    """What the segment's first entry follows."""
    start: Cursors
    entries: bytes
    streams: dict[Stream, bytes]
    link: Link
    last: Entry
    cursors: Cursors
    count: int
    rows: int
    runs: dict[int, RunState]

    def copy(self) -> _State:
        """Returns a copy that a transaction may change."""
        return replace(self, streams=dict(self.streams), cursors=Cursors(self.cursors), runs=dict(self.runs))


class Sealer:
    """The seals of one history."""

    def __init__(self, path: Path) -> None:
        """Takes the path of the database, whose key file is beside it."""
        self._path = path
        self._file = KeyFile(path_of(path))
        self._opened = contextlib.ExitStack()
        self._handle: int | None = None
        self._key: SealingKey | None = None
        """As it was written last: should the file be lost while this process runs, it is made again."""
        self._next_key: SealingKey | None = None
        self._state: _State | None = None
        self._committed: _State | None = None
        self._version: int | None = None
        self._execs: list[tuple[int, int, list[bytes]]] = []
        self._skipped: tuple[Added, ...] = ()
        """Rows that somebody added without a seal, until an entry leaves them out."""

    @contextlib.contextmanager
    def transaction(
        self, connection: sqlite3.Connection, *, runs: Iterable[int] = (), always: bool = False
    ) -> Iterator[None]:
        """A transaction in a connection in autocommit mode, with its seal.

        `always`: see seal().
        """
        with self.around(), plain.transaction(connection):
            self.begin(connection)
            yield
            self.seal(connection, runs, always=always)

    @contextlib.contextmanager
    def around(self) -> Iterator[None]:
        """Around a transaction that calls begin() first, seal() last. After the commit the key moves on."""
        self._execs = []
        try:
            yield
            self._commit()
        finally:
            self._state = self._next_key = None
            self._handle = None
            self._opened.close()

    def begin(self, connection: sqlite3.Connection) -> None:
        """Looks what others wrote meanwhile. Rows that they did not seal stay so: `verify` shows them."""
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        if self._committed is None or version != self._version:
            self._committed = _load(connection)
            if self._committed.chain is not None and not _is_old(connection):
                self._skipped = tuple(_unsealed(connection, self._committed.cursors))
            self._version = version
        self._state = self._committed.copy()

    def add_execs(self, first: int, hashes: list[bytes]) -> None:
        """Takes the hashes of execs that the transaction writes, with numbers from `first` on."""
        self._execs.append((first, first + len(hashes) - 1, hashes))

    def seal(self, connection: sqlite3.Connection, runs: Iterable[int] = (), *, always: bool = False) -> None:
        """Seals what is new, and what changed of these runs. Raises StoreError if the key may not be used.

        `always`: also if that is nothing, so that the chain of a new key begins.
        """
        state = self._state
        if state is None:
            raise AssertionError("begin() comes first")
        rows = Rows(connection)
        found = [RunState(*row) for run in runs for row in connection.execute(_RUN, (run,))]
        changed = tuple(run for run in found if state.runs.get(run.run_id) != run)
        if self._skipped:
            self._put(connection, state, (), self._skipped, [tree.EMPTY] * len(self._skipped))
        while True:
            added, roots = self._added(connection, state.cursors, rows)
            if not added and not changed and not always:
                return
            self._put(connection, state, changed, added, roots)
            changed, always = (), False

    def _added(
        self, connection: sqlite3.Connection, cursors: Cursors, rows: Rows
    ) -> tuple[tuple[Added, ...], list[bytes]]:
        """Returns what is new in each stream, and the hash of its rows."""
        added: list[Added] = []
        roots: list[bytes] = []

        def add(stream: Stream, first: int, last: int, hashes: list[bytes]) -> None:
            added.append(Added(stream, first, last, len(hashes)))
            roots.append(tree.root(hashes))

        if self._execs:
            hashes = [each for *_, some in self._execs for each in some]
            add(Stream.EXEC, self._execs[0][0], self._execs[-1][1], hashes)
            self._execs = []
        for stream in TABLES:
            if stream is Stream.HIT:
                row = connection.execute(_HUNTED).fetchone()
                if row is not None and row[0] > cursors[stream]:
                    low = cursors[stream] + 1
                    add(stream, low, row[0], [each for _, each in rows.hashes(stream, low, row[0])])
                continue
            new = rows.hashes(stream, cursors[stream] + 1, _MOST_NUMBER, _MOST_IN_ENTRY)
            if new:
                add(stream, new[0][0], new[-1][0], [each for _, each in new])
        return tuple(added), roots

    def _put(
        self,
        connection: sqlite3.Connection,
        state: _State,
        runs: tuple[RunState, ...],
        added: tuple[Added, ...],
        roots: list[bytes],
    ) -> None:
        """Writes an entry."""
        key = self._key_for(connection, state)
        epoch = state.last.epoch + 1 if key is None else key.epoch
        if state.count >= _MOST_ENTRIES or state.rows >= _MOST_ROWS or len(state.entries) >= _MOST_BYTES:
            _next_segment(state)
        if state.chain is None:
            raise AssertionError("a chain has begun")
        if not state.count:
            state.link = state.link._replace(
                hash=chain.segment_hash(
                    state.link.hash, state.segment, state.chain, state.begins, state.start
                )
            )
        entry = Entry(epoch, clock.wall_ns() // _US, runs, added)
        raw = chain.to_bytes(entry, state.last, state.cursors)
        digest = chain.entry_hash(state.link.hash, raw, roots)
        code = None if key is None else chain.entry_code(key.take(), state.link.code or NOTHING, digest)
        state.link = Link(digest, code)
        chain.advance(state.cursors, entry)
        for each, root in zip(added, roots, strict=True):
            state.streams[each.stream] = chain.stream_hash(state.streams.get(each.stream, NOTHING), root)
        state.entries, state.last = state.entries + raw, entry
        state.count, state.rows = state.count + 1, state.rows + sum(each.rows for each in added)
        state.runs |= {run.run_id: run for run in runs}
        connection.execute(
            _PUT,
            (
                state.segment, state.chain.number, state.begins.epoch, state.begins.at_us,
                *(state.cursors[stream] for stream in Stream), state.entries, chain.streams_to_bytes(state.streams),
                digest, code,
            ),
        )  # fmt: skip

    def _key_for(self, connection: sqlite3.Connection, state: _State) -> SealingKey | None:
        """Returns the key for the next entry, None: the chain has none. Begins a new chain if need be."""
        if self._next_key is not None:
            return self._next_key
        current = state.chain
        if self._file.exists() or (current is not None and current.is_keyed):
            try:
                key = self._read(current)
            except LostKeyError:
                key = None
        else:
            key = None
        if key is None:
            if current is None or current.is_keyed:
                reason = ChainReason.BEGUN if current is None else ChainReason.KEY_LOST
                self._new_chain(connection, state, os.urandom(CHAIN_BYTES), reason)
            return None
        if current is None or not current.is_keyed or current.id != key.chain:
            reason = (
                ChainReason.BEGUN
                if current is None
                else ChainReason.OTHER_KEY
                if current.is_keyed
                else ChainReason.SETUP
            )
            self._new_chain(connection, state, key.chain, reason, epoch=key.epoch)
        elif key.epoch <= state.last.epoch:
            key.go_to(state.last.epoch + 1)
        self._next_key = key
        return key

    def _read(self, current: ChainRow | None) -> SealingKey:
        """Returns the key in the file, which stays locked. Raises LostKeyError, StoreError."""
        try:
            self._handle = self._opened.enter_context(self._file.locked())
            return self._file.read(self._handle)
        except LostKeyError:
            if self._key is None or current is None or self._key.chain != current.id:
                raise
            self._file.make(self._key, owner=self._path.stat())
            self._handle = self._opened.enter_context(self._file.locked())
            return self._file.read(self._handle)

    def _new_chain(
        self,
        connection: sqlite3.Connection,
        state: _State,
        number: bytes,
        reason: ChainReason,
        *,
        epoch: int | None = None,
    ) -> None:
        """Begins a chain in a segment of its own; `epoch` is its key's, None: it has no key."""
        is_keyed = epoch is not None
        begun_ns = clock.wall_ns()
        cursor = connection.execute(_NEW_CHAIN, (number, is_keyed, reason.value, begun_ns))
        if cursor.lastrowid is None:
            raise AssertionError("SQLite gave no rowid")
        if epoch is not None:
            state.last = state.last._replace(epoch=epoch - 1)
        state.chain = ChainRow(cursor.lastrowid, number, int(is_keyed), reason.value, begun_ns)
        state.link = state.link._replace(code=None)
        _next_segment(state)

    def _commit(self) -> None:
        """Notes that the transaction is committed, and forgets the keys that it used."""
        if self._state is not None:
            self._committed, self._skipped = self._state, ()
        if self._next_key is not None and self._handle is not None:
            with contextlib.suppress(OSError):  # the next key is got from this one
                self._file.write(self._handle, self._next_key)
            self._key = self._next_key

    def newest(self) -> Newest | None:
        """Returns the newest seal that is committed; None: nothing is sealed."""
        state = self._committed
        if state is None or state.chain is None or not state.count:
            return None
        head = chain.head(state.chain.id, state.last.epoch, state.link.hash)
        return Newest(state.chain, state.last.at_ns, head, state.cursors)

    def seal_old(self, connection: sqlite3.Connection, progress: Callable[[str, int, int], object]) -> None:
        """Seals what was recorded before histories were sealed, in steps. Who is killed goes on.

        Takes a connection in autocommit mode.
        """
        if not connection.execute(_IS_OLD).fetchone()[0]:
            return
        whole = connection.execute("SELECT max(id) FROM exec").fetchone()[0] or 0
        while True:
            with self.around(), plain.transaction(connection):
                self.begin(connection)
                state = self._state
                if state is None:
                    raise AssertionError("begin() made it")
                if state.chain is None:
                    self._new_chain(connection, state, os.urandom(CHAIN_BYTES), ChainReason.OLDER)
                    connection.execute("INSERT INTO meta (key, value) VALUES ('sealing_older', x'31')")
                low = state.cursors[Stream.EXEC] + 1
                rows = Rows(connection)
                first = connection.execute("SELECT min(id) FROM exec WHERE id >= ?", (low,)).fetchone()[0]
                if first is None:
                    if connection.execute("SELECT EXISTS (SELECT 1 FROM pruned)").fetchone()[0]:
                        Removal(connection).finish(clock.wall_ns(), ChainReason.OLDER.value)
                    self.seal(connection, [row[0] for row in connection.execute("SELECT id FROM run")])
                    connection.execute("DELETE FROM meta WHERE key = 'sealing_older'")
                    return
                found = rows.hashes(Stream.EXEC, first, _MOST_NUMBER, _MOST_IN_ENTRY)
                self._execs.append((first, found[-1][0], [each for _, each in found]))
                self.seal(connection)
            progress("sealing", low, whole)


_MOST_NUMBER = 2**63 - 1


def _is_old(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute(_IS_OLD).fetchone()[0])


def _load(connection: sqlite3.Connection) -> _State:
    """Returns where the chain stands in the database."""
    row = connection.execute(_CHAIN).fetchone()
    known = None if row is None else ChainRow(*row)
    row = connection.execute(_LAST).fetchone()
    if row is None:
        nothing = Link(NOTHING, None)
        return _State(
            known, 1, chain.BEFORE_ALL, Cursors(), b"", {}, nothing, chain.BEFORE_ALL, Cursors(), 0, 0, {}
        )
    segment = read_segment(connection, row)
    cursors, last, count, rows = Cursors(segment.start), segment.begins, 0, 0
    runs: dict[int, RunState] = {}
    try:
        for _, entry in chain.entries(segment.entries, segment.begins, cursors):
            last, count = entry, count + 1
            rows += sum(each.rows for each in entry.added)
            runs |= {run.run_id: run for run in entry.runs}
        streams = chain.streams_from_bytes(segment.streams)
    except (ValueError, IndexError):
        # Somebody changed it, and `verify` says so. What comes is sealed in the next segment, after all
        # epochs that this one can have had.
        last = segment.begins._replace(epoch=segment.begins.epoch + _MOST_ENTRIES)
        streams, cursors, count, runs = {}, Cursors(segment.ends), _MOST_ENTRIES, {}
    return _State(
        known, segment.number, segment.begins, segment.start, segment.entries, streams, segment.link, last,
        cursors, count, rows, runs,
    )  # fmt: skip


def _next_segment(state: _State) -> None:
    state.segment += state.count > 0
    state.begins, state.start = state.last._replace(runs=(), added=()), Cursors(state.cursors)
    state.entries, state.streams, state.count, state.rows = b"", {}, 0, 0


def _unsealed(connection: sqlite3.Connection, cursors: Cursors) -> Iterator[Added]:
    """Yields the rows that somebody added without a seal, as ranges of no rows: nobody vouches for them."""
    tables = {Stream.EXEC: "exec"} | {stream: table for stream, (table, _) in TABLES.items()}
    del tables[Stream.HIT]
    for stream, table in tables.items():
        last = connection.execute(f"SELECT max(id) FROM {table}").fetchone()[0]  # noqa: S608  # ours
        if last is not None and last > cursors[stream]:
            yield Added(stream, cursors[stream] + 1, last, 0)
