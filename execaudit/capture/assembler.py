"""Make events of the probe's records: join those of one exec. Pure: no clock, no I/O, no logging.

Records are joined by the exec's own key, never by pid, in whatever order they come. An
exec is emitted once: as soon as all its records are there, or, when a record of it does
not come within the patience, as it is, marked `lost`. What comes later still is counted.
A record that names another exec, as its parent or as what has ended, was written after all
of that one's: then what is not there by now is lost, and it is emitted first.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from execaudit.capture.unfinished import Unfinished
from execaudit.capture.wire import (
    UNKNOWN,
    RecordFlag,
    RecordType,
    WireError,
    decode,
    decode_exit,
    decode_launch,
    decode_place,
    is_exit,
    record_type,
)
from execaudit.enums import Gained, Kind, Truncated
from execaudit.event import ExecEvent, ExitEvent, Hole, Nanoseconds
from execaudit.exec_id import ExecKey, boot_prefix
from execaudit.shorten import keep_ends

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from execaudit.capture.wire import Facts, Piece
    from execaudit.capture.wire import Place as RawPlace
    from execaudit.event import Launch, Place

# The records of one exec are written one after the other by one program run: what is not
# there two seconds later was refused.
DEFAULT_PATIENCE_NS = Nanoseconds(2_000_000_000)
# What Python takes for a record that waits, beside its bytes.
_PIECE_BYTES = 500
# Keys of execs that were given up, so that a late record does not make a second event.
_GIVEN_UP = 4096
# Bytes of what was decoded, with what Python takes for each, and how long it holds: users get other names.
_REMEMBERED_BYTES = 512 * 1024
_REMEMBERED_EACH = 500
_REMEMBERED_NS = 60_000_000_000

_ONLY = RecordFlag.LAST.value
# Looked up once: an IntFlag is dear to make, and a member of an Enum to find.
_EXEC, _FAILED = Kind.EXEC, Kind.FAILED
# What a record can make Python say that is not as the header has it.
_UNREADABLE = (WireError, ArithmeticError, LookupError, ValueError)
_new = tuple.__new__  # see wire
_GAINED = [Gained(bits) for bits in range(8)]
_KNOWN_GAINED = len(_GAINED) - 1
_Key = tuple[int, int]  # boot_ns, tid


class Origin(NamedTuple):
    """What all events of one recorder have in common."""

    host: str
    boot_id: str
    user_of: Callable[[int], str | None]
    """Name of a uid, or None."""
    root_of: Callable[[int, int | None], ExecKey | None]
    """What a process (pid, its ppid if that is known) ran when the probe was attached."""


class Unreadable(NamedTuple):
    """Records that were left out."""

    execs: int
    """First records of execs; what lacks another one is emitted without it, as `lost`."""
    exits: int
    records: int
    """All of them."""
    reason: str
    """Of the first one."""


class _CommandLine(NamedTuple):
    """What is known of a command line."""

    argv: bytes
    holes: tuple[Hole, ...]
    truncated: Truncated | None
    argc: int | None
    total: int | None


class _Partial:
    """An exec of which some records have come."""

    __slots__ = ("facts", "heard_ns", "last_seq", "pieces", "size", "wall_offset_ns")

    def __init__(self, wall_offset_ns: int) -> None:
        self.facts: Facts | None = None
        self.pieces: dict[int, Piece] = {}
        self.last_seq: int | None = None
        self.heard_ns = self.size = 0
        self.wall_offset_ns = wall_offset_ns

    def add(self, piece: Piece, facts: Facts | None) -> bool:
        """Takes a record. Returns whether all are there."""
        self.pieces[piece.seq] = piece
        if facts is not None:
            self.facts = facts
        if piece.flags & RecordFlag.LAST:
            self.last_seq = piece.seq
        return self.last_seq is not None and len(self.pieces) == self.last_seq + 1

    @property
    def account(self) -> int | None:
        """Whose it is, if that has come."""
        return None if self.facts is None else self.facts.account

    def join(self) -> _CommandLine:
        """Returns what is known of the command line by now."""
        joint = _Joint((self.facts.cut_from, self.facts.cut_to) if self.facts else (0, 0))
        for _, piece in sorted(self.pieces.items()):
            joint.add(piece)
        return joint.finish(
            total=min(piece.total for piece in self.pieces.values()),
            argc=min(piece.argc for piece in self.pieces.values()),
            whole=self.last_seq is not None,
        )


class _Joint:
    """Puts the pieces of a command line one after the other."""

    def __init__(self, cut: tuple[int, int]) -> None:
        self._cut = cut
        self._lost = self._faulted = self._limited = False
        self._bytes: list[bytes] = []
        self._captured = 0
        self._position = 0
        self._next_seq = 0
        self._holes: list[Hole] = []

    def add(self, piece: Piece) -> None:
        """Takes the next piece that came."""
        before = self._position
        self._go_to(piece.offset)
        if piece.seq != self._next_seq:
            self._lost = True
            # Of a failed exec, an argument of unknown length may have been noted there.
            if piece.failed or before == self._position:
                self._hole(None)
        self._next_seq = piece.seq + 1
        self._bytes.append(piece.argv)
        self._captured += len(piece.argv)
        self._position += len(piece.argv)
        if piece.flags & RecordFlag.FAULT:
            self._faulted = True
            if piece.missing == UNKNOWN:
                self._hole(None)
            else:
                self._hole(piece.missing)
                self._position += piece.missing
        if piece.flags & RecordFlag.LIMIT:
            self._limited = True
            self._hole(None)

    def finish(self, *, total: int, argc: int, whole: bool) -> _CommandLine:
        """Accounts for what is missing at the end; `whole`: the last record came."""
        if total != UNKNOWN:
            self._go_to(total)
        if not whole:
            self._lost = True
            if total == UNKNOWN:
                self._hole(None)
        unknowable = any(hole.missing is None for hole in self._holes)
        return _CommandLine(
            b"".join(self._bytes),
            tuple(self._holes),
            self._reason(),
            None if argc == UNKNOWN else argc,
            None if unknowable or total == UNKNOWN else total,
        )

    def _go_to(self, offset: int) -> None:
        """What lies before `offset` did not come: it was left out on purpose, or lost."""
        cut_from, cut_to = self._cut
        if cut_from < cut_to and self._position <= cut_from and offset >= cut_to:
            self._lose(cut_from - self._position)
            self._hole(cut_to - cut_from)
            self._limited = True
            self._position = cut_to
        self._lose(offset - self._position)
        self._position = max(self._position, offset)

    def _lose(self, missing: int) -> None:
        if missing > 0:
            self._hole(missing)
            self._lost = True

    def _hole(self, missing: int | None) -> None:
        if self._holes and self._holes[-1].at == self._captured:
            before = self._holes.pop().missing
            missing = None if missing is None or before is None else before + missing
        self._holes.append(Hole(self._captured, missing))

    def _reason(self) -> Truncated | None:
        """Returns the reason that an investigator should hear of first, if there are several."""
        if self._lost:
            return Truncated.LOST
        if self._faulted:
            return Truncated.FAULT
        return Truncated.LIMIT if self._limited else None


class Assembler:
    """Takes records, gives events."""

    def __init__(
        self,
        origin: Origin,
        *,
        max_argv: int | None = None,
        patience_ns: Nanoseconds = DEFAULT_PATIENCE_NS,
        unfinished: Unfinished | None = None,
    ) -> None:
        """`max_argv` is what the probe was told; failed execs are cut to it here."""
        self._origin = origin
        self._boot = boot_prefix(origin.boot_id)
        self._max_argv = max_argv
        self._patience_ns = patience_ns
        self._waiting: dict[_Key, _Partial] = {}
        self._unfinished = unfinished or Unfinished()
        self._given_up: OrderedDict[_Key, None] = OrderedDict()
        # What was decoded of bytes that come again and again, with the names of users.
        self._launched: dict[bytes, Launch] = {}
        self._refused: dict[bytes, Launch] = {}
        self._places: dict[RawPlace, Place] = {}
        self._remembered_bytes = 0
        self._remembered_since = 0
        self._unreadable: Unreadable | None = None
        self.late = 0
        """Records that came after their exec had been given up."""

    def __len__(self) -> int:
        """How many execs have begun and are not emitted."""
        return len(self._waiting)

    def feed(
        self, records: Iterable[bytes], *, now_ns: int, wall_offset_ns: int
    ) -> Iterator[ExecEvent | ExitEvent]:
        """Yields the execs that these records complete, and ends of programs, each after its exec.

        `now_ns` is any steady clock; `wall_offset_ns` is wall clock minus boot clock.
        A record that the probe cannot have sent is left out: see take_unreadable.
        """
        if now_ns - self._remembered_since > _REMEMBERED_NS:
            self.forget()
            self._remembered_since = now_ns
        for record in records:
            try:
                if is_exit(record):
                    yield from self._exit(record, wall_offset_ns)
                    continue
                piece, facts = decode(record)
                if self._waiting and facts is not None and facts.parent in self._waiting:
                    yield self._give_up(facts.parent)
                # Nearly every exec is one record.
                _, _, _, seq, _, total, argc, _, _, flags, argv = piece
                if (
                    flags == _ONLY
                    and not seq
                    and facts is not None
                    and total == len(argv)
                    and argc != UNKNOWN
                ):
                    yield self._event(
                        piece, facts, wall_offset_ns, _new(_CommandLine, (argv, (), None, argc, total))
                    )
                else:
                    yield from self._some(piece, facts, now_ns, wall_offset_ns)
            except _UNREADABLE as exc:
                self._leave_out(record, exc)

    def take_unreadable(self) -> Unreadable | None:
        """Returns what was left out since the last call; None: nothing."""
        unreadable, self._unreadable = self._unreadable, None
        return unreadable

    def _leave_out(self, record: bytes, why: Exception) -> None:
        execs, exits, records, reason = self._unreadable or (0, 0, 0, str(why))
        kind = record_type(record)
        self._unreadable = Unreadable(
            execs + (kind not in (RecordType.EXEC_MORE, RecordType.FAILED_MORE, RecordType.EXIT)),
            exits + (kind == RecordType.EXIT),
            records + 1,
            reason,
        )

    def _some(
        self, piece: Piece, facts: Facts | None, now_ns: int, wall_offset_ns: int
    ) -> Iterator[ExecEvent]:
        """Takes one of the records of an exec. Yields it when all are there."""
        key = (piece.boot_ns, piece.tid)
        partial = self._waiting.pop(key, None)
        if partial is None:
            if key in self._given_up:
                self.late += 1
                return
            partial = _Partial(wall_offset_ns)
        partial.heard_ns = now_ns
        self._unfinished.add(partial.account, -partial.size)
        if partial.add(piece, facts):
            yield self._event(piece, partial.facts, partial.wall_offset_ns, partial.join())
            return
        partial.size += len(piece.argv) + _PIECE_BYTES
        self._unfinished.add(partial.account, partial.size)
        self._waiting[key] = partial
        while self._unfinished.too_much(partial.account):
            yield self._give_up(self._oldest_of(partial.account))
        while (over := self._unfinished.largest())[0]:
            yield self._give_up(self._oldest_of(over[1]))

    def _oldest_of(self, account: int | None) -> _Key:
        """Returns the exec of an account of which nothing was heard for the longest time."""
        return next(key for key, partial in self._waiting.items() if partial.account == account)

    def _exit(self, record: bytes, wall_offset_ns: int) -> Iterator[ExecEvent | ExitEvent]:
        boot_ns, pid, image_ns, image_pid, status = decode_exit(record)
        if self._waiting and (image_ns, image_pid) in self._waiting:
            yield self._give_up((image_ns, image_pid))
        if image_ns:
            ended: ExecKey | None = _new(ExecKey, (self._boot, image_ns, image_pid))
        else:
            ended = self._root(image_pid, None)
        if ended is not None:
            yield _new(ExitEvent, (ended, boot_ns + wall_offset_ns, boot_ns, pid, status))

    def _root(self, pid: int, ppid: int | None) -> ExecKey | None:
        return self._origin.root_of(pid, ppid) if pid else None

    def expire(self, *, now_ns: int) -> Iterator[ExecEvent]:
        """Yields, marked, the execs of which nothing was heard for the patience."""
        late = [
            key for key, partial in self._waiting.items() if now_ns - partial.heard_ns >= self._patience_ns
        ]
        for key in late:
            yield self._give_up(key)

    def oldest_ns(self) -> Nanoseconds | None:
        """Returns the wall clock of the earliest exec that is not whole yet; None if there is none."""
        times = (key[0] + partial.wall_offset_ns for key, partial in self._waiting.items())
        earliest = min(times, default=None)
        return None if earliest is None else Nanoseconds(earliest)

    def drain(self) -> Iterator[ExecEvent]:
        """Yields, marked, all execs that are not whole: nothing more will come."""
        for key in list(self._waiting):
            yield self._give_up(key)

    def _give_up(self, key: _Key) -> ExecEvent:
        partial = self._waiting.pop(key)
        self._unfinished.add(partial.account, -partial.size)
        self._given_up[key] = None
        if len(self._given_up) > _GIVEN_UP:
            self._given_up.popitem(last=False)
        some = next(iter(partial.pieces.values()))
        return self._event(some, partial.facts, partial.wall_offset_ns, partial.join())

    def _event(self, piece: Piece, facts: Facts | None, wall_offset_ns: int, line: _CommandLine) -> ExecEvent:
        argv, holes, truncated, argc, total = line
        boot_ns, caller, pid, _, failed, *_ = piece
        if failed and self._max_argv is not None and len(argv) > self._max_argv:
            argv, holes = keep_ends(argv, holes, self._max_argv)
            truncated = truncated or Truncated.LIMIT
        kind, launches = (_FAILED, self._refused) if failed else (_EXEC, self._launched)
        host, boot_id, _, _ = self._origin
        time_ns = boot_ns + wall_offset_ns
        if facts is None:
            return ExecEvent(
                kind=kind, host=host, boot_id=boot_id,
                time_ns=Nanoseconds(time_ns), boot_ns=Nanoseconds(boot_ns),
                pid=pid, tid=caller, ppid=None, uid=None, euid=None, gid=None, user=None,
                comm=None, filename=None, exe=None, cwd=None,
                argv=argv, argc=argc, argv_bytes=total, holes=holes, truncated=truncated, errno=None,
            )  # fmt: skip
        image, replaces, tid, ppid, errno, _, _, place, launch, account = facts
        image_ns, image_pid = image
        if image_ns:
            parent: ExecKey | None = _new(ExecKey, (self._boot, image_ns, image_pid))
        else:
            parent = self._root(image_pid, ppid if replaces else None)
        # Past its own constructor, which takes 1.4 microseconds longer; this is done for each exec.
        return _new(
            ExecEvent,
            (
                kind, host, boot_id, time_ns, boot_ns, pid, tid, ppid,
                argv, argc, total, holes, truncated, errno if failed else None,
            )
            + (launches.get(launch) or self._launch(launch, failed=failed))
            + (self._places.get(place) or self._place(place))
            + (parent, replaces, None, account),
        )  # fmt: skip

    def _launch(self, raw: bytes, *, failed: bool) -> Launch:
        """Returns what the probe's bytes say, with the user's name, and remembers it."""
        sent, user_of = decode_launch(raw), self._origin.user_of
        if sent.exe is None:
            file: tuple[int | None, int | None, int | None] = (None, None, None)
        else:
            file = (sent.inode, sent.device, sent.nlink)
        self._make_room(len(raw))
        launch = (
            sent.uid, sent.euid, sent.gid, user_of(sent.uid), sent.comm, sent.filename, sent.exe, sent.cwd,
            sent.parent_comm, sent.interpreter, *file, None if failed else _GAINED[sent.gained & _KNOWN_GAINED],
            sent.root, sent.mnt_ns, sent.traced,
        )  # fmt: skip
        (self._refused if failed else self._launched)[raw] = launch
        return launch

    def _place(self, raw: RawPlace) -> Place:
        """The same for where an exec came from."""
        auid, session = raw.auid, raw.session
        has_login = auid != UNKNOWN
        tty, cgroup = decode_place(raw)
        self._make_room(len(raw.texts))
        place = self._places[raw] = (
            auid if has_login else None,
            session if session != UNKNOWN else None,
            self._origin.user_of(auid) if has_login else None,
            tty,
            cgroup,
        )
        return place

    def _make_room(self, size: int) -> None:
        """Forgets what was decoded if that is too much by now."""
        self._remembered_bytes += size + _REMEMBERED_EACH
        if self._remembered_bytes > _REMEMBERED_BYTES:
            self.forget()

    def rename(self, host: str) -> None:
        """The host has another name from now on."""
        self._origin = self._origin._replace(host=host)

    def forget(self) -> None:
        """Has everything decoded anew, with the names that users have now."""
        for known in (self._launched, self._refused, self._places):
            known.clear()
        self._remembered_bytes = 0
