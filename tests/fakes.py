"""Fakes of the kernel, which do on purpose what the real one seldom does."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from execaudit.capture.probe import Losses
from tests.wirebytes import EXEC, LAST, Facts, Head, first

if TYPE_CHECKING:
    from collections.abc import Iterable


def exec_record(number: int, *words: bytes) -> bytes:
    """Returns the only record of an exec. `number` is its time, its pid and its first argument."""
    argv = b"".join(word + b"\0" for word in (b"%d" % number, *words))
    head = Head(boot_ns=number, tid=number, pid=number, total=len(argv), argc=1 + len(words), flags=LAST)
    facts = Facts(caller_tid=number, cut_from=len(argv), cut_to=len(argv))
    return first(EXEC, head, facts, argv)


class FakeSource:
    """A probe that returns given batches, one for each read, and given losses."""

    def __init__(
        self,
        batches: Iterable[list[bytes]],
        losses: Iterable[int] = (),
        lost_exits: Iterable[int] = (),
        lost_returns: int = 0,
        skipped: tuple[int, int] = (0, 0),
    ) -> None:
        self._batches = list(batches)
        self._losses, self._lost_exits = list(losses), list(lost_exits)
        self._lost = self._exits_lost = 0
        self._returns = lost_returns
        self._skipped = skipped
        self.looks = 0
        self.emptied = threading.Event()
        self.detached = False

    def wait(self, timeout_s: float) -> None:
        """Returns at once while there are batches or losses; then waits a moment."""
        if not self._batches and not self._losses and not self._lost_exits:
            self.emptied.set()
            threading.Event().wait(min(timeout_s, 0.01))

    def read(self) -> list[bytes]:
        """Returns the next batch."""
        self.looks += 1
        return self._batches.pop(0) if self._batches else []

    def losses(self) -> Losses:
        """Returns the counters, and adds the next given loss before."""
        if self._losses:
            self._lost += self._losses.pop(0)
        if self._lost_exits:
            self._exits_lost += self._lost_exits.pop(0)
        return Losses(
            execs=self._lost,
            records=0,
            exits=self._exits_lost,
            images=0,
            returns=self._returns,
            skipped=self._skipped[0],
            skipped_exits=self._skipped[1],
        )

    def losses_by_account(self) -> dict[int, tuple[int, int]]:
        """Nobody's in particular."""
        return {}

    def detach(self) -> None:
        """Remembers that it was called."""
        self.detached = True


class FakeRing:
    """A ring buffer of a fixed size. It refuses and counts records that do not fit, as the kernel's does."""

    def __init__(self, capacity: int) -> None:
        self._room = capacity
        self._records: list[bytes] = []
        self._changed = threading.Condition()
        self.refused = 0
        self.waits = 0

    def emit(self, record: bytes) -> None:
        """Sends a record."""
        with self._changed:
            if len(record) > self._room:
                self.refused += 1
                return
            self._room -= len(record)
            self._records.append(record)
            self._changed.notify_all()

    def await_empty(self) -> bool:
        """Waits until all records were read; returns False if that takes very long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._records, 30)

    def wait(self, timeout_s: float) -> None:
        """Waits until there are records."""
        with self._changed:
            self.waits += 1
            self._changed.wait_for(lambda: self._records, timeout_s)

    def read(self) -> list[bytes]:
        """Returns all records, and frees their room."""
        with self._changed:
            records, self._records = self._records, []
            self._room += sum(map(len, records))
            self._changed.notify_all()
            return records

    def losses(self) -> Losses:
        """Returns the counters."""
        return Losses(execs=self.refused, records=0, exits=0, images=0)

    def losses_by_account(self) -> dict[int, tuple[int, int]]:
        """Nobody's in particular."""
        return {}

    def detach(self) -> None:
        """Does nothing: tests send no more records after this."""
