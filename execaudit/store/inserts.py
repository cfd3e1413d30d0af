"""Write events as rows: replace values by ids, find parents, insert.

The caller owns the transaction. The memory of ids is right only while every transaction is committed:
after one that was not, call `load`.
"""

from __future__ import annotations

import functools
import json
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from execaudit import native
from execaudit.database import id_lookup, schema
from execaudit.database.enum_codes import KINDS, TRUNCATIONS
from execaudit.database.field_columns import column_of
from execaudit.database.signed64 import signed
from execaudit.database.trigram_bitmap import CHUNK_LINES
from execaudit.enums import Kind
from execaudit.event import ExecEvent, ExitEvent
from execaudit.exec_id import boot_prefix
from execaudit.fields import LAUNCH_FIELDS, ORIGIN_FIELDS, UNKNOWN_LAUNCH, UNKNOWN_ORIGIN, Form
from execaudit.store.bulk_insert import NOTHING, BulkInsert
from execaudit.store.engine import driver_of
from execaudit.store.exec_hashes import ExecHashes
from execaudit.store.interning import LONGEST_REMEMBERED, Interned, Lines, Recent, Texts
from execaudit.store.segments import Segment, Segments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import sqlalchemy as sa

    from execaudit.exec_id import ExecKey
    from execaudit.fields import Launch, Origin

    _Row = tuple[object, ...]
    _End = tuple[int, int | None, int | None]

# So many execs are inserted in one go, and a row of `seg` covers about as many.
BATCH_EVENTS = 2000

_json = functools.partial(json.dumps, separators=(",", ":"))
_EXECS = BulkInsert(
    "exec",
    (
        "id", "ts", "clock_id", "kind", "pid", "tid", "ppid", "uid", "comm_id", "launch_id", "origin_id", "argv_id",
        "errno", "truncated", "parent_id", "duration_ns", "status", "replaced_by",
    ),
    often_null=("tid", "errno", "truncated", "duration_ns", "status", "replaced_by"),
)  # fmt: skip
_INSERT_CUT = "INSERT INTO argv_cut (exec_id, argc, argv_bytes, holes, redacted) VALUES (?, ?, ?, ?, ?)"
# A program ends once; being told twice is no reason to lose a batch.
_INSERT_EXIT = "INSERT OR IGNORE INTO exit (exec_id, duration_ns, status, replaced_by) VALUES (?, ?, ?, ?)"
_INSERT_STRAY = "INSERT INTO stray_exit (clock_id, ts, pid, duration_ns, status) VALUES (?, ?, ?, ?, ?)"
_CLOCKS = "SELECT offset_ns, id FROM clock WHERE run_id = ? ORDER BY id DESC LIMIT ?"
# A recorder's clock is stepped a few times; an import may have as many clocks as execs.
_MOST_CLOCKS = 1000
_SEGMENTS = "SELECT id_lo, id_hi, ts_min, ts_max FROM seg ORDER BY id_lo"
_GENERATION = "SELECT value FROM meta WHERE key = 'generation'"
_KIND_CODE = {kind: code for code, kind in enumerate(KINDS)}
_FAILED = Kind.FAILED
_TRUNCATION_CODE = {reason: code for code, reason in enumerate(TRUNCATIONS)}
_NO_END = (NOTHING, NOTHING, NOTHING)
_PATHS = [at for at, field in enumerate(LAUNCH_FIELDS) if field.form is Form.PATH]
# By place: by name it takes three times as long.
_boot_ns, _time_ns, _replaces = (
    itemgetter(ExecEvent._fields.index(name)) for name in ("boot_ns", "time_ns", "replaces")
)


class Inserts:
    """The rows of one history, and what is remembered of them."""

    def __init__(self, connection: sa.Connection) -> None:
        """Takes a connection without a transaction; `load` comes first."""
        self._connection = connection
        # Sized for a month of a busy host: of 20 000 lines that recur among others, a tenth is stored twice.
        self._comms = Texts("comm", megabytes=0.2, numbers=4096)
        self._paths = Texts("path", megabytes=0.5, numbers=32_768)
        self._argv = Lines(megabytes=0.75, numbers=65_536)
        self._users: Interned[str] = Interned("user", ("v",), megabytes=0.1, numbers=256)
        self._origins: Interned[Origin] = Interned(
            "origin", [*map(column_of, ORIGIN_FIELDS)], megabytes=0.25, numbers=4096, entry_bytes=500
        )
        self._launches: Interned[Launch] = Interned(
            "launch", [*map(column_of, LAUNCH_FIELDS)], megabytes=0.5, numbers=65_536, entry_bytes=700
        )
        ids: dict[Form, Callable[[Any], int]] = {
            Form.NAME: self._user, Form.COMM: self._comms.id_of, Form.PATH: self._paths.id_of, Form.UNSIGNED_64: signed,
            Form.GAINED: int,
        }  # fmt: skip
        self._origin_ids, self._launch_ids = (
            [(at, ids[field.form]) for at, field in enumerate(fields) if field.form in ids]
            for fields in (ORIGIN_FIELDS, LAUNCH_FIELDS)
        )
        # Row ids of successful execs and snapshots, which can be parents and can end. 0: not in the history.
        self._execs: Recent[ExecKey | tuple[int, int, int]] = Recent(megabytes=0.5)
        self._run_id: int | None = None
        self._boot = 0
        self.sealed: list[tuple[int, list[bytes]]] = []
        """The hashes of the execs that were inserted, with the number of the first: the caller takes them."""
        self._hashes = ExecHashes()

    @property
    def _tables(self) -> tuple[Interned[bytes] | Interned[str] | Interned[Origin] | Interned[Launch], ...]:
        # Origins and launches first: theirs are among the texts that the others write.
        return (self._origins, self._launches, self._comms, self._paths, self._argv, self._users)

    def load(self) -> None:
        """Takes the counters from the database, and forgets what may not be there."""
        query = self._connection.exec_driver_sql
        for table in self._tables:
            if table is not self._argv:
                table.load(self._connection)
        # Ids of indexed chunks are never used again, even if their lines were pruned.
        indexed = int(query("SELECT value FROM meta WHERE key = 'argv_grams'").scalar_one())
        self._argv.load(self._connection, first=indexed * CHUNK_LINES)
        self._generation: bytes = query(_GENERATION).scalar_one()
        self._next_id = int(query("SELECT value FROM meta WHERE key = 'next_id'").scalar_one())
        last = query(f"{_SEGMENTS} DESC LIMIT 1").first()
        self._segment = Segment(*last) if last else None
        self._segments: Segments | None = None
        self._offsets: dict[int, tuple[int | None, int | None]] = {}
        self._clocks: dict[int, int] = {}
        self._execs.forget()

    def refresh(self) -> None:
        """In a transaction that is about to write: forgets everything if anything was deleted."""
        if self._connection.exec_driver_sql(_GENERATION).scalar_one() != self._generation:
            self.load()

    def begin_run(self, run_id: int, boot_id: str) -> None:
        """Takes what comes next for that run's."""
        self._run_id = run_id
        self._boot = boot_prefix(boot_id)
        self._clocks = {}
        self._offsets = {}
        self._execs.forget()

    def go_on(self, run_id: int, boot_id: str) -> None:
        """Takes what comes next for that run's, of which some may be stored. In a transaction."""
        if run_id != self._run_id or not self._clocks or len(self._clocks) > _MOST_CLOCKS:
            self.begin_run(run_id, boot_id)
            rows = self._connection.exec_driver_sql(_CLOCKS, (run_id, _MOST_CLOCKS))
            self._clocks = {row[0]: row[1] for row in rows}

    def insert(self, events: Iterable[ExecEvent], exits: Iterable[ExitEvent]) -> None:
        """Writes events and ends of the run; an end follows its exec, wherever it stands.

        Raises what SQLAlchemy raises.
        """
        self.sealed = []
        # A parent's row must be there first, and its boot clock is always smaller than its child's.
        ordered = sorted(events, key=_boot_ns)
        # Ends of programs that are stored with them go into their rows.
        ends = self._ends(ordered, exits)
        for start in range(0, len(ordered), BATCH_EVENTS):
            self._insert_batch(ordered[start : start + BATCH_EVENTS], ends)
        self._insert_ends(ends)

    def _ends(self, ordered: list[ExecEvent], exits: Iterable[ExitEvent]) -> dict[ExecKey, ExitEvent | _End]:
        """Returns how programs ended, by what was run: those that were replaced as they stand in a row."""
        ends: dict[ExecKey, ExitEvent | _End] = {}
        for end in exits:
            ends.setdefault(end.exec, end)
        for at, replaces in enumerate(map(_replaces, ordered)):
            if replaces and (parent := ordered[at].parent) is not None:
                duration_ns = ordered[at].boot_ns - parent.boot_ns
                ends.setdefault(parent, (duration_ns, None, self._next_id + at))
        return ends

    def _insert_batch(self, batch: list[ExecEvent], ends: dict[ExecKey, ExitEvent | _End]) -> None:
        first_id = self._next_id
        values, cuts = self._rows(batch, first_id, ends)
        connection = self._connection
        for table in self._tables:
            table.flush(connection)
        self._execs.evict()
        _EXECS.insert(connection, values)
        self.sealed.append((first_id, self._hashes.of(batch, values, self._run_id, cuts)))
        if cuts:
            connection.exec_driver_sql(_INSERT_CUT, cuts)
        self._next_id = first_id + len(batch)
        connection.exec_driver_sql(
            "UPDATE meta SET value = ? WHERE key = 'next_id'", (b"%d" % self._next_id,)
        )
        times = [*map(_time_ns, batch)]
        self._extend_segment(first_id, self._next_id - 1, min(times), max(times))

    def _rows(
        self, batch: list[ExecEvent], first_id: int, ends: dict[ExecKey, ExitEvent | _End]
    ) -> tuple[list[object], list[_Row]]:
        """Returns the values for exec, row after row, and the rows of argv_cut.

        All is inline: this is done for each exec.
        """
        if native.fast is not None:
            return native.fast.rows(
                batch, first_id, ends, self._boot, _FAILED, _KIND_CODE, _TRUNCATION_CODE, self._clocks,
                self._execs.known, self._comms.known, self._launches.known, self._origins.known, self._argv,
                self._clock, self._find, self._comms.learn, self._launch, self._origin, _json,
            )  # fmt: skip
        values: list[object] = []
        cuts: list[_Row] = []
        boot, clocks, execs, comms = self._boot, self._clocks, self._execs.known, self._comms.known
        argvs, new_argv, kinds = self._argv.known, self._argv.learn, _KIND_CODE
        origins, launches, end_of = self._origins.known, self._launches.known, ends.pop
        for number, event in enumerate(batch, first_id):
            (
                kind, _, _, time_ns, boot_ns, pid, tid, ppid, argv, argc, argv_bytes, holes, truncated, errno,
                launch, origin, parent, _, _, _, redacted,
            ) = event  # fmt: skip
            comm = launch.comm
            cut = NOTHING
            if truncated is not None or argc != argv.count(0) or argv_bytes != len(argv) or redacted:
                cut = _TRUNCATION_CODE[truncated]
                cuts.append((number, argc, argv_bytes, _json(holes), _json(redacted) if redacted else None))
            parent_id = None
            if parent is not None:
                parent_id = execs.get(parent)
                if parent_id is None:
                    parent_id = self._find(parent)
                parent_id = parent_id or None
            end = _NO_END
            if kind is not _FAILED:
                key = (boot, boot_ns, pid)
                execs[key] = number
                known = end_of(key, None)  # type: ignore[call-overload]  # an ExecKey is a tuple
                if known is not None:
                    end = _values(known, boot_ns)
            values += (
                number,
                time_ns,
                clocks.get(time_ns - boot_ns) or self._clock(time_ns - boot_ns),
                kinds[kind],
                pid,
                NOTHING if tid == pid else tid,
                ppid,
                launch.uid,
                None if comm is None else comms.get(comm) or self._comms.learn(comm),
                launches.get(launch) or self._launch(launch),
                origins.get(origin) or self._origin(origin),
                argvs.get(argv) or new_argv(argv),
                NOTHING if errno is None else errno,
                cut,
                parent_id,
                *end,
            )
        return values, cuts

    def _insert_ends(self, ends: dict[ExecKey, ExitEvent | _End]) -> None:
        """Writes the ends of what was stored before."""
        rows: list[_Row] = []
        strays: list[_Row] = []
        execs = self._execs.known
        for key, end in ends.items():
            number = execs.get(key)
            if number is None:
                number = self._find(key)
            if isinstance(end, ExitEvent):
                _, time_ns, boot_ns, pid, status = end
                duration = boot_ns - key[1]
                if number:
                    rows.append((number, duration, status, None))
                elif status is not None:
                    strays.append((self._clock(time_ns - boot_ns), time_ns, pid, duration, status))
            elif number:
                rows.append((number, *end))
        self._execs.evict()
        if rows:
            self._connection.exec_driver_sql(_INSERT_EXIT, rows)
        if strays:
            self._connection.exec_driver_sql(_INSERT_STRAY, strays)

    def _find(self, key: ExecKey) -> int:
        """Returns the row id of an exec that is not in `known`; 0 if it is not in the history."""
        number = self._execs.again(key)
        if number is None:
            # That it is not there is remembered as well: a daemon whose exec was lost has many children.
            number = self._execs.known[key] = self._look_up(key)
        return number

    def _look_up(self, key: ExecKey) -> int:
        """Returns the row id of an exec in the database; 0 if it is not there."""
        execute = driver_of(self._connection).execute
        parameters = id_lookup.parameters(key)
        offsets = self._offsets.get(key.boot)
        if offsets is None:
            offsets = self._offsets[key.boot] = execute(id_lookup.OFFSETS, parameters).fetchone()
        least, most = offsets
        if least is None or most is None:
            return 0
        if self._segments is None:
            self._segments = Segments(map(Segment._make, execute(_SEGMENTS)))
        ids = self._segments.between(key.boot_ns + least, key.boot_ns + most)
        if ids is None:
            return 0
        low, high = ids
        parameters |= {"low": low, "high": self._next_id if high is None else high}
        row = execute(id_lookup.FIND_EXEC_WITHIN, parameters).fetchone()
        return 0 if row is None else int(row[0])

    def _origin(self, origin: Origin) -> int | None:
        if origin == UNKNOWN_ORIGIN:
            return None
        origins = self._origins
        return origins.again(origin) or origins.new(
            origin, _row_of(origin, self._origin_ids), text=origin.cgroup
        )

    def _launch(self, launch: Launch) -> int | None:
        if launch == UNKNOWN_LAUNCH:
            return None
        launches = self._launches
        return launches.again(launch) or launches.new(
            launch, _row_of(launch, self._launch_ids), text=_long_path(launch)
        )

    def _user(self, name: str) -> int:
        users = self._users
        return (
            users.known.get(name)
            or users.again(name)
            or users.new(name, (name.encode("utf-8", "surrogateescape"),))
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
            self._widen_offsets(offset_ns)
        return known

    def _widen_offsets(self, offset_ns: int) -> None:
        """Takes a new clock of this boot, if others are known."""
        least, most = self._offsets.get(self._boot, (None, None))
        if least is None or most is None:
            self._offsets.pop(self._boot, None)
        else:
            self._offsets[self._boot] = (min(least, offset_ns), max(most, offset_ns))

    def _extend_segment(self, id_lo: int, id_hi: int, ts_min: int, ts_max: int) -> None:
        last = self._segment
        if last is not None and last.id_hi - last.id_lo + 1 < BATCH_EVENTS:
            self._segment = Segment(last.id_lo, id_hi, min(last.ts_min, ts_min), max(last.ts_max, ts_max))
        else:
            self._segment = Segment(id_lo, id_hi, ts_min, ts_max)
        if self._segments is not None:
            self._segments.put(self._segment)
        self._connection.exec_driver_sql(
            "INSERT OR REPLACE INTO seg (id_lo, id_hi, ts_min, ts_max) VALUES (?, ?, ?, ?)", self._segment
        )


def _values(end: ExitEvent | _End, boot_ns: int) -> tuple[int, int, int]:
    """Returns the columns of the end of a program that was executed at that time."""
    duration_ns, status, replaced_by = (
        (end.boot_ns - boot_ns, end.status, None) if isinstance(end, ExitEvent) else end
    )
    return (
        duration_ns,
        NOTHING if status is None else status,
        NOTHING if replaced_by is None else replaced_by,
    )


def _row_of(values: Launch | Origin, ids: list[tuple[int, Callable[[Any], int]]]) -> _Row:
    """Returns the columns of values: an id, where one is made, and else the value."""
    row: list[Any] = [*values]
    for at, make in ids:
        value = row[at]
        if value is not None:
            row[at] = make(value)
    return tuple(row)


def _long_path(launch: Launch) -> bytes | None:
    """Returns a path that is too long to be remembered, if there is one."""
    values: tuple[Any, ...] = launch
    for at in _PATHS:
        path: bytes | None = values[at]
        if path is not None and len(path) > LONGEST_REMEMBERED:
            return path
    return None
