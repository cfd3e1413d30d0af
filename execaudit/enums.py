"""The fixed sets of words in the record of an exec or a gap. Pure."""

from __future__ import annotations

import errno
from enum import Enum, IntFlag

# Two numbers have two names each. These are the names that strace and the manual page of execve use.
ERRNO_NAMES = {**errno.errorcode, errno.EDEADLK: "EDEADLK", errno.EOPNOTSUPP: "EOPNOTSUPP"}


def errno_name(number: int) -> str:
    """Returns the name of a positive error number: `ENOENT`, or `E524` if it has none."""
    return ERRNO_NAMES.get(number) or f"E{number}"


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
    """Cut on purpose (--max-argv), or a failed exec had more arguments than the probe reads."""
    FAULT = "fault"
    """The kernel could not read some of the memory."""
    LOST = "lost"
    """The kernel's ring buffer had no room for some of it."""


class GapReason(str, Enum):
    """Why execs are missing from the history."""

    RING_FULL = "ring_full"
    """The recorder was too slow, and the kernel's ring buffer had no room."""
    RECURSION = "recursion"
    """The kernel did not call the probe: more execs were under way than its kprobes can follow, or it was
    already running on that processor."""
    STORE_FULL = "store_full"
    """The history, or the log, could not be written for longer than memory sufficed, or is at its limit."""
    RECORDER_STOPPED = "recorder_stopped"
    """A recorder of the same boot was stopped or killed, and no other ran."""
    UNSTORABLE = "unstorable"
    """What was captured of these execs could not be understood, stored or written."""
    NOT_FORWARDED = "not_forwarded"
    """They were deleted on their host before they were shipped to the central database, which says this."""
    CLOCK = "clock"
    """The wall clock was stepped between these times. Nothing is missing, but times around it mislead."""


class Gained(IntFlag):
    """The privileges that a program's file gave to the process, which its caller did not have."""

    SETUID = 1
    SETGID = 2
    CAPABILITIES = 4
    """File capabilities."""

    # Enum's own is written in Python, and takes as long as hashing the rest of an event.
    __hash__ = int.__hash__


GAINED_WORDS = [",".join(str(one.name).lower() for one in Gained if one & bits) or None for bits in range(8)]
"""The words in the record for each Gained."""


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


class ChainReason(str, Enum):
    """Why a chain of seals begins."""

    BEGUN = "begun"
    """The history is new."""
    OLDER = "older"
    """The history was there before histories were sealed: what it had was sealed then."""
    SETUP = "setup"
    """`seal setup` made a key."""
    KEY_LOST = "key_lost"
    """The sealing key is gone or damaged: this chain has none."""
    OTHER_KEY = "other_key"
    """The sealing key is that of another chain."""
