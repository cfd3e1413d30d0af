"""Batches that wait until their sink can take them, up to a bound. Pure.

What is beyond the bound is not kept but counted: when the sink goes on, it is told so, by a
gap with the times between which execs are missing there.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from execaudit.event import Gap, GapReason, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from execaudit.event import ExecEvent, ExitEvent, Nanoseconds

# What an event takes beside its arguments, and the end of a program, in bytes of Python's memory:
# measured with tracemalloc over the tests' storm, texts that many execs share left out.
_EVENT_BYTES = 1000
_EXIT_BYTES = 400


class Finished(NamedTuple):
    """What the recorder finished since it last said so."""

    events: Sequence[ExecEvent]
    gaps: Sequence[Gap]
    exits: Sequence[ExitEvent]
    seen_ns: Nanoseconds
    """Wall clock: with this, all that was captured until then is finished."""


class Lost(NamedTuple):
    """What was only counted."""

    from_ns: Nanoseconds
    to_ns: Nanoseconds
    execs: int
    exits: int
    gaps: list[Gap]
    """Gaps that stood in the batches: they are never dropped."""


class Backlog:
    """The batches of one sink that waits, in their order, with a gap where some were dropped."""

    def __init__(self, host: str, most_bytes: int) -> None:
        """Keeps about so many bytes; once there are more, it drops until half of it is written."""
        self._host, self._most_bytes = host, most_bytes
        self._waiting: deque[Finished | Lost] = deque()
        self.size = 0
        """Bytes that the batches take, about."""
        self._seen_ns: Nanoseconds | None = None

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, batch: Finished) -> None:
        """Takes a batch, or counts what is in it."""
        if self and not (batch.events or batch.gaps or batch.exits):
            return
        if self.is_full():
            self._drop(batch)
        else:
            self._waiting.append(batch)
            self.size += weight(batch)
        self._seen_ns = batch.seen_ns

    def is_full(self) -> bool:
        """Says whether add() would drop."""
        drops = self._waiting and isinstance(self._waiting[-1], Lost)
        return self.size >= (self._most_bytes // 2 if drops else self._most_bytes)

    def first(self) -> Finished | None:
        """Returns what is to be written next, and leaves it here; None if nothing waits."""
        if not self._waiting:
            return None
        head = self._waiting[0]
        if isinstance(head, Finished):
            return head
        from_ns, to_ns, execs, exits, gaps = head
        gap = Gap(self._host, from_ns, to_ns, GapReason.STORE_FULL, execs, exits)
        return Finished([], [*gaps, gap], [], to_ns)

    def written(self) -> None:
        """Drops what first() returned: it is where it was to go."""
        head = self._waiting.popleft()
        if isinstance(head, Finished):
            self.size -= weight(head)

    def execs(self) -> int:
        """Returns how many execs wait, or are counted in what waits."""
        return sum(each.execs if isinstance(each, Lost) else _execs(each) for each in self._waiting)

    def _drop(self, batch: Finished) -> None:
        last = self._waiting[-1] if self._waiting else None
        # The first one may just be written.
        if isinstance(last, Lost) and len(self._waiting) > 1:
            before = last
            self._waiting.pop()
        else:
            began = batch.seen_ns if self._seen_ns is None else self._seen_ns
            before = Lost(began, began, 0, 0, [])
        self._waiting.append(
            Lost(
                min(before.from_ns, batch.seen_ns),  # the wall clock may be stepped back
                max(before.to_ns, batch.seen_ns),
                before.execs + _execs(batch),
                before.exits + len(batch.exits),
                merged([*before.gaps, *batch.gaps]),
            )
        )


def weight(batch: Finished) -> int:
    """Returns about how many bytes of memory a batch takes."""
    return (
        sum(len(event.argv) for event in batch.events)
        + _EVENT_BYTES * (len(batch.events) + len(batch.gaps))
        + _EXIT_BYTES * len(batch.exits)
    )


def merged(gaps: Sequence[Gap]) -> list[Gap]:
    """Returns one gap for neighbours of the same reason."""
    joined: list[Gap] = []
    for gap in gaps:
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.reason is gap.reason
            and last.uid == gap.uid
            and last.to_ns == gap.from_ns
        ):
            count = None if last.count is None or gap.count is None else last.count + gap.count
            joined[-1] = replace(last, to_ns=gap.to_ns, count=count, exits=last.exits + gap.exits)
        else:
            joined.append(gap)
    return joined


def _execs(batch: Finished) -> int:
    return sum(event.kind is not Kind.SNAPSHOT for event in batch.events)
