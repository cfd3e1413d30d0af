"""The record that crosses every layer, and the gap beside it. Pure vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntFlag
from functools import lru_cache
from typing import NamedTuple, NewType

Nanoseconds = NewType("Nanoseconds", int)

# Crockford's base 32: no i, l, o, u; sorts as the numbers do; one word to a double click.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES = {char: value for value, char in enumerate(_ALPHABET)}
# Two letters at a time: an id is made for each exec, and this halves its cost.
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
# 28 bits of the boot id, 60 of the boot clock (36 years), 22 of the task: PID_MAX_LIMIT
# is 2**22. Ids of two hosts collide only if all three agree.
_BOOT_BITS, _TIME_BITS, _TASK_BITS = 28, 60, 22
ID_LENGTH = (_BOOT_BITS + _TIME_BITS + _TASK_BITS) // 5
_REST_BITS = 50
_SLOW_SHIFTS = range(5 * ID_LENGTH - _REST_BITS - 10, -1, -10)


class Kind(str, Enum):
    """What happened."""

    EXEC = "exec"
    """A program was started."""
    FAILED = "failed"
    """execve or execveat returned an error; the caller went on."""
    SNAPSHOT = "snapshot"
    """The program was running already when recording began."""

    __hash__ = str.__hash__  # see Gained


class Truncated(str, Enum):
    """Why argv is not whole."""

    LIMIT = "limit"
    """Cut on purpose (--max-argv), or beyond what the probe walks of a failed exec's argv."""
    FAULT = "fault"
    """The kernel could not read some of the memory."""
    LOST = "lost"
    """Records of it were refused by the ring buffer."""


class GapReason(str, Enum):
    """Why execs are missing from the history."""

    RING_FULL = "ring_full"
    """The recorder was too slow, and the kernel's ring buffer had no room."""
    RECURSION = "recursion"
    """The kernel left the probe out: with kprobes, because it followed too many execs at a time."""
    STORE_FULL = "store_full"
    """The history, or the log, could not be written for longer than memory sufficed."""
    RECORDER_STOPPED = "recorder_stopped"
    """No recorder ran, after one had in the same boot: it was stopped, or killed."""
    UNSTORABLE = "unstorable"
    """What was captured of these execs could not be understood, stored or written."""
    CLOCK = "clock"
    """The wall clock was stepped, between these times: nothing is missing, but times mislead."""


class Gained(IntFlag):
    """What the image's file gave a process that it did not have."""

    SETUID = 1
    SETGID = 2
    CAPABILITIES = 4
    """File capabilities."""

    # An Enum's own is Python, and takes as long as that of all else in an event.
    __hash__ = int.__hash__


class Ended(str, Enum):
    """What became of a program."""

    EXITED = "exited"
    SIGNALED = "signaled"
    """A signal ended it."""
    REPLACED = "replaced"
    """Its process executed another program."""
    RUNNING = "running"
    """It had not ended when the history was read."""
    UNKNOWN = "unknown"
    """Its end was lost, or came when nobody recorded."""


class Hole(NamedTuple):
    """Bytes of a command line that are not in `ExecEvent.argv`."""

    at: int
    """Where in the captured bytes they are missing."""
    missing: int | None
    """How many; None when that cannot be known."""


class ExecKey(NamedTuple):
    """What an exec id says: the exec itself, never a bare pid."""

    boot: int
    """The first 28 bits of the boot id."""
    boot_ns: int
    """The boot clock when the exec took effect, in nanoseconds."""
    task: int
    """The task then: of a failed exec the tid, of all others the pid."""


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
    # From here to `traced`: see Launch.
    uid: int | None
    euid: int | None
    gid: int | None
    user: str | None
    """Name of uid when it was recorded."""
    comm: bytes | None
    """15 bytes at most; of a failed exec the caller's."""
    filename: bytes | None
    """The path as given to execve."""
    exe: bytes | None
    """The image that runs; of a failed exec the caller's."""
    cwd: bytes | None
    parent_comm: bytes | None = None
    """Of the process `ppid`."""
    interpreter: bytes | None = None
    """Of a script: the program that its first line, or binfmt_misc, names."""
    inode: int | None = None
    """Of the image that runs, as `device` and `nlink` are."""
    device: int | None = None
    """major << 20 | minor, as the kernel has it (of btrfs and overlayfs not what stat says)."""
    nlink: int | None = None
    """Names that the file has; 0 of a deleted one or a memfd."""
    privileged: Gained | None = None
    """What the image's file gave the process; Gained(0): nothing."""
    root: bytes | None = None
    """Path of the process's root directory as the host sees it; None: the host's root."""
    mnt_ns: int | None = None
    """Inode number of its mount namespace; None: the host's."""
    traced: int | None = None
    """Pid of the tracer at the exec, which could have rewritten the arguments; None: no tracer."""
    # From here to `cgroup`: see Place.
    auid: int | None = None
    """Login uid; None when unset too."""
    session: int | None = None
    """Audit session; None when unset too."""
    login_user: str | None = None
    """Name of auid when it was recorded."""
    tty: bytes | None = None
    """The controlling terminal below /dev: `pts/3`."""
    cgroup: bytes | None = None
    """Path in the unified hierarchy; where that is the root, in the pids or memory controller's."""
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


Launch = tuple[
    "int | None", "int | None", "int | None", "str | None", "bytes | None", "bytes | None", "bytes | None",
    "bytes | None", "bytes | None", "bytes | None", "int | None", "int | None", "int | None", "Gained | None",
    "bytes | None", "int | None", "int | None",
]  # fmt: skip
"""event[14:31], from uid to traced: what was run, as whom, in which directory. Many events have the
same, and what is made of it is remembered by it."""
UNKNOWN_LAUNCH: Launch = (None,) * 17
Place = tuple["int | None", "int | None", "str | None", "bytes | None", "bytes | None"]
"""event[31:36], from auid to cgroup: where it came from. (Literal, so that mypy checks the types.)"""
UNKNOWN_PLACE: Place = (None,) * 5


class ExitEvent(NamedTuple):
    """The end of a process: its last thread is gone."""

    exec: ExecKey
    """The program that it ran."""
    time_ns: Nanoseconds
    """Wall clock."""
    boot_ns: Nanoseconds
    pid: int
    status: int
    """As wait(2) gives it: exit status << 8, or the signal, + 128 with a core dump."""


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


@lru_cache(maxsize=64)
def boot_prefix(boot_id: str) -> int:
    """Returns the part of a boot id (a UUID as text) that goes into exec ids."""
    return int(boot_id[:7], 16)


def encode_id(key: tuple[int, int, int]) -> str:
    """Returns the text of an exec id, given the values of an ExecKey; texts of one boot sort by time."""
    boot, boot_ns, task = key
    # What changes once in a quarter of a second, and what each exec has of its own: small numbers.
    rest = (boot_ns & (1 << _REST_BITS - _TASK_BITS) - 1) << _TASK_BITS | task
    slow = _slow_part(boot << _TIME_BITS + _TASK_BITS - _REST_BITS | boot_ns >> _REST_BITS - _TASK_BITS)
    pairs = _PAIRS
    return (
        f"{slow}{pairs[rest >> 40]}{pairs[rest >> 30 & 1023]}{pairs[rest >> 20 & 1023]}"
        f"{pairs[rest >> 10 & 1023]}{pairs[rest & 1023]}"
    )


@lru_cache(maxsize=64)
def _slow_part(number: int) -> str:
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SLOW_SHIFTS])


def decode_id(text: str) -> ExecKey | None:
    """Returns what an exec id says, or None if the text is not one."""
    number = 0
    for char in text.lower():
        value = _VALUES.get(char)
        if value is None:
            return None
        number = number << 5 | value
    if len(text) != ID_LENGTH:
        return None
    return ExecKey(
        number >> (_TIME_BITS + _TASK_BITS),
        number >> _TASK_BITS & (1 << _TIME_BITS) - 1,
        number & (1 << _TASK_BITS) - 1,
    )
