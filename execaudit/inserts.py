"""Events as rows: values become ids, parents are found, and all of it goes into the tables.

The caller has the transaction. What is remembered here is right only as long as every
transaction is committed: after one that was not, `load`.
"""

from __future__ import annotations

import json
from operator import attrgetter
from typing import TYPE_CHECKING

from execaudit import keys, schema
from execaudit.codes import KINDS, TRUNCATIONS
from execaudit.event import Kind, boot_prefix
from execaudit.interned import Interned, Recent, Texts

if TYPE_CHECKING:
    from collections.abc import Iterable

    import sqlalchemy as sa

    from execaudit.event import ExecEvent, ExecKey, ExitEvent

    _Row = tuple[object, ...]
    _OriginKey = tuple[int | None, int | None, str | None, bytes | None, bytes | None]
    _ImageKey = tuple[int | None, int | None, int | None, int | None, bytes | None]

# So many execs are inserted in one go, and a row of `seg` covers about as many.
BATCH_EVENTS = 2000

_INSERT_EXEC = (
    "INSERT INTO exec (id, ts, clock_id, kind, pid, tid, ppid, uid, euid, gid, user_id, comm_id,"
    " filename_id, exe_id, cwd_id, argv_id, errno, truncated,"
    " parent_id, parent_comm_id, origin_id, image_id)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_CUT = "INSERT INTO argv_cut (exec_id, argc, argv_bytes, holes) VALUES (?, ?, ?, ?)"
# A program ends once; being told twice is no reason to lose a batch.
_INSERT_EXIT = "INSERT OR IGNORE INTO exit (exec_id, duration_ns, status, replaced_by) VALUES (?, ?, ?, ?)"
_INSERT_STRAY = "INSERT INTO stray_exit (clock_id, ts, pid, duration_ns, status) VALUES (?, ?, ?, ?, ?)"
_GENERATION = "SELECT value FROM meta WHERE key = 'generation'"
_KIND_CODE = {kind: code for code, kind in enumerate(KINDS)}
_EXEC = _KIND_CODE[Kind.EXEC]
_TRUNCATION_CODE = {reason: code for code, reason in enumerate(TRUNCATIONS)}
_UNKNOWN = (None,) * 5
_boot_ns, _time_ns = attrgetter("boot_ns"), attrgetter("time_ns")


class Inserts:
    """The rows of one history, and what is remembered of them."""

    def __init__(self, connection: sa.Connection) -> None:
        """Takes a connection without a transaction; `load` comes first."""
        self._connection = connection
        self._comms, self._paths, self._argv = Texts("comm"), Texts("path"), Texts("argv")
        self._users: Interned[str] = Interned("user", ("v",))
        self._origins: Interned[_OriginKey] = Interned(
            "origin", ("auid", "session", "login_user_id", "tty", "cgroup_id")
        )
        self._images: Interned[_ImageKey] = Interned(
            "image", ("inode", "device", "nlink", "privileged", "interpreter_id")
        )
        # Of what can be a parent and can end. 0: it is known not to be there.
        self._execs: Recent[ExecKey | tuple[int, int, int]] = Recent()
        self._run_id: int | None = None
        self._boot = 0

    @property
    def _tables(
        self,
    ) -> tuple[Interned[bytes] | Interned[str] | Interned[_OriginKey] | Interned[_ImageKey], ...]:
        # Origins and images first: theirs are among the texts that the others write.
        return (self._origins, self._images, self._comms, self._paths, self._argv, self._users)

    def load(self) -> None:
        """Takes the counters from the database, and forgets what may not be there."""
        for table in self._tables:
            table.load(self._connection)
        query = self._connection.exec_driver_sql
        self._generation: bytes = query(_GENERATION).scalar_one()
        self._next_id = int(query("SELECT value FROM meta WHERE key = 'next_id'").scalar_one())
        last = query("SELECT id_lo, id_hi, ts_min, ts_max FROM seg ORDER BY id_lo DESC LIMIT 1").first()
        self._segment: tuple[int, int, int, int] | None = tuple(last) if last else None
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
        self._execs.forget()

    def insert(self, events: Iterable[ExecEvent], exits: Iterable[ExitEvent]) -> None:
        """Writes events and ends of the run; an end follows its exec, wherever it stands.

        Raises what SQLAlchemy raises.
        """
        # A parent's boot clock is smaller than its child's, whatever was done to the wall clock;
        # and the parent's row must be there first.
        ordered = sorted(events, key=_boot_ns)
        for start in range(0, len(ordered), BATCH_EVENTS):
            self._insert_batch(ordered[start : start + BATCH_EVENTS])
        self._insert_exits(exits)

    def _insert_batch(self, batch: list[ExecEvent]) -> None:
        first_id = self._next_id
        rows, cuts, ends = self._rows(batch, first_id)
        connection = self._connection
        for table in self._tables:
            table.flush(connection)
        self._execs.settle()
        # exec_driver_sql, not insert(): half the CPU for a row, measured.
        connection.exec_driver_sql(_INSERT_EXEC, rows)
        if cuts:
            connection.exec_driver_sql(_INSERT_CUT, cuts)
        if ends:
            connection.exec_driver_sql(_INSERT_EXIT, ends)
        self._next_id = first_id + len(batch)
        connection.exec_driver_sql(
            "UPDATE meta SET value = ? WHERE key = 'next_id'", (b"%d" % self._next_id,)
        )
        times = [*map(_time_ns, batch)]
        self._extend_segment(first_id, self._next_id - 1, min(times), max(times))

    def _rows(self, batch: list[ExecEvent], first_id: int) -> tuple[list[_Row], list[_Row], list[_Row]]:
        """Returns the rows of exec, argv_cut and exit. All is inline: this is done for each exec."""
        rows: list[_Row] = []
        cuts: list[_Row] = []
        ends: list[_Row] = []
        boot, clocks, execs, users = self._boot, self._clocks, self._execs.known, self._users.known
        comms, paths, argvs = self._comms.known, self._paths.known, self._argv.known
        new_comm, new_path, new_argv = self._comms.id_of, self._paths.id_of, self._argv.id_of
        origins, images = self._origins.known, self._images.known
        for number, event in enumerate(batch, first_id):
            (
                kind, _, _, time_ns, boot_ns, pid, tid, ppid, uid, euid, gid, user,
                comm, filename, exe, cwd, argv, argc, argv_bytes, holes, truncated, errno,
                parent, replaces, parent_comm, auid, session, login_user, tty, cgroup,
                interpreter, inode, device, nlink, privileged, _,
            ) = event  # fmt: skip
            cut = None
            if truncated is not None:
                cut = _TRUNCATION_CODE[truncated]
                cuts.append((number, argc, argv_bytes, json.dumps(holes)))
            parent_id = None
            if parent is not None:
                parent_id = execs.get(parent)
                if parent_id is None:
                    parent_id = self._find(parent)
                parent_id = parent_id or None
                if replaces and parent_id:
                    ends.append((parent_id, boot_ns - parent[1], None, number))
            if kind is not Kind.FAILED:
                execs[boot, boot_ns, pid] = number
            # An IntFlag's own hash is slow.
            gained = None if privileged is None else int(privileged)
            origin = (auid, session, login_user, tty, cgroup)
            image = (inode, device, nlink, gained, interpreter)
            rows.append(
                (
                    number,
                    time_ns,
                    clocks.get(time_ns - boot_ns) or self._clock(time_ns - boot_ns),
                    # So is an Enum's.
                    _EXEC if kind is Kind.EXEC else _KIND_CODE[kind],
                    pid,
                    tid,
                    ppid,
                    uid,
                    euid,
                    gid,
                    None if user is None else users.get(user) or self._user(user),
                    None if comm is None else comms.get(comm) or new_comm(comm),
                    None if filename is None else paths.get(filename) or new_path(filename),
                    None if exe is None else paths.get(exe) or new_path(exe),
                    None if cwd is None else paths.get(cwd) or new_path(cwd),
                    argvs.get(argv) or new_argv(argv),
                    errno,
                    cut,
                    parent_id,
                    None if parent_comm is None else comms.get(parent_comm) or new_comm(parent_comm),
                    origins.get(origin) or self._origin(origin),
                    images.get(image) or self._image(image),
                )
            )
        return rows, cuts, ends

    def _insert_exits(self, exits: Iterable[ExitEvent]) -> None:
        ends: list[_Row] = []
        strays: list[_Row] = []
        execs = self._execs.known
        for key, time_ns, boot_ns, pid, status in exits:
            number = execs.get(key)
            if number is None:
                number = self._find(key)
            duration = boot_ns - key[1]
            if number:
                ends.append((number, duration, status, None))
            else:
                strays.append((self._clock(time_ns - boot_ns), time_ns, pid, duration, status))
        self._execs.settle()
        if ends:
            self._connection.exec_driver_sql(_INSERT_EXIT, ends)
        if strays:
            self._connection.exec_driver_sql(_INSERT_STRAY, strays)

    def _find(self, key: ExecKey) -> int:
        """Returns the row id of an exec that is not in `known`; 0 if it is not in the history."""
        number = self._execs.again(key)
        if number is None:
            found = self._connection.exec_driver_sql(keys.FIND_EXEC, keys.parameters(key)).scalar()
            # That it is not there is remembered as well: a daemon whose exec was lost has many children.
            number = self._execs.known[key] = found or 0
        return number

    def _user(self, name: str) -> int:
        users = self._users
        return users.again(name) or users.new(name, (name.encode("utf-8", "surrogateescape"),))

    def _origin(self, origin: _OriginKey) -> int | None:
        if origin == _UNKNOWN:
            return None
        auid, session, login_user, tty, cgroup = origin
        return self._origins.again(origin) or self._origins.new(
            origin,
            (
                auid,
                session,
                None if login_user is None else self._users.known.get(login_user) or self._user(login_user),
                tty,
                None if cgroup is None else self._paths.id_of(cgroup),
            ),
            text=cgroup,
        )

    def _image(self, image: _ImageKey) -> int | None:
        if image == _UNKNOWN:
            return None
        *numbers, interpreter = image
        return self._images.again(image) or self._images.new(
            image,
            (*numbers, None if interpreter is None else self._paths.id_of(interpreter)),
            text=interpreter,
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

    def _extend_segment(self, id_lo: int, id_hi: int, ts_min: int, ts_max: int) -> None:
        last = self._segment
        if last is not None and last[1] - last[0] + 1 < BATCH_EVENTS:
            self._segment = (last[0], id_hi, min(last[2], ts_min), max(last[3], ts_max))
        else:
            self._segment = (id_lo, id_hi, ts_min, ts_max)
        self._connection.exec_driver_sql(
            "INSERT OR REPLACE INTO seg (id_lo, id_hi, ts_min, ts_max) VALUES (?, ?, ?, ?)", self._segment
        )
