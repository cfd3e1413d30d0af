"""The closed sets of words in an exec's record, and in a gap's. Pure vocabulary."""

from __future__ import annotations

from enum import Enum, IntFlag


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
    """The history, or the log, could not be written for longer than memory sufficed, or is at its limit."""
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
