"""The write side of the history: open and append. Nothing is read here for a user."""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import sqlalchemy as sa

from execaudit.database import files, schema
from execaudit.database.imports import VERSION_BEGINNING
from execaudit.database.url import DEFAULT_DATABASE
from execaudit.database.writer_lock import WriterLock
from execaudit.errors import FullStoreError, LockedStoreError, StoreError
from execaudit.event import Nanoseconds
from execaudit.store import earlier, engine, hits, imported, migrate
from execaudit.store.argv_index import Indexing
from execaudit.store.inserts import Inserts
from execaudit.store.sealing import Sealer
from execaudit.system import clock

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from execaudit.event import Earlier, ExecEvent, ExitEvent, Gap, Hit, HuntRule
    from execaudit.store.imported import Covered
    from execaudit.store.migrate import Progress
    from execaudit.system.procfs import Running

_Result = TypeVar("_Result")

# While recording, batches wait in memory for a lock to be released, and not the thread.
_WRITE_BUSY = "PRAGMA busy_timeout = 1000"
_RUN = schema.run.c
# Not what an import made.
_RECORDED = ~_RUN.version.startswith(VERSION_BEGINNING)
_SEEN = "UPDATE run SET seen_ns = ? WHERE id = ?"


@dataclass(frozen=True, kw_only=True)
class Run:
    """A recorder, as it stands in the history."""

    boot_id: str
    host: str
    version: str
    started_ns: Nanoseconds


class Store:
    """The history, open for writing by this process alone."""

    def __init__(self, path: Path, *, durable: bool = False, progress: Progress = migrate.silent) -> None:
        """Opens or makes the database, locks out a second writer, migrates.

        `durable`: what append() has stored survives a power cut as well. `progress`, of a migration:
        see migrate.upgrade(); it may be called in a child. Raises StoreError, DamagedStoreError.
        """
        self._path = path
        self._progress = progress
        self._durable = durable
        self._run: Run | None = None
        self._run_id: int | None = None
        self._continued: tuple[int, ...] = ()
        self._is_broken = False
        self._opened = self._open()

    def _open(self) -> contextlib.ExitStack:
        self._check_place()
        with contextlib.ExitStack() as opened:
            lock = WriterLock(self._path)
            opened.callback(lock.release)
            try:
                # Command lines hold secrets; SQLite would make a file that everybody reads.
                fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
                self._identity = engine.identity_of(os.fstat(fd))
                os.close(fd)
            except OSError as exc:
                raise StoreError(
                    f"cannot write {self._path}: {exc.strerror}", fix="name another file with --db"
                ) from exc
            with files.translated(f"cannot open {self._path}", is_ours=False):
                # A fork has only the thread that forks: not in a process that has others.
                if threading.active_count() == 1 and migrate.is_needed(self._path):
                    migrate.in_child(
                        self._path, self._identity, durable=self._durable, progress=self._progress
                    )
                self._connection = engine.connect(self._path, durable=self._durable)
                opened.callback(engine.disconnect, self._connection, self._path, self._identity)
                migrate.to_newest(self._connection, self._progress)
                # Seals each transaction. Whoever writes in maintain() uses it too.
                self.sealer = Sealer(self._path)
                self.sealer.seal_old(engine.driver_of(self._connection), self._progress)
                self._connection.rollback()
                self._inserts, self._indexing = Inserts(self._connection), Indexing()
                self._load()
                self._rules: dict[HuntRule, int] = {}
                self._connection.exec_driver_sql(_WRITE_BUSY)
                self._connection.rollback()
            self._is_broken = False
            return opened.pop_all()

    def _check_place(self) -> None:
        path = self._path
        try:
            if str(path) == DEFAULT_DATABASE:
                path.parent.mkdir(mode=0o750, exist_ok=True)
            if path.is_dir():
                raise StoreError(f"cannot open {path}: it is a folder", fix="name a file in it with --db")
            if not path.parent.is_dir():
                raise StoreError(
                    f"cannot open {path}: the folder {path.parent} does not exist",
                    fix="make it, or name another file with --db",
                )
        except OSError as exc:
            raise StoreError(
                f"cannot open {path}: {exc.strerror}", fix="run it as root, or name another file with --db"
            ) from exc

    def _load(self) -> None:
        with self._connection.begin():
            self._inserts.load()
        self._loaded = True

    def earlier(self, boot_id: str, processes: Iterable[Running]) -> dict[int, Earlier]:
        """Returns what earlier recorders of this boot stored of processes that run, by pid."""
        with files.translated(f"cannot read {self._path}", is_ours=True):
            found = earlier.find(engine.driver_of(self._connection), boot_id, processes)
            self._connection.rollback()
        return found

    def begin_run(self, run: Run, continued: Iterable[int] = ()) -> Nanoseconds | None:
        """Notes that a recorder starts; its events come next.

        `continued` are the rows of earlier execs that run still. Returns until when (wall clock) the last
        recorder of the same boot has stored what it captured, None if there was none.
        """
        with self._sealed() as runs:
            last = self._last_seen(run.boot_id)
            inserted = self._connection.execute(
                schema.run.insert().values(
                    boot_id=run.boot_id, host=run.host, version=run.version, started_ns=run.started_ns
                )
            )
            key = inserted.inserted_primary_key
            if key is None:
                raise AssertionError("SQLite gave no rowid")
            earlier.note(engine.driver_of(self._connection), int(key[0]), continued)
            runs.append(int(key[0]))
        self._run, self._run_id, self._continued = run, int(key[0]), tuple(continued)
        self._inserts.begin_run(self._run_id, run.boot_id)
        return last

    def append_imported(
        self,
        covered: Covered,
        events: Iterable[ExecEvent],
        gaps: Sequence[Gap] = (),
        exits: Iterable[ExitEvent] = (),
    ) -> None:
        """Stores what was recorded elsewhere, all of it or none: execs, gaps and ends of one boot.

        `covered` is when that boot was recorded, as far as is known by now. Raises StoreError.
        """
        with files.translated(f"cannot write {self._path}", is_ours=True):
            if not self._loaded:
                self._load()
            self._loaded = False
            with self._sealed() as runs:
                self._inserts.refresh()
                self._run_id = imported.run_of(engine.driver_of(self._connection), covered)
                runs.append(self._run_id)
                self._inserts.go_on(self._run_id, covered.boot_id)
                self._inserts.insert(events, exits)
                if gaps:
                    self._insert_gaps(gaps)
            self._loaded = True

    def _last_seen(self, boot_id: str) -> Nanoseconds | None:
        """Returns until when recorders of a boot have stored what they captured."""
        of_boot = sa.select(sa.func.coalesce(_RUN.stopped_ns, _RUN.seen_ns)).where(
            _RUN.boot_id == boot_id, _RECORDED
        )
        # One that was killed before it stored anything has not even stored the gap before it.
        last = self._connection.execute(
            of_boot.where(_RUN.stopped_ns.is_not(None) | _RUN.seen_ns.is_not(None))
            .order_by(_RUN.id.desc())
            .limit(1)
        ).scalar()
        if last is None:
            last = self._connection.execute(
                sa.select(sa.func.min(_RUN.started_ns)).where(_RUN.boot_id == boot_id, _RECORDED)
            ).scalar()
        return None if last is None else Nanoseconds(last)

    def recorded_until(self) -> Nanoseconds | None:
        """Returns until when (wall clock) the last recorder has stored; None: there was none."""
        ends = sa.func.coalesce(_RUN.stopped_ns, _RUN.seen_ns, _RUN.started_ns)
        with files.translated(f"cannot read {self._path}", is_ours=True), self._connection.begin():
            last = self._connection.execute(
                sa.select(ends).where(_RECORDED).order_by(_RUN.id.desc()).limit(1)
            ).scalar()
        return None if last is None else Nanoseconds(last)

    def append(
        self,
        events: Iterable[ExecEvent],
        gaps: Sequence[Gap] = (),
        exits: Iterable[ExitEvent] = (),
        *,
        seen_ns: Nanoseconds | None = None,
    ) -> None:
        """Stores events, gaps and ends of the run, durable when it returns, all of them or none.

        `seen_ns`: with them, all that was captured until then (wall clock) is stored. Raises
        StoreError; the caller may try the same again, after reopen() if it is not current then.
        """
        try:
            self._append(events, gaps, exits, seen_ns)
        except (FullStoreError, LockedStoreError):
            raise  # that goes away by itself
        except StoreError:
            # A fault of a file system stays with the open files, so they must be opened again.
            self._is_broken = True
            raise

    def _append(
        self,
        events: Iterable[ExecEvent],
        gaps: Sequence[Gap],
        exits: Iterable[ExitEvent],
        seen_ns: Nanoseconds | None,
    ) -> None:
        with files.translated(f"cannot write {self._path}", is_ours=True):
            if not self._loaded:
                self._load()
            # Until the commit, what is remembered speaks of rows that may never be there.
            self._loaded = False
            with self._sealed() as runs:
                self._inserts.refresh()
                self._inserts.insert(events, exits)
                if gaps:
                    self._insert_gaps(gaps)
                if self._run_id is not None:
                    runs.append(self._run_id)
                if seen_ns is not None:
                    self._connection.exec_driver_sql(_SEEN, (seen_ns, self._run_id))
            self._loaded = True

    @contextlib.contextmanager
    def _sealed(self) -> Iterator[list[int]]:
        """A transaction that is sealed before it is committed. Gives a list for the runs that it changes."""
        runs: list[int] = []
        driver = engine.driver_of(self._connection)
        with (
            files.translated(f"cannot write {self._path}", is_ours=True),
            self.sealer.around(),
            self._connection.begin(),
        ):
            self.sealer.begin(driver)
            self._inserts.sealed = []
            yield runs
            for first, hashes in self._inserts.sealed:
                self.sealer.add_execs(first, hashes)
            self.sealer.seal(driver, runs)

    def begin_hunting(self) -> None:
        """Notes that detection rules are run on what is stored from now on. Raises StoreError."""
        with self._sealed():
            hits.begin(self._connection)

    def append_hits(self, found: Iterable[Hit], hunted: int) -> None:
        """Stores hits, and that detection rules were run on all execs up to the row `hunted`, or nothing.

        Raises StoreError.
        """
        known = dict(self._rules)
        with self._sealed():
            hits.insert(self._connection, found, hunted, known)
        self._rules = known

    def check(self, events: Sequence[ExecEvent], exits: Sequence[ExitEvent] = ()) -> None:
        """Raises what append() would raise of these; stores nothing."""
        with files.translated(f"cannot write {self._path}", is_ours=True):
            if not self._loaded:
                self._load()
            self._loaded = False
            with contextlib.closing(self._connection.begin()):
                self._inserts.refresh()
                self._inserts.insert(events, exits)

    def is_current(self) -> bool:
        """Says whether the next append goes to the file that is at the path."""
        return not self._is_broken and engine.is_at(self._path, self._identity)

    def reopen(self) -> tuple[Nanoseconds, Nanoseconds] | None:
        """Opens what is at the path now, or makes it. The run goes on: there, or as a new one.

        Returns the times (wall clock) between which the run's execs are not in that history;
        None if it is the one that was open. Raises StoreError; then to be called again.
        """
        self._is_broken = True
        run, run_id, identity = self._run, self._run_id, self._identity
        self._opened.close()
        self._opened = self._open()
        if run is None:
            return None
        with files.translated(f"cannot read {self._path}", is_ours=True):
            known = self._connection.execute(
                sa.select(_RUN.id, sa.func.coalesce(_RUN.seen_ns, _RUN.started_ns)).where(
                    _RUN.id == run_id, _RUN.boot_id == run.boot_id, _RUN.started_ns == run.started_ns
                )
            ).first()
            self._connection.rollback()
        now_ns = clock.wall_ns()
        if known is not None:
            self._inserts.begin_run(known[0], run.boot_id)
            # A copy of an earlier day knows the run, and not all of it.
            return None if self._identity == identity else (Nanoseconds(known[1]), now_ns)
        since_ns = self.begin_run(replace(run, started_ns=now_ns))
        return (run.started_ns if since_ns is None else since_ns), now_ns

    def index(self) -> bool:
        """Indexes a little of what is stored. Returns whether there was anything to do. Raises StoreError."""
        return self.maintain(lambda connection: self._indexing.step(connection, self.sealer))

    def maintain(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Calls `work` with the connection, in autocommit mode, between two appends. Raises StoreError."""
        try:
            with files.translated(f"cannot write {self._path}", is_ours=True):
                return work(engine.driver_of(self._connection))
        finally:
            self._connection.rollback()

    def _insert_gaps(self, gaps: Sequence[Gap]) -> None:
        self._connection.execute(
            schema.gap.insert(),
            [
                {
                    "run_id": self._run_id,
                    "ts_from": gap.from_ns,
                    "ts_to": gap.to_ns,
                    "reason": gap.reason.value,
                    "count": gap.count,
                    "exits": gap.exits,
                    "uid": gap.uid,
                }
                for gap in gaps
            ],
        )

    def rename(self, host: str) -> None:
        """Begins a new run with this host's name; all later events belong to it. Raises StoreError."""
        if self._run is None:
            raise AssertionError("no run has begun")
        now_ns = clock.wall_ns()
        # Two transactions: a reader between them sees a recorder that has stopped.
        self.end_run(now_ns)
        self.begin_run(replace(self._run, host=host, started_ns=now_ns), self._continued)

    def end_run(self, stopped_ns: Nanoseconds) -> None:
        """Notes the orderly stop."""
        with self._sealed() as runs:
            if self._run_id is not None:
                runs.append(self._run_id)
            self._connection.execute(
                schema.run.update().where(schema.run.c.id == self._run_id).values(stopped_ns=stopped_ns)
            )

    def close(self) -> None:
        """Leaves one file that readers need no write access for, and lets the next writer in."""
        self._opened.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
