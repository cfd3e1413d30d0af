"""The events that every layer passes on: an exec, an exit, a gap and a hit of a rule. Types only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, NewType

from execaudit.enums import Kind
from execaudit.exec_id import ExecKey, boot_prefix, encode_id

if TYPE_CHECKING:
    from execaudit.enums import Ended, GapReason, Truncated
    from execaudit.fields import Launch, Origin

Nanoseconds = NewType("Nanoseconds", int)
LEVELS = ("informational", "low", "medium", "high", "critical")
"""Of detection rules, the least first."""


class Hole(NamedTuple):
    """Bytes of a command line that are not in `ExecEvent.argv`."""

    at: int
    """Where in the captured bytes they are missing."""
    missing: int | None
    """How many; None when that cannot be known."""


MARK_BYTES = 21
"""The size of a mark: `REDACTED:` and 12 characters."""


class Redaction(NamedTuple):
    """A mark in `ExecEvent.argv` that the recorder put in the place of a secret."""

    argument: int
    """The index of the argument, or of the part of one: see arguments.split_argv."""
    offset: int
    """Bytes of that argument before the mark."""


class End(NamedTuple):
    """How a program ended. A field is None where it does not apply to `how`."""

    how: Ended
    code: int | None = None
    """Exit status, 0 to 255."""
    signal: int | None = None
    duration_ns: int | None = None
    """From the exec (of a snapshot: from when recording began) to the end."""
    replaced_by: ExecKey | None = None
    """The exec of the same process that came next."""


class ExecEvent(NamedTuple):
    """One exec, successful or failed. None means: not known.

    Texts are the kernel's bytes, undecoded and unescaped. This is a NamedTuple because the recorder
    makes one for each exec, and a frozen dataclass takes five times as long to make.
    """

    kind: Kind
    host: str
    boot_id: str
    """The kernel's boot id, a UUID."""
    time_ns: Nanoseconds
    """Wall clock when the exec took effect or failed, since 1970 UTC."""
    boot_ns: Nanoseconds
    """CLOCK_BOOTTIME at that moment; with boot id and task, the exec's identity."""
    pid: int
    """Thread group id, in the initial pid namespace."""
    tid: int
    """The thread that called execve."""
    ppid: int | None
    argv: bytes
    """What was captured of the command line, each argument ended by a NUL."""
    argc: int | None
    """How many arguments there were."""
    argv_bytes: int | None
    """How many bytes there were, the NUL of each argument included."""
    holes: tuple[Hole, ...]
    """The bytes that `argv` lacks, in order; empty when it is whole."""
    truncated: Truncated | None
    errno: int | None
    """The positive error number of a failed exec."""
    launch: Launch
    """The program, user and directory; of a failed exec the caller's user and program."""
    origin: Origin
    """Where it came from: login, terminal, cgroup."""
    parent: ExecKey | None = None
    """The exec that led to this one: it started what this process, or the one it was forked from, ran."""
    replaces: bool = False
    """True: the parent ran in this same process, and this exec ended it."""
    end: End | None = None
    """None: the event is new, or a failed exec."""
    account: int | None = None
    """The uid that the exec counts for when more arrive than can be stored. Not stored, not in the record."""
    redacted: tuple[Redaction, ...] = ()
    """Where secrets were replaced, in order. Sizes are those of what is there now."""

    @property
    def key(self) -> ExecKey:
        """The numbers that the id stands for."""
        return ExecKey(*self._key())

    def _key(self) -> tuple[int, int, int]:
        task = self.tid if self.kind is Kind.FAILED else self.pid
        return boot_prefix(self.boot_id), self.boot_ns, task

    @property
    def id(self) -> str:
        """The exec's own id: 22 characters, unique across hosts and boots."""
        return encode_id(self._key())


class ExitEvent(NamedTuple):
    """The end of a program: the last thread of its process ended, or the process executed another program."""

    exec: ExecKey
    """The exec that started the program."""
    time_ns: Nanoseconds
    """Wall clock."""
    boot_ns: Nanoseconds
    pid: int
    status: int | None
    """As wait(2) gives it: exit status << 8, or the signal, + 128 with a core dump. None: the process
    executed another program, and that exec is not stored."""


class Earlier(NamedTuple):
    """What the history knows of a process that ran before the recorder began."""

    exec: ExecKey
    """The last exec that an earlier recorder stored of this process."""
    number: int
    """Its row in the database."""
    goes_on: bool
    """The process runs this program still. False: it executed another one while nobody recorded."""


@dataclass(frozen=True)
class Gap:
    """A time in which execs were missed."""

    host: str
    from_ns: Nanoseconds
    """Wall clock, since 1970 UTC. Nothing was missed before."""
    to_ns: Nanoseconds
    """Wall clock. Nothing was missed after."""
    reason: GapReason
    count: int | None
    """How many execs were missed; None when that cannot be known."""
    exits: int = 0
    """How many ends of programs were missed as well."""
    uid: int | None = None
    """The user whose execs they were; None: not known, or several users."""
    kind: ClassVar[str] = "gap"
    """The value of `kind` in its record."""


class Sealed(NamedTuple):
    """What a seal says that leaves the host."""

    time_ns: Nanoseconds
    """Wall clock: what was stored until then is sealed."""
    host: str
    head: str
    epoch: int
    is_keyed: bool
    """A key vouches for it."""


class HuntRule(NamedTuple):
    """What a detection rule says of itself."""

    id: str | None
    """A UUID."""
    title: str
    level: str | None
    """One of LEVELS."""
    tags: tuple[str, ...]
    file: str
    """The path by which it was found."""


class Hit(NamedTuple):
    """A detection rule that is true of an exec, found while that was recorded."""

    number: int
    """The exec's row in the database."""
    rule: HuntRule
    left_out: int
    """So many hits of the rule before this one were too many, and are only counted."""
    exec_id: str
    time_ns: Nanoseconds
    """Of the exec."""
    host: str
    pid: int
    uid: int | None
    user: str | None
    comm: str | None
    exe: str | None
