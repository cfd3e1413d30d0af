"""Keep a history within its limits while it is recorded to: a little at a time, between batches."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from execaudit import clock, prune
from execaudit.errors import StoreError
from execaudit.prune import Limits

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    from execaudit.store import Store

log = structlog.get_logger()

_LOOK_SECONDS = 60.0
# Of the storing thread's time, at each batch: four times a second.
_WORK_SECONDS = 0.1
_SMALLER = 0.95


class Retention:
    """Deletes what is too old or too much."""

    def __init__(self, path: Path, boot_id: str, limits: Limits) -> None:
        self._path, self._boot_id = path, boot_id
        self.limits = limits
        """May be set anew."""
        self._next_look = float("-inf")
        self._pruning: Iterator[int] | None = None

    def is_busy(self) -> bool:
        """Says whether it has begun, and is not done."""
        return self._pruning is not None

    def work(self, store: Store) -> None:
        """Does a little, if there is anything to do. Never raises: what fails is tried a minute later."""
        if self.limits == Limits():
            return
        if self._pruning is None and time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_SECONDS
        try:
            store.maintain(self._work)
        except StoreError as exc:
            self._pruning = None
            log.warning("not_pruned", reason=str(exc))

    def make_room(self, store: Store) -> bool:
        """On a full disk: deletes the oldest now, if there are limits. Returns whether there is room."""
        if self.limits == Limits():
            return False
        smaller = Limits(max_bytes=int(prune.size_of(self._path) * _SMALLER))

        def all_of_it(connection: sqlite3.Connection) -> bool:
            self._pruning = self._begin(connection, smaller)
            while self._pruning is not None:
                self._step()
            return prune.size_of(self._path) <= smaller.max_bytes  # type: ignore[operator]  # it is set

        try:
            return store.maintain(all_of_it)
        except StoreError as exc:
            self._pruning = None
            log.warning("not_pruned", reason=str(exc))
            return False

    def _work(self, connection: sqlite3.Connection) -> None:
        until = time.monotonic() + _WORK_SECONDS
        if self._pruning is None:
            self._pruning = self._begin(connection, self.limits)
        while self._pruning is not None and time.monotonic() < until:
            self._step()

    def _begin(self, connection: sqlite3.Connection, limits: Limits) -> Iterator[int] | None:
        now_ns = clock.wall_ns()
        wanted = prune.plan(connection, self._path, limits, now_ns)
        if wanted is None:
            return None
        log.info("pruning", reason=wanted.reason)
        return prune.prune(connection, wanted, boot_id=self._boot_id, now_ns=now_ns)

    def _step(self) -> None:
        if self._pruning is None:
            return
        done = next(self._pruning, None)
        if done is None:
            self._pruning = None
            log.info("pruned")
            # There may be more to do than was thought.
            self._next_look = 0.0
