"""The write side of the history: open, migrate, append. Nothing is read here for a user."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections import OrderedDict
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from execaudit import schema
from execaudit.codes import KINDS, TRUNCATIONS
from execaudit.errors import StoreError, store_error
from execaudit.location import DEFAULT_DATABASE
from execaudit.lock import WriterLock
from execaudit.reader import schema_revision

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

    from execaudit.event import ExecEvent, Gap, Nanoseconds

# So many execs are inserted in one go, and a row of `seg` covers about as many.
BATCH_EVENTS = 2000
# Entries of each dictionary that the writer remembers. What it forgets is stored once
# more when it comes again: measured at 9 % more lines, without any random reads.
_REMEMBERED = 65_536
# Longer values are nearly always unique; remembering them would only hold memory.
_LONGEST_REMEMBERED = 1024

_PRAGMAS = (
    # Readers never make the recorder wait, and the reverse.
    "PRAGMA journal_mode = WAL",
    # A commit survives the death of the process; a power cut may cost the last ones.
    "PRAGMA synchronous = NORMAL",
    "PRAGMA cache_size = -65536",
    "PRAGMA temp_store = MEMORY",
    # The WAL shrinks back to this after a long read kept it from being checkpointed.
    "PRAGMA journal_size_limit = 67108864",
)
_BUSY_SECONDS = 5

_INSERT_EXEC = (
    "INSERT INTO exec (id, ts, clock_id, kind, pid, tid, ppid, uid, euid, gid, user_id, comm_id,"
    " filename_id, exe_id, cwd_id, argv_id, errno, truncated)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_KIND_CODE = {kind: code for code, kind in enumerate(KINDS)}
_TRUNCATION_CODE = {reason: code for code, reason in enumerate(TRUNCATIONS)}


@dataclass(frozen=True, kw_only=True)
class Run:
    """A recorder, as it stands in the history."""

    boot_id: str
    host: str
    version: str
    started_ns: Nanoseconds


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turns database errors into StoreError, cause kept; lets our own mistakes through.

    Raises DamagedStoreError where SQLite says that the file is damaged.
    """
    try:
        yield
    except (sa.exc.IntegrityError, sa.exc.ProgrammingError):
        raise  # ours to fix: keep the traceback
    except sa.exc.DatabaseError as exc:
        raise store_error(doing, str(exc.orig)) from exc
    except UnicodeDecodeError as exc:  # of SQLite's own message, which quotes what is damaged
        raise store_error(doing, "malformed text") from exc


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path.absolute(),  # no name is special then, not even :memory:
        timeout=_BUSY_SECONDS,
        # The driver would open transactions by itself, and none around DDL: migrations must be one.
        isolation_level=None,
        check_same_thread=False,  # one thread at a time, but not the one that opened
    )
    try:
        _refuse_others(connection, path)
        for pragma in _PRAGMAS:
            connection.execute(pragma)
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_others(connection: sqlite3.Connection, path: Path) -> None:
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and schema_revision(connection) is None:
        raise StoreError(f"{path} is no execaudit history but another program's: name another file with --db")


def _engine(path: Path) -> sa.Engine:
    engine = sa.create_engine("sqlite://", creator=lambda: _connect(path), poolclass=sa.pool.NullPool)

    @sa.event.listens_for(engine, "begin")
    def _on_begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def migrations_dir() -> Path:
    """Returns the folder of the migrations: in the installed package, or in a checkout."""
    packaged = Path(__file__).parent / "_migrations"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "migrations"


def migrate(connection: sa.Connection) -> None:
    """Brings the schema to the newest revision, in one transaction that the caller commits.

    Raises StoreError when the database was made by a newer execaudit.
    """
    from alembic import command, util  # noqa: PLC0415  # 0.3 s, and most starts need it once
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(migrations_dir()))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except util.CommandError as exc:
        raise StoreError(
            f"cannot migrate the database: {exc}: install the newer execaudit that made it"
        ) from exc


class _Dictionary:
    """One interned column: value to id, append-only, deduplicated by this cache alone."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._known: OrderedDict[bytes, int] = OrderedDict()
        self._next = 1
        self._new: list[tuple[int, bytes]] = []

    def load(self, connection: sa.Connection) -> None:
        """Forgets everything, and goes on after the last id."""
        self._known.clear()
        self._new.clear()
        last = connection.exec_driver_sql(f"SELECT max(id) FROM {self._table}").scalar()  # noqa: S608  # ours
        self._next = (last or 0) + 1

    def id_of(self, value: bytes | None) -> int | None:
        """Returns the id of a value; None for None."""
        if value is None:
            return None
        known = self._known.get(value)
        if known is not None:
            self._known.move_to_end(value)
            return known
        number = self._next
        self._next += 1
        self._new.append((number, value))
        if len(value) <= _LONGEST_REMEMBERED:
            self._known[value] = number
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return number

    def flush(self, connection: sa.Connection) -> None:
        """Writes the values that are new."""
        if self._new:
            connection.exec_driver_sql(
                f"INSERT INTO {self._table} (id, v) VALUES (?, ?)",  # noqa: S608  # ours
                self._new,
            )
            self._new = []


class Store:
    """The history, open for writing by this process alone."""

    def __init__(self, path: Path) -> None:
        """Opens or makes the database, locks out a second writer, migrates.

        Raises StoreError, DamagedStoreError.
        """
        self._path = path
        self._run_id: int | None = None
        self._comm, self._paths = _Dictionary("comm"), _Dictionary("path")
        self._argv, self._users = _Dictionary("argv"), _Dictionary("user")
        self._check_place()
        with contextlib.ExitStack() as opened:
            lock = WriterLock(path)
            opened.callback(lock.release)
            try:
                # Command lines hold secrets; SQLite would make a file that everybody reads.
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
            except OSError as exc:
                raise StoreError(f"cannot write {path}: {exc.strerror}: name another file with --db") from exc
            with translated(f"cannot open {path}"):
                self._connection = _engine(path).connect()
                opened.callback(self._disconnect)
                with self._connection.begin():
                    migrate(self._connection)
                self._load()
            self._opened = opened.pop_all()

    def _check_place(self) -> None:
        path = self._path
        try:
            if str(path) == DEFAULT_DATABASE:
                path.parent.mkdir(mode=0o750, exist_ok=True)
            if path.is_dir():
                raise StoreError(f"cannot open {path}: it is a folder: name a file in it with --db")
            if not path.parent.is_dir():
                raise StoreError(
                    f"cannot open {path}: the folder {path.parent} does not exist: make it, or name another file with --db"
                )
        except OSError as exc:
            raise StoreError(
                f"cannot open {path}: {exc.strerror}: run it as root, or name another file with --db"
            ) from exc

    def _load(self) -> None:
        """Takes the counters from the database, and forgets what is not there: see append."""
        with self._connection.begin():
            for dictionary in (self._comm, self._paths, self._argv, self._users):
                dictionary.load(self._connection)
            query = self._connection.exec_driver_sql
            self._next_id = int(query("SELECT value FROM meta WHERE key = 'next_id'").scalar_one())
            last = query("SELECT id_lo, id_hi, ts_min, ts_max FROM seg ORDER BY id_lo DESC LIMIT 1").first()
        self._segment: tuple[int, int, int, int] | None = tuple(last) if last else None
        self._clocks: dict[int, int] = {}
        self._loaded = True

    def begin_run(self, run: Run) -> None:
        """Notes that a recorder starts; its events come next."""
        with translated(f"cannot write {self._path}"), self._connection.begin():
            inserted = self._connection.execute(
                schema.run.insert().values(
                    boot_id=run.boot_id, host=run.host, version=run.version, started_ns=run.started_ns
                )
            )
        key = inserted.inserted_primary_key
        self._run_id = None if key is None else key[0]
        self._clocks = {}

    def append(self, events: Iterable[ExecEvent], gaps: Sequence[Gap] = ()) -> None:
        """Stores events and gaps of the run, durable when it returns, all of them or none.

        Raises StoreError; the caller may try the same events again.
        """
        rest = iter(events)
        with translated(f"cannot write {self._path}"):
            if not self._loaded:
                self._load()
            # Until the commit, what is remembered speaks of rows that may never be there.
            self._loaded = False
            with self._connection.begin():
                while batch := list(islice(rest, BATCH_EVENTS)):
                    self._insert(batch)
                if gaps:
                    self._insert_gaps(gaps)
            self._loaded = True

    def _insert(self, batch: list[ExecEvent]) -> None:
        # Ids follow time where they can: CPUs race, and a long command line is late.
        batch.sort(key=lambda event: event.time_ns)
        first_id = self._next_id
        comm, paths, argv, users = self._comm.id_of, self._paths.id_of, self._argv.id_of, self._users.id_of
        rows = []
        cuts = []
        for number, event in enumerate(batch, first_id):
            truncated = None
            if event.truncated is not None:
                truncated = _TRUNCATION_CODE[event.truncated]
                cuts.append((number, event.argc, event.argv_bytes, json.dumps(event.holes)))
            rows.append(
                (
                    number,
                    event.time_ns,
                    self._clock(event.time_ns - event.boot_ns),
                    _KIND_CODE[event.kind],
                    event.pid,
                    event.tid,
                    event.ppid,
                    event.uid,
                    event.euid,
                    event.gid,
                    users(None if event.user is None else event.user.encode("utf-8", "surrogateescape")),
                    comm(event.comm),
                    paths(event.filename),
                    paths(event.exe),
                    paths(event.cwd),
                    argv(event.argv),
                    event.errno,
                    truncated,
                )
            )
        connection = self._connection
        for dictionary in (self._comm, self._paths, self._argv, self._users):
            dictionary.flush(connection)
        # exec_driver_sql, not insert(): half the CPU for a row, measured.
        connection.exec_driver_sql(_INSERT_EXEC, rows)
        if cuts:
            connection.exec_driver_sql(
                "INSERT INTO argv_cut (exec_id, argc, argv_bytes, holes) VALUES (?, ?, ?, ?)", cuts
            )
        self._next_id = first_id + len(batch)
        connection.exec_driver_sql(
            "UPDATE meta SET value = ? WHERE key = 'next_id'", (b"%d" % self._next_id,)
        )
        self._extend_segment(first_id, self._next_id - 1, batch[0].time_ns, batch[-1].time_ns)

    def _extend_segment(self, id_lo: int, id_hi: int, ts_min: int, ts_max: int) -> None:
        last = self._segment
        if last is not None and last[1] - last[0] + 1 < BATCH_EVENTS:
            self._segment = (last[0], id_hi, min(last[2], ts_min), max(last[3], ts_max))
        else:
            self._segment = (id_lo, id_hi, ts_min, ts_max)
        self._connection.exec_driver_sql(
            "INSERT OR REPLACE INTO seg (id_lo, id_hi, ts_min, ts_max) VALUES (?, ?, ?, ?)", self._segment
        )

    def _clock(self, offset_ns: int) -> int:
        known = self._clocks.get(offset_ns)
        if known is None:
            inserted = self._connection.execute(
                schema.clock.insert().values(run_id=self._run_id, offset_ns=offset_ns)
            )
            key = inserted.inserted_primary_key
            if key is None:
                raise AssertionError("SQLite gave no rowid")
            known = self._clocks[offset_ns] = int(key[0])
        return known

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
                }
                for gap in gaps
            ],
        )

    def end_run(self, stopped_ns: Nanoseconds) -> None:
        """Notes the orderly stop."""
        with translated(f"cannot write {self._path}"), self._connection.begin():
            self._connection.execute(
                schema.run.update().where(schema.run.c.id == self._run_id).values(stopped_ns=stopped_ns)
            )

    def _disconnect(self) -> None:
        """Closes the database so that readers without write access can open it.

        They cannot make the -shm file that WAL mode needs, so it is left in the rollback
        mode; while a reader is still there that is refused, and its files stay.
        """
        driver = self._connection.connection.driver_connection
        with contextlib.suppress(sqlite3.DatabaseError):
            if driver is not None:  # past SQLAlchemy, which would begin a transaction around it
                driver.execute("PRAGMA journal_mode = DELETE")
        self._connection.close()

    def close(self) -> None:
        """Leaves one file that readers need no write access for, and lets the next writer in."""
        self._opened.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
