"""What readers of logs find: execs, their ends, gaps, and what cannot be taken. Pure."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol

from execaudit.event import Nanoseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from execaudit.event import ExecEvent, ExitEvent, Gap

LAST_NS = 2**63 - 1
LAST_TASK = 2**22 - 1
LAST_32 = 2**32 - 1
# Ids have 60 bits for the boot clock. In ids that are made, the first of these is set: no recorded boot has
# run for 18 years. The others last as long; then another boot is made.
_MADE = 1 << 59


class MadeBoot(NamedTuple):
    """The boot that stands for a host's in a log that does not name it."""

    boot_id: str
    """A UUID of version 8, which no kernel makes: its third group begins with 8."""
    offset_ns: int
    """Wall clock minus boot clock."""

    def boot_ns(self, time_ns: int) -> Nanoseconds:
        """Returns the boot clock of a moment."""
        return Nanoseconds(time_ns - self.offset_ns)


def made_boot(source: str, host: str, time_ns: int) -> MadeBoot:
    """Returns the boot for a moment (wall clock, of 64 bits): always the same for the same arguments."""
    return _made(source, host, time_ns // _MADE)


@lru_cache(1024)
def _made(source: str, host: str, era: int) -> MadeBoot:
    name = f"execaudit import\0{source}\0{host}\0{era}".encode("utf-8", "surrogatepass")
    digest = hashlib.sha256(name).hexdigest()
    boot_id = f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-9{digest[17:20]}-{digest[20:32]}"
    return MadeBoot(boot_id, (era - 1) * _MADE)


class Span:
    """A time in which a host was recorded by others."""

    __slots__ = ("boot_id", "end_ns", "host", "is_start", "start_ns")

    def __init__(self, host: str, boot_id: str, at_ns: int, *, is_start: bool = False) -> None:
        self.host, self.boot_id = host, boot_id
        self.start_ns = self.end_ns = at_ns
        self.is_start = is_start
        """A recorder started then, so nobody recorded just before."""

    def extend(self, at_ns: int) -> None:
        """Takes a moment in."""
        self.start_ns, self.end_ns = min(self.start_ns, at_ns), max(self.end_ns, at_ns)


class Taken(NamedTuple):
    """An exec, or the end of one."""

    line: int
    span: Span
    event: ExecEvent | None = None
    exit: ExitEvent | None = None
    infers: bool = False
    """The source does not say what led to it."""


class Lost(NamedTuple):
    """A gap that the source tells."""

    line: int
    gap: Gap


class Reject(NamedTuple):
    """Something that cannot be taken."""

    line: int
    """Where it begins in its file, from 1."""
    reason: str
    text: bytes = b""


class Other(NamedTuple):
    """So many that are not about execs."""

    number: int


Item = Taken | Lost | Reject | Other


class RejectError(Exception):
    """A part of a log cannot be taken; the text is the reason."""


class Reader(Protocol):
    """Reads the lines of a log. Hostile ones too: it raises nothing, and its memory is bounded."""

    def feed(self, number: int, line: bytes) -> Sequence[Item]:
        """Takes a line without its end; returns what is complete by now."""
        ...

    def finish(self) -> Sequence[Item]:
        """Returns the rest. Another file may begin then."""
        ...
