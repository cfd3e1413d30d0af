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

from execaudit.event import (
    ExecEvent,
    ExecKey,
    ExitEvent,
    Gained,
    Hole,
    Kind,
    Nanoseconds,
    Truncated,
    boot_prefix,
)
from execaudit.wire import UNKNOWN, RecordFlag, decode, decode_exit, is_exit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from execaudit.wire import Exit, Facts, Image, Piece

# The records of one exec are written one after the other by one program run: what is not
# there two seconds later was refused.
DEFAULT_PATIENCE_NS = Nanoseconds(2_000_000_000)
# Keys of execs that were given up, so that a late record does not make a second event.
_REMEMBERED = 4096

_ONLY = RecordFlag.LAST.value
# Looked up once: an IntFlag is dear to make, and a member of an Enum to find.
_EXEC, _FAILED = Kind.EXEC, Kind.FAILED
_new = tuple.__new__  # see wire
_GAINED = [Gained(bits) for bits in range(8)]
_Key = tuple[int, int]  # boot_ns, tid


class Origin(NamedTuple):
    """What all events of one recorder have in common."""

    host: str
    boot_id: str
    user_of: Callable[[int], str | None]
    """Name of a uid, or None."""
    root_of: Callable[[int, int | None], ExecKey | None]
    """What a process (pid, its ppid if that is known) ran when the probe was attached."""


class _CommandLine(NamedTuple):
    """What is known of a command line."""

    argv: bytes
    holes: tuple[Hole, ...]
    truncated: Truncated | None
    argc: int | None
    total: int | None


class _Partial:
    """An exec of which some records have come."""

    __slots__ = ("facts", "heard_ns", "last_seq", "pieces", "wall_offset_ns")

    def __init__(self, wall_offset_ns: int) -> None:
        self.facts: Facts | None = None
        self.pieces: dict[int, Piece] = {}
        self.last_seq: int | None = None
        self.heard_ns = 0
        self.wall_offset_ns = wall_offset_ns

    def add(self, piece: Piece, facts: Facts | None) -> bool:
        """Takes a record. Returns whether all are there."""
        self.pieces[piece.seq] = piece
        if facts is not None:
            self.facts = facts
        if piece.flags & RecordFlag.LAST:
            self.last_seq = piece.seq
        return self.last_seq is not None and len(self.pieces) == self.last_seq + 1

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


def keep_ends(argv: bytes, holes: tuple[Hole, ...], most: int) -> tuple[bytes, tuple[Hole, ...]]:
    """Returns a command line cut to `most` bytes, half from its head and half from its tail.

    The same cut as the probe makes for successful execs. Holes inside what is cut become part
    of the new one.
    """
    if len(argv) <= most:
        return argv, holes
    head, tail = most - most // 2, most // 2
    gone_to = len(argv) - tail
    inside = [hole.missing for hole in holes if head <= hole.at <= gone_to]
    missing = None if None in inside else gone_to - head + sum(n or 0 for n in inside)
    return argv[:head] + argv[gone_to:], (
        *(hole for hole in holes if hole.at < head),
        Hole(head, missing),
        *(Hole(hole.at - gone_to + head, hole.missing) for hole in holes if hole.at > gone_to),
    )


class Assembler:
    """Takes records, gives events."""

    def __init__(
        self,
        origin: Origin,
        *,
        max_argv: int | None = None,
        patience_ns: Nanoseconds = DEFAULT_PATIENCE_NS,
    ) -> None:
        """`max_argv` is what the probe was told; failed execs are cut to it here."""
        self._origin = origin
        self._boot = boot_prefix(origin.boot_id)
        self._max_argv = max_argv
        self._patience_ns = patience_ns
        self._waiting: dict[_Key, _Partial] = {}
        self._given_up: OrderedDict[_Key, None] = OrderedDict()
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
        Raises WireError at a record that the probe cannot have sent.
        """
        for record in records:
            if is_exit(record):
                ended = decode_exit(record)
                if self._waiting and ended.image in self._waiting:
                    yield self._give_up(ended.image)
                exit_ = self._exit(ended, wall_offset_ns)
                if exit_ is not None:
                    yield exit_
                continue
            piece, facts = decode(record)
            if self._waiting and facts is not None and facts.parent in self._waiting:
                yield self._give_up(facts.parent)
            key = (piece.boot_ns, piece.tid)
            partial = self._waiting.pop(key, None)
            if partial is None:
                if key in self._given_up:
                    self.late += 1
                    continue
                # Nearly every exec is one record.
                if (
                    facts is not None
                    and piece.flags == _ONLY
                    and piece.total == len(piece.argv)
                    and piece.argc != UNKNOWN
                ):
                    whole = _new(_CommandLine, (piece.argv, (), None, piece.argc, piece.total))
                    yield self._event(piece, facts, wall_offset_ns, whole)
                    continue
                partial = _Partial(wall_offset_ns)
            partial.heard_ns = now_ns
            if partial.add(piece, facts):
                yield self._event(piece, partial.facts, partial.wall_offset_ns, partial.join())
            else:
                self._waiting[key] = partial

    def _exit(self, ended: Exit, wall_offset_ns: int) -> ExitEvent | None:
        boot_ns, pid, image, status = ended
        key = self._key(image, None)
        if key is None:
            return None
        return _new(ExitEvent, (key, boot_ns + wall_offset_ns, boot_ns, pid, status))

    def _key(self, image: Image, ppid: int | None) -> ExecKey | None:
        if image.boot_ns:
            return _new(ExecKey, (self._boot, *image))
        return self._origin.root_of(image.pid, ppid) if image.pid else None

    def expire(self, *, now_ns: int) -> Iterator[ExecEvent]:
        """Yields, marked, the execs of which nothing was heard for the patience."""
        late = [
            key for key, partial in self._waiting.items() if now_ns - partial.heard_ns >= self._patience_ns
        ]
        for key in late:
            yield self._give_up(key)

    def drain(self) -> Iterator[ExecEvent]:
        """Yields, marked, all execs that are not whole: nothing more will come."""
        for key in list(self._waiting):
            yield self._give_up(key)

    def _give_up(self, key: _Key) -> ExecEvent:
        partial = self._waiting.pop(key)
        self._given_up[key] = None
        if len(self._given_up) > _REMEMBERED:
            self._given_up.popitem(last=False)
        some = next(iter(partial.pieces.values()))
        return self._event(some, partial.facts, partial.wall_offset_ns, partial.join())

    def _event(self, piece: Piece, facts: Facts | None, wall_offset_ns: int, line: _CommandLine) -> ExecEvent:
        argv, holes, truncated, argc, total = line
        if piece.failed and self._max_argv is not None and len(argv) > self._max_argv:
            argv, holes = keep_ends(argv, holes, self._max_argv)
            truncated = truncated or Truncated.LIMIT
        kind = _FAILED if piece.failed else _EXEC
        boot_ns, pid = Nanoseconds(piece.boot_ns), piece.pid
        time_ns = Nanoseconds(boot_ns + wall_offset_ns)
        host, boot_id, user_of, _ = self._origin
        if facts is None:
            return ExecEvent(
                kind=kind, host=host, boot_id=boot_id, time_ns=time_ns, boot_ns=boot_ns,
                pid=pid, tid=piece.tid, ppid=None, uid=None, euid=None, gid=None, user=None,
                comm=None, filename=None, exe=None, cwd=None,
                argv=argv, argc=argc, argv_bytes=total, holes=holes, truncated=truncated, errno=None,
            )  # fmt: skip
        (
            image, replaces, inode, device, nlink, gained, tid, ppid, uid, gid, euid, auid, session,
            errno, _, _, comm, parent_comm, filename, interpreter, tty, cgroup, cwd, exe,
        ) = facts  # fmt: skip
        if image.boot_ns:
            parent: ExecKey | None = _new(ExecKey, (self._boot, *image))
        else:
            parent = self._key(image, ppid if replaces else None)
        has_login, has_image = auid != UNKNOWN, exe is not None
        # Past its own constructor, which takes 1.4 microseconds longer; this is done for each exec.
        return _new(ExecEvent, (
            kind, host, boot_id, time_ns, boot_ns, pid, tid, ppid, uid, euid, gid, user_of(uid),
            comm, filename, exe, cwd, argv, argc, total, holes, truncated, errno if piece.failed else None,
            parent, replaces, parent_comm, auid if has_login else None,
            session if session != UNKNOWN else None, user_of(auid) if has_login else None, tty, cgroup,
            interpreter, inode if has_image else None, device if has_image else None,
            nlink if has_image else None, None if piece.failed else _GAINED[gained], None,
        ))  # fmt: skip
