"""A kernel that does on purpose what the real one does seldom."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from execaudit.probe import Losses
from tests.wirebytes import EXEC, LAST, Facts, Head, first

if TYPE_CHECKING:
    from collections.abc import Iterable


def exec_record(number: int, *words: bytes) -> bytes:
    """Returns the only record of exec `number`, which is its time, its pid and its first argument."""
    argv = b"".join(word + b"\0" for word in (b"%d" % number, *words))
    head = Head(boot_ns=number, tid=number, pid=number, total=len(argv), argc=1 + len(words), flags=LAST)
    facts = Facts(caller_tid=number, cut_from=len(argv), cut_to=len(argv))
    return first(EXEC, head, facts, argv)


class FakeSource:
    """A probe that gives out what it was told to: at each look one batch, and the losses so far."""

    def __init__(self, batches: Iterable[list[bytes]], losses: Iterable[int] = ()) -> None:
        self._batches = list(batches)
        self._losses = list(losses)
        self._lost = 0
        self.looks = 0
        self.emptied = threading.Event()
        self.detached = False

    def wait(self, timeout_s: float) -> None:
        """Never waits while there is something; then as told."""
        if not self._batches and not self._losses:
            self.emptied.set()
            threading.Event().wait(min(timeout_s, 0.01))

    def read(self) -> list[bytes]:
        """Returns the next batch."""
        self.looks += 1
        return self._batches.pop(0) if self._batches else []

    def losses(self) -> Losses:
        """Returns the counters; each look but the first of all may have lost some."""
        if self.looks and self._losses:
            self._lost += self._losses.pop(0)
        return Losses(execs=self._lost, records=0)

    def detach(self) -> None:
        """Notes it."""
        self.detached = True
