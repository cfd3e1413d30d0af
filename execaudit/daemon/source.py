"""What the recorder needs of the probe, and what one read of it gives."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from array import array

    from execaudit.capture.probe import Losses
    from execaudit.event import Gap, Nanoseconds


class Source(Protocol):
    """The probe, as the recorder needs it."""

    def wait(self, timeout_s: float) -> None:
        """Returns when records should be read, or after the timeout."""

    def read(self) -> list[bytes]:
        """Returns the records that are there."""

    def losses(self) -> Losses:
        """Returns the loss counters."""

    def losses_by_account(self) -> dict[int, tuple[int, int]]:
        """Returns whose the losses of execs and exits are, as far as that is known."""

    def detach(self) -> None:
        """Stops capturing; what was captured can still be read."""


class Captured(NamedTuple):
    """What one read of the ring gave."""

    packed: bytes
    """The wire records, one after the other. One large block goes back to the system when it is
    freed; thousands of small objects would fragment the memory."""
    lengths: array[int]
    at_ns: int
    """Monotonic clock, when it was read: the time that an exec waits in the queue does not make it late."""
    wall_offset_ns: int
    gaps: list[Gap]
    seen_ns: Nanoseconds
    """Wall clock: all that happened before this has been read."""

    def records(self) -> list[bytes]:
        """Returns each wire record."""
        packed = self.packed
        ends = [*accumulate(self.lengths)]
        return [packed[end - length : end] for end, length in zip(ends, self.lengths, strict=True)]
