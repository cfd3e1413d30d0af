"""The record that crosses every layer, and the gap beside it. Pure vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, NewType

from execaudit.enums import Kind
from execaudit.exec_id import ExecKey, boot_prefix, encode_id

if TYPE_CHECKING:
    from execaudit.enums import Ended, GapReason, Truncated
    from execaudit.fields import Launch, Origin

Nanoseconds = NewType("Nanoseconds", int)


class Hole(NamedTuple):
    """Bytes of a command line that are not in `ExecEvent.argv`."""

    at: int
    """Where in the captured bytes they are missing."""
    missing: int | None
    """How many; None when that cannot be known."""


class End(NamedTuple):
    """How a program ended. None where `how` does not say it."""

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

    Texts are the kernel's bytes, undecoded and unescaped. A NamedTuple rather than a frozen
    dataclass because the recorder makes one per exec, and this is made in a fifth of the time.
    """

    kind: Kind
    host: str
    boot_id: str
    """The kernel's boot id, a UUID."""
    time_ns: Nanoseconds
    """Wall clock when the exec took effect or failed, since 1970 UTC."""
    boot_ns: Nanoseconds
    """CLOCK_BOOTTIME then; with boot id and task, the exec's identity."""
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
    """How many bytes there were, each argument's NUL counted."""
    holes: tuple[Hole, ...]
    """What `argv` lacks, in order; empty when it is whole."""
    truncated: Truncated | None
    errno: int | None
    """The positive error number of a failed exec."""
    launch: Launch
    """What was run, as whom, in which directory; of a failed exec the caller's user and program."""
    origin: Origin
    """Where it came from: login, terminal, cgroup."""
    parent: ExecKey | None = None
    """The exec that led to this one: what the process, or the one it was forked from, ran."""
    replaces: bool = False
    """The parent ran in this very process, and ended with this exec."""
    end: End | None = None
    """None: the event is new, or a failed exec."""
    account: int | None = None
    """Uid that the exec is charged to when too much arrives. Neither stored nor in the record."""

    @property
    def key(self) -> ExecKey:
        """What the id says."""
        return ExecKey(*self._key())

    def _key(self) -> tuple[int, int, int]:
        task = self.tid if self.kind is Kind.FAILED else self.pid
        return boot_prefix(self.boot_id), self.boot_ns, task

    @property
    def id(self) -> str:
        """The exec's own id: 22 characters, unique across hosts and boots."""
        return encode_id(self._key())


class ExitEvent(NamedTuple):
    """The end of a program: its process ended with its last thread, or went on with another program."""

    exec: ExecKey
    """The program that it ran."""
    time_ns: Nanoseconds
    """Wall clock."""
    boot_ns: Nanoseconds
    pid: int
    status: int | None
    """As wait(2) gives it: exit status << 8, or the signal, + 128 with a core dump. None: the process went
    on with another program, which is not stored."""


@dataclass(frozen=True)
class Gap:
    """A time in which execs were missed."""

    host: str
    from_ns: Nanoseconds
    """Wall clock: nothing was missed before (since 1970 UTC)."""
    to_ns: Nanoseconds
    """Wall clock: nothing was missed after."""
    reason: GapReason
    count: int | None
    """How many execs; None when that cannot be known."""
    exits: int = 0
    """How many ends of programs were missed beside them."""
    uid: int | None = None
    """Whose execs they were, if one user's; None: not known, or of several users."""
    kind: ClassVar[str] = "gap"
    """What tells its record from an exec's."""
