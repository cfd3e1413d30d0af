"""Keep a history within its limits while it is recorded to: a little at a time, between batches.

Execs that are too old are deleted, unless the wall clock is in doubt. When the history is too large, the
oldest execs are deleted, but none younger than a minimum age: when only such execs are left, new ones are
refused by account, see budget.py. Root is never refused, so the history can then be larger. Each of these
states is logged when it begins.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from execaudit.daemon import wait_for
from execaudit.daemon.budget import Budget
from execaudit.database import files
from execaudit.errors import DamagedStoreError, StoreError
from execaudit.sizes import size_text
from execaudit.store import limits, prune, prune_plan
from execaudit.store.prune_plan import NEARLY_ALL, Now
from execaudit.system import clock, procfs

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from execaudit.daemon.backlog import Finished
    from execaudit.daemon.wait_for import WaitFor
    from execaudit.event import Gap
    from execaudit.store.limits import Limits
    from execaudit.store.prune_plan import Plan
    from execaudit.store.sealing import Sealer
    from execaudit.store.writer import Store

log = structlog.get_logger()

_LOOK_SECONDS = 60.0
# Of the storing thread's time, at each batch: four times a second.
_WORK_SECONDS = 0.1
_SMALLER = 0.95
# The more the history is above its limit, the more accounts are refused: so far above it, all but root.
_MARGIN = 0.25
# While a pruning makes room, the history may grow by this part of its limit before anybody is refused.
_LEEWAY = 0.05
# A pruning for its size that makes it smaller by less than this part of the limit does not keep the limit.
_LEAST_FREED = 0.01
# So much free room within the database is enough: to write there takes none of the file system.
_ROOM_BYTES = 4_000_000


class Retention:
    """Deletes what is too old or too much."""

    def __init__(self, path: Path, boot_id: str, wanted: Limits, *, host: str = "") -> None:
        self._path, self._boot_id = path, boot_id
        self.limits = wanted
        """As configured. May be set anew."""
        self.wait_for: WaitFor | None = None
        """What is not forwarded is not deleted for its age. May be set anew."""
        self._budget = Budget(host)
        self._next_look = float("-inf")
        self._pruning: Iterator[object] | None = None
        self._ceiling: int | None = None
        """Up to how much the history may grow while a pruning makes room. It never rises while the limits are
        the same: else who fills a history faster than it is pruned would not be refused."""
        self._before: int | None = None
        """How large it was when the last pruning by size began."""
        self._pressure: float | None = None
        self._room_bytes = 2**63
        """How much may be added until the limit is reached."""
        self._said: set[str] = set()
        self._told: Limits | None = None

    def is_busy(self) -> bool:
        """Says whether a pruning has begun and is not done."""
        return self._pruning is not None

    def admit(self, batch: Finished) -> Finished:
        """Returns what is to be stored of a batch: all of it, unless the history is at its limit."""
        pressure = self._pressure
        # One batch can be larger than the room that is left.
        size = sum(weight.argv_bytes + weight.shared_bytes for weight in batch.weights.values())
        if pressure is None and size > self._room_bytes:
            pressure = 0.0
        return self._budget.admit(batch, pressure, self._room_bytes)

    def take_gaps(self) -> list[Gap]:
        """Returns the gaps for execs that were refused since the last gap. To be called at the end."""
        return self._budget.take_gaps()

    def work(self, store: Store) -> None:
        """Deletes a little, if there is anything to delete. A failure is tried again a minute later.

        Raises DamagedStoreError.
        """
        try:
            kept = limits.effective(self._path, self.limits)
            size = files.size_of(self._path)
        except OSError as exc:
            self._say("disk", "not_pruned", f"the file system does not answer: {exc.strerror}", "look at it")
            return
        if self._told != self.limits:
            self._told, self._ceiling = self.limits, None
            log.info("limits", history=limits.wording(self.limits, kept))
        is_large = size > (kept.max_bytes or 0)
        if not is_large and self._pruning is None and time.monotonic() < self._next_look:
            self._set_pressure(kept, size)
            return
        self._maintain(store, lambda connection: self._work(connection, kept, store.sealer))

    def make_room(self, store: Store) -> bool:
        """Deletes some of the oldest execs on a full disk. Returns whether to write again at once.

        Raises DamagedStoreError.
        """
        return self._maintain(store, lambda each: self._make_some_room(each, store.sealer)) or False

    def _maintain(self, store: Store, work: Callable[[sqlite3.Connection], bool | None]) -> bool | None:
        try:
            return store.maintain(work)
        except DamagedStoreError:
            raise
        except StoreError as exc:
            self._pruning = None
            self._next_look = time.monotonic() + _LOOK_SECONDS
            log.warning("not_pruned", reason=str(exc))
            return None

    def _now(self) -> Now:
        return Now(self._boot_id, clock.wall_ns(), clock.boot_ns(), procfs.start_lookup())

    def _work(self, connection: sqlite3.Connection, kept: Limits, sealer: Sealer) -> None:
        until = time.monotonic() + _WORK_SECONDS
        used = prune_plan.used_bytes(connection)
        most = kept.max_bytes or 0
        if self._ceiling is None:
            self._ceiling = max(most, used) + int(most * _LEEWAY)
        if self._pruning is None and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _LOOK_SECONDS
            self._ceiling = min(self._ceiling, max(most, used) + int(most * _LEEWAY))
            self._pruning = self._begin(connection, kept, used, sealer)
        while self._pruning is not None and time.monotonic() < until:
            self._step()
        self._set_pressure(kept, prune_plan.used_bytes(connection))

    def _begin(
        self, connection: sqlite3.Connection, kept: Limits, used: int, sealer: Sealer
    ) -> Iterator[object] | None:
        now = self._now()
        wanted = prune_plan.unfinished(connection) or self._too_old(connection, kept, now)
        if wanted is None and kept.max_bytes is not None:
            wanted = self._too_much(connection, kept, now, used)
            if wanted is None and used <= kept.max_bytes < files.size_of(self._path):
                return prune.tidy(connection)
        if wanted is None:
            return None
        log.info("pruning", reason=wanted.reason)
        return prune.prune(connection, wanted, now, sealer, max_bytes=kept.max_bytes)

    def _too_old(self, connection: sqlite3.Connection, kept: Limits, now: Now) -> Plan | None:
        if kept.max_age_ns is None:
            return None
        wanted = prune_plan.by_age(connection, kept.max_age_ns, now, lazily=True)
        if wanted is None:
            self._said -= {"clock", "all"}
        elif prune_plan.is_time_doubtful(connection, now):
            self._say(
                "clock", "not_pruned", "the wall clock was stepped, and ages are not acted on for a day",
                "if the clock is right, run `execaudit db prune --older-than`",
            )  # fmt: skip
        elif wanted.share >= NEARLY_ALL:
            self._say(
                "all", "not_pruned", "by its age nearly all of the history would be deleted at once",
                "check the clock; if it is right, run `execaudit db prune --older-than`",
            )  # fmt: skip
        else:
            return self._forwarded(connection, kept, wanted)
        return None

    def _forwarded(self, connection: sqlite3.Connection, kept: Limits, wanted: Plan) -> Plan | None:
        """Returns the plan for what the central database has; None: nothing of it."""
        if self.wait_for is None:
            return wanted
        top = wait_for.may_go(connection, self.wait_for, kept.max_bytes or 0)
        if top is None:
            self._say(
                "forward", "not_waited", "what is not forwarded takes more than its share, and is deleted too",
                "see why `execaudit forward` is behind: the central database says what it does not get",
            )  # fmt: skip
            return wanted
        self._said.discard("forward")
        if top >= wanted.top:
            return wanted
        return wanted._replace(top=top) if prune_plan.is_more(connection, top) else None

    def _too_much(self, connection: sqlite3.Connection, kept: Limits, now: Now, used: int) -> Plan | None:
        most = kept.max_bytes or 0
        if used <= most:
            self._said.discard("limit")
            self._before = None
            return None
        wanted = prune_plan.by_size(connection, most, kept.min_age_ns, now, lazily=True)
        before, self._before = self._before, used
        if wanted is None or (before is not None and used > before - most * _LEAST_FREED):
            why = (
                "nothing more of it may be deleted yet"
                if wanted is None
                else "it grows as fast as it is pruned"
            )
            self._say(
                "limit", "limit_not_kept", f"the history has {size_text(used)}, and {why}",
                "raise max_size in [retention]; until then the execs of accounts that take most are only counted",
            )  # fmt: skip
        return wanted

    def _say(self, what: str, word: str, reason: str, todo: str) -> None:
        """Logs a state once, until it is over."""
        if what not in self._said:
            self._said.add(what)
            log.warning(word, reason=reason, todo=todo)

    def _step(self) -> None:
        if self._pruning is not None and next(self._pruning, None) is None:
            # The generator has ended: prune() yields numbers, tidy() True.
            self._pruning = None
            log.info("pruned")
            # The plan was an estimate: look at once whether there is more to delete.
            self._next_look = 0.0

    def _set_pressure(self, kept: Limits, used: int) -> None:
        """Sets how far the history is above its limit: None, or from 0 (just above) to 1 (far above)."""
        most = kept.max_bytes or 0
        makes_room = self._pruning is not None and "limit" not in self._said
        base = self._ceiling if makes_room and self._ceiling is not None else most
        self._room_bytes = max(base - used, 0) if most else 2**63
        pressures = [(used - base) / (most * _MARGIN)] if most and used > base else []
        try:
            disk = limits.disk_of(self._path)
        except OSError:
            pass  # the write to this disk logs its own error
        else:
            if disk.free_bytes < disk.reserve_bytes:
                pressures.append(1 - disk.free_bytes / disk.reserve_bytes)
        self._pressure = min(max(pressures), 1.0) if pressures else None

    def _make_some_room(self, connection: sqlite3.Connection, sealer: Sealer) -> bool:
        until = time.monotonic() + _WORK_SECONDS
        if self._pruning is None:
            # Freed pages are written again and need no room. Given back to the disk, others would take them.
            connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
            if prune_plan.free_bytes(connection) >= _ROOM_BYTES:
                return False
            smaller, now = int(prune_plan.used_bytes(connection) * _SMALLER), self._now()
            wanted = prune_plan.by_size(connection, smaller, self.limits.min_age_ns, now)
            if wanted is None:
                return False
            log.info("pruning", reason="full disk")
            self._pruning = prune.prune(connection, wanted, now, sealer, max_bytes=smaller, shrink=False)
        while self._pruning is not None and time.monotonic() < until:
            self._step()
        return True
