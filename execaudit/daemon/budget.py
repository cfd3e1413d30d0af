"""Refuse new execs while a sink is at its limit: first those of the account that lately took most of it.

An account is the uid that an exec is charged to; see ExecEvent.account. Refused execs are counted in gaps
that name the accounts. Root is never refused.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import TYPE_CHECKING, NamedTuple

from execaudit.daemon.losses import Lost, account_of, time_of
from execaudit.enums import GapReason, Kind
from execaudit.event import ExitEvent, Nanoseconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from execaudit.daemon.backlog import Finished
    from execaudit.event import ExecEvent, Gap
    from execaudit.exec_id import ExecKey

_ROOT = 0
_STORED = object()
# "Lately" is an hour, forgotten in these parts.
_PARTS, _PART_SECONDS = 6, 600.0
# So many accounts are remembered; then the smaller half is forgotten.
_MOST_ACCOUNTS = 4096
# So many refused execs are remembered, to refuse their ends too. The end of an older one is stored as that
# of an unknown program.
_MOST_REFUSED = 20_000
# Refused execs are counted for so long before a gap is written: a flood must not fill the sink with
# gaps. GapLog cannot do that: it joins gaps before the sinks, for all sinks, and each sink refuses others.
_JOINED_SECONDS = 15.0


class Stored(NamedTuple):
    """What a sink stores of an exec."""

    exec_bytes: int
    """About how much it takes beside its arguments and paths."""
    is_line: bool
    """Whether arguments and paths are in a line of their own, escaped; else as they are, and equal paths of
    several execs once."""
    has_end: bool
    """Whether its end is stored, too."""


HISTORY = Stored(150, is_line=False, has_end=True)
"""With its indexes and its end."""
JSON_LOG = Stored(1000, is_line=True, has_end=False)
"""Before it is compressed."""


class Budget:
    """Knows how much of one sink each account took, and decides who may have more."""

    def __init__(
        self, host: str, stored: Stored = HISTORY, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._host, self._stored, self._monotonic = host, stored, monotonic
        self._parts: deque[Counter[int | None]] = deque([Counter()], maxlen=_PARTS)
        self._part_ends = monotonic() + _PART_SECONDS
        self._refused: dict[tuple[int, int], int | None] = {}
        """The account of each refused exec, by boot clock and pid."""
        self._lost = Lost()
        self._lost_ns = (Nanoseconds(0), Nanoseconds(0))
        """The times of the first and the last exec that was refused."""
        self._next_gap = 0.0

    def admit(self, batch: Finished, pressure: float | None, room_bytes: int = 0) -> Finished:
        """Returns what is to be stored of a batch.

        `pressure` None refuses nobody, 0 the largest account, 1 all but root. Further accounts are refused,
        the largest first, until the rest of the batch fits into `room_bytes`.
        """
        self._forget()
        self._host = batch.host or self._host
        if pressure is None and not self._refused and not self._lost:
            self._charge(batch)
            return batch
        refused = set() if pressure is None else self._to_refuse(pressure, batch, room_bytes)
        events = []
        replaced: list[ExitEvent] = []
        for event in batch.events:
            account = account_of(event)
            # What a refused exec replaced has ended with it.
            is_first = event.replaces and self._is_stored(event.parent)
            if account in refused and event.kind is not Kind.SNAPSHOT:
                self._refuse(event, account, time_of(event, batch.seen_ns))
                if is_first and event.parent is not None:
                    replaced.append(ExitEvent(event.parent, event.time_ns, event.boot_ns, event.pid, None))
            else:
                events.append(event)
        exits = [*replaced, *(end for end in batch.exits if not self._is_of_refused(end, batch.seen_ns))]
        gaps = list(batch.gaps)
        if self._lost and (pressure is None or self._monotonic() >= self._next_gap):
            self._next_gap = self._monotonic() + _JOINED_SECONDS
            gaps += self.take_gaps()
        # What is in no gap yet is not finished: if the recorder is killed, the next one's gap begins there.
        seen_ns = min(batch.seen_ns, self._lost_ns[0]) if self._lost else batch.seen_ns
        admitted = batch._replace(events=events, exits=exits, gaps=gaps, seen_ns=seen_ns)
        self._charge(admitted)
        return admitted

    def take_gaps(self) -> list[Gap]:
        """Returns the gaps for what was refused since the last call."""
        if not self._lost:
            return []
        lost, self._lost = self._lost, Lost()
        return lost.gaps(self._host, GapReason.STORE_FULL, *self._lost_ns)

    def _forget(self) -> None:
        """Forgets what was taken more than an hour ago."""
        now = self._monotonic()
        while now >= self._part_ends:
            self._part_ends = max(self._part_ends + _PART_SECONDS, now - _PARTS * _PART_SECONDS)
            self._parts.append(Counter())

    def _charge(self, batch: Finished) -> None:
        """Adds what a batch takes of the history."""
        taken = self._parts[-1]
        taken.update(self._taken(batch))
        if len(taken) > _MOST_ACCOUNTS:
            self._parts[-1] = Counter(dict(taken.most_common(_MOST_ACCOUNTS // 2)))

    def _to_refuse(self, pressure: float, batch: Finished, room_bytes: int) -> set[int | None]:
        """Returns the accounts whose execs of a batch are refused."""
        wanted = Counter(self._taken(batch))
        del wanted[_ROOT]
        if not wanted:
            return set()
        taken = wanted.copy()
        for part in self._parts:
            taken.update(part)
        del taken[_ROOT]
        enough = max(taken.values()) * (1 - pressure)
        refused = set()
        left = sum(wanted.values())
        for account in sorted(wanted, key=lambda each: -taken[each]):
            if taken[account] >= enough or (room_bytes and left > room_bytes):
                refused.add(account)
                left -= wanted[account]
        return refused

    def _refuse(self, event: ExecEvent, account: int | None, time_ns: Nanoseconds) -> None:
        self._note(account, time_ns, execs=1)
        if self._stored.has_end and event.kind is not Kind.FAILED:
            self._refused[event.boot_ns, event.pid] = account
            if len(self._refused) > _MOST_REFUSED:
                self._refused.pop(next(iter(self._refused)))

    def _is_stored(self, replaced: ExecKey | None) -> bool:
        """Says whether an exec was not refused. Forgets one that was: no end of it will come."""
        return (
            replaced is not None and self._refused.pop((replaced.boot_ns, replaced.task), _STORED) is _STORED
        )

    def _is_of_refused(self, end: ExitEvent, seen_ns: Nanoseconds) -> bool:
        key = (end.exec.boot_ns, end.exec.task)
        if key not in self._refused:
            return False
        self._note(self._refused.pop(key), time_of(end, seen_ns), exits=1)
        return True

    def _note(self, account: int | None, time_ns: Nanoseconds, *, execs: int = 0, exits: int = 0) -> None:
        first, last = self._lost_ns if self._lost else (time_ns, time_ns)
        self._lost_ns = (min(first, time_ns), max(last, time_ns))
        self._lost.note(account, execs=execs, exits=exits)

    def taken_by(self, batch: Finished) -> int:
        """Returns about how many bytes the execs of a batch take."""
        return sum(self._taken(batch).values())

    def _taken(self, batch: Finished) -> dict[int | None, int]:
        exec_bytes, is_line, _ = self._stored
        return {
            account: execs * exec_bytes + (line_bytes if is_line else argv_bytes + shared_bytes)
            for account, (execs, argv_bytes, shared_bytes, line_bytes) in batch.weights.items()
        }
