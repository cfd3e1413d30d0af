"""Make events of wire records: join the records of each exec. Pure: no clock, no I/O, no logging.

Records are joined by the exec's own key, never by pid, and may come in any order. An exec is emitted once:
when all its records are there. If one does not come within the patience, the exec is emitted without it and
marked `lost`; a record that comes after that is counted.

A record that names exec X, as a parent or as the program that ended, proves that all records of X were sent.
Those that are absent are lost, and X is emitted first.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from execaudit import native
from execaudit.arguments import keep_ends
from execaudit.capture.command_line import CommandLine, Joint
from execaudit.capture.unfinished import Unfinished
from execaudit.capture.wire import (
    UNKNOWN,
    RawOrigin,
    RecordFlag,
    RecordType,
    WireError,
    decode,
    decode_exit,
    decode_launch,
    decode_origin,
    is_exit,
    record_type,
)
from execaudit.enums import Kind, Truncated
from execaudit.event import ExecEvent, ExitEvent, Nanoseconds
from execaudit.exec_id import ExecKey, boot_prefix
from execaudit.fields import UNKNOWN_LAUNCH, UNKNOWN_ORIGIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from execaudit.capture.wire import ArgvPiece, Facts
    from execaudit.fields import Launch, Origin
    from execaudit.native.fast import Decoder

# One run of the probe sends all records of an exec. If one is not there two seconds later, the ring refused
# it.
DEFAULT_PATIENCE_NS = Nanoseconds(2_000_000_000)
# The memory that Python needs for a record that waits, besides the record's bytes.
_PIECE_BYTES = 500
# How many keys of execs that were given up are remembered: a late record must not make a second event.
_GIVEN_UP = 4096
# How many bytes are remembered together with what they decode to, which has the same texts again; what Python
# needs besides for each; and for how long: a user may get another name.
_REMEMBERED_BYTES = 512 * 1024
_REMEMBERED_EACH = 500
_REMEMBERED_NS = 60_000_000_000

_ONLY = RecordFlag.LAST.value
# Looked up once, because it is slow to make an IntFlag and to look a member of an Enum up.
_EXEC, _FAILED = Kind.EXEC, Kind.FAILED
# The exceptions that Python raises for a record that does not agree with the header.
_UNREADABLE = (WireError, ArithmeticError, LookupError, ValueError)
_new = tuple.__new__  # see wire
_Key = tuple[int, int]  # boot_ns, tid


class Machine(NamedTuple):
    """The values that all events of one recorder have in common, and functions for names and programs."""

    host: str
    boot_id: str
    user_of: Callable[[int], str | None]
    """Returns the name of a uid, or None."""
    root_of: Callable[[int, int | None], ExecKey | None]
    """Takes a pid, and its ppid if known. Returns what this process ran when the probe was attached."""


class Unreadable(NamedTuple):
    """The number of records that could not be read."""

    execs: int
    """First records of execs. (An exec without one of its other records is emitted, as `lost`.)"""
    exits: int
    records: int
    """All records, of whichever kind."""
    reason: str
    """Why the first one could not be read."""


class _Partial:
    """An exec of which some records have come, but not all."""

    __slots__ = ("facts", "heard_ns", "last_seq", "pieces", "size", "wall_offset_ns")

    def __init__(self, wall_offset_ns: int) -> None:
        self.facts: Facts | None = None
        self.pieces: dict[int, ArgvPiece] = {}
        self.last_seq: int | None = None
        self.heard_ns = self.size = 0
        self.wall_offset_ns = wall_offset_ns

    def add(self, piece: ArgvPiece, facts: Facts | None) -> bool:
        """Adds a record. Returns whether all are there."""
        self.pieces[piece.seq] = piece
        if facts is not None:
            self.facts = facts
        if piece.flags & RecordFlag.LAST:
            self.last_seq = piece.seq
        return self.last_seq is not None and len(self.pieces) == self.last_seq + 1

    @property
    def account(self) -> int | None:
        """The account of the exec; None until its first record comes."""
        return None if self.facts is None else self.facts.account

    def join(self) -> CommandLine:
        """Returns what has come of the command line."""
        joint = Joint((self.facts.cut_from, self.facts.cut_to) if self.facts else (0, 0))
        for _, piece in sorted(self.pieces.items()):
            joint.add(piece)
        return joint.finish(
            total=min(piece.total for piece in self.pieces.values()),
            argc=min(piece.argc for piece in self.pieces.values()),
            whole=self.last_seq is not None,
        )


class Assembler:
    """Takes wire records and yields events."""

    def __init__(
        self,
        machine: Machine,
        *,
        max_argv: int | None = None,
        patience_ns: Nanoseconds = DEFAULT_PATIENCE_NS,
        unfinished: Unfinished | None = None,
    ) -> None:
        """`max_argv` is the probe's option. The probe cuts successful execs, and this class failed ones."""
        self._machine = machine
        self._boot = boot_prefix(machine.boot_id)
        self._max_argv = max_argv
        self._patience_ns = patience_ns
        self._waiting: dict[_Key, _Partial] = {}
        self._unfinished = unfinished or Unfinished()
        self._given_up: OrderedDict[_Key, None] = OrderedDict()
        # The key is the bytes that the probe sent; the value is decoded, and has the user's name.
        self._launched: dict[bytes, Launch] = {}
        self._refused: dict[bytes, Launch] = {}
        self._origins: dict[RawOrigin, Origin] = {}
        self._remembered_bytes = 0
        self._remembered_since = 0
        self._unreadable: Unreadable | None = None
        self._decoder = self._make_decoder()
        self.late = 0
        """How many records came after their exec had been given up."""

    def __len__(self) -> int:
        """Returns how many execs have begun and are not emitted yet."""
        return len(self._waiting)

    def feed(
        self, records: Sequence[bytes], *, now_ns: int, wall_offset_ns: int
    ) -> Iterator[ExecEvent | ExitEvent]:
        """Yields the execs that these records complete, and the ends of programs, each after its exec.

        `now_ns` is any monotonic clock; `wall_offset_ns` is wall clock minus boot clock. A record that the
        probe cannot have sent is left out: see take_unreadable.
        """
        if now_ns - self._remembered_since > _REMEMBERED_NS:
            self.forget()
            self._remembered_since = now_ns
        decoder, count, at = self._decoder, len(records), 0
        while at < count:
            if decoder is not None and not self._waiting:
                events: list[ExecEvent | ExitEvent] = []
                at = decoder.events(records, at, wall_offset_ns, events)
                yield from events
                if at == count:
                    return
            record = records[at]
            at += 1
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
                        piece, facts, wall_offset_ns, _new(CommandLine, (argv, (), None, argc, total))
                    )
                else:
                    yield from self._some(piece, facts, now_ns, wall_offset_ns)
            except _UNREADABLE as exc:
                self._leave_out(record, exc)

    def _make_decoder(self) -> Decoder | None:
        """Returns what makes events of records that need not wait for others, where it was compiled."""
        if native.fast is None:
            return None
        return native.fast.Decoder(
            (ExecEvent, ExitEvent, ExecKey), _EXEC, self._machine, self._boot, self._launched, self._origins,
            self._launch, self._origin, self._root,
        )  # fmt: skip

    def take_unreadable(self) -> Unreadable | None:
        """Returns how many records were left out since the last call; None: none."""
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
        self, piece: ArgvPiece, facts: Facts | None, now_ns: int, wall_offset_ns: int
    ) -> Iterator[ExecEvent]:
        """Adds one of several records of an exec. Yields the exec when all are there."""
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
        """Returns the exec of an account whose last record is the oldest."""
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
        return self._machine.root_of(pid, ppid) if pid else None

    def expire(self, *, now_ns: int) -> Iterator[ExecEvent]:
        """Yields, marked as `lost`, the execs whose last record is older than the patience."""
        late = [
            key for key, partial in self._waiting.items() if now_ns - partial.heard_ns >= self._patience_ns
        ]
        for key in late:
            yield self._give_up(key)

    def oldest_ns(self) -> Nanoseconds | None:
        """Returns the wall clock of the earliest exec that waits for a record; None if there is none."""
        times = (key[0] + partial.wall_offset_ns for key, partial in self._waiting.items())
        earliest = min(times, default=None)
        return None if earliest is None else Nanoseconds(earliest)

    def drain(self) -> Iterator[ExecEvent]:
        """Yields, marked as `lost`, all execs that wait for a record, because no more records come."""
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

    def _event(
        self, piece: ArgvPiece, facts: Facts | None, wall_offset_ns: int, line: CommandLine
    ) -> ExecEvent:
        argv, holes, truncated, argc, total = line
        boot_ns, caller, pid, _, failed, *_ = piece
        if failed and self._max_argv is not None and len(argv) > self._max_argv:
            argv, holes = keep_ends(argv, holes, self._max_argv)
            truncated = truncated or Truncated.LIMIT
        kind, launches = (_FAILED, self._refused) if failed else (_EXEC, self._launched)
        host, boot_id, _, _ = self._machine
        time_ns = boot_ns + wall_offset_ns
        if facts is None:
            return ExecEvent(
                kind=kind, host=host, boot_id=boot_id,
                time_ns=Nanoseconds(time_ns), boot_ns=Nanoseconds(boot_ns),
                pid=pid, tid=caller, ppid=None, argv=argv, argc=argc, argv_bytes=total, holes=holes,
                truncated=truncated, errno=None, launch=UNKNOWN_LAUNCH, origin=UNKNOWN_ORIGIN,
            )  # fmt: skip
        image, replaces, tid, ppid, errno, _, _, origin, launch, account = facts
        image_ns, image_pid = image
        if image_ns:
            parent: ExecKey | None = _new(ExecKey, (self._boot, image_ns, image_pid))
        else:
            parent = self._root(image_pid, ppid if replaces else None)
        # Not ExecEvent(...), which takes 1.4 microseconds longer for each exec.
        return _new(
            ExecEvent,
            (
                kind, host, boot_id, time_ns, boot_ns, pid, tid, ppid,
                argv, argc, total, holes, truncated, errno if failed else None,
                launches.get(launch) or self._launch(launch, failed=failed),
                self._origins.get(origin) or self._origin(origin),
                parent, replaces, None, account, (),
            ),
        )  # fmt: skip

    def _launch(self, raw: bytes, *, failed: bool = False) -> Launch:
        """Decodes a launch, adds the user's name, and remembers it."""
        launch = decode_launch(raw)
        if launch.uid is not None:
            launch = launch._replace(user=self._machine.user_of(launch.uid))
        if failed:
            launch = launch._replace(privileged=None)
        self._make_room(len(raw))
        (self._refused if failed else self._launched)[raw] = launch
        return launch

    def _origin(self, raw: RawOrigin) -> Origin:
        """Decodes an origin, adds the login user's name, and remembers it."""
        raw = RawOrigin._make(raw)
        origin = decode_origin(raw)
        if origin.auid is not None:
            origin = origin._replace(login_user=self._machine.user_of(origin.auid))
        self._make_room(len(raw.texts))
        self._origins[raw] = origin
        return origin

    def _make_room(self, size: int) -> None:
        """Counts bytes that will be remembered, and forgets all if there are too many."""
        self._remembered_bytes += 2 * size + _REMEMBERED_EACH
        if self._remembered_bytes > _REMEMBERED_BYTES:
            self.forget()

    def rename(self, host: str) -> None:
        """Sets another name of the host, for the events that come."""
        self._machine = self._machine._replace(host=host)
        if self._decoder is not None:
            self._decoder.host = host

    def forget(self) -> None:
        """Forgets what was decoded, so that it is decoded again, with the users' present names."""
        for known in (self._launched, self._refused, self._origins):
            known.clear()
        self._remembered_bytes = 0
