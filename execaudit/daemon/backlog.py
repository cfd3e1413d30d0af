"""Keep batches in memory until their sink can write them, up to a bound that accounts share. Pure.

Execs beyond the bound are not kept but counted. When the sink goes on it gets gaps, which say between which
times execs are missing, and whose they were.
"""

from __future__ import annotations

import pickle
from collections import deque
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from execaudit import native
from execaudit.daemon import line_size
from execaudit.daemon.losses import Lost, account_of, joined, neighbours_joined, time_of
from execaudit.enums import GapReason, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from execaudit.event import ExecEvent, ExitEvent, Gap, Hit, HuntRule, Nanoseconds, Sealed
    from execaudit.fields import Launch, Origin

# Bytes of Python's memory for an event without its arguments and paths, and for the end of a program.
# Measured with tracemalloc over the tests' storm, without texts that many execs share.
_EVENT_BYTES = 1000
_EXIT_BYTES = 400
# The same for what a command line lacks; one can have 7900 such places.
_HOLE_BYTES = 100
# About so many bytes wait as objects, and later batches are packed. One large block goes back to the system
# when it is freed. Of many small objects some stay, and keep the memory around them from being freed: when a
# sink had once been slow, the recorder took 14 MB more for good.
_MOST_AS_OBJECTS = 1024 * 1024
# So many gaps that wait are kept apart; more are joined.
_MOST_GAPS = 100
_ROOT = 0


class _Finished(NamedTuple):
    events: Sequence[ExecEvent]
    gaps: Sequence[Gap]
    exits: Sequence[ExitEvent]
    seen_ns: Nanoseconds
    """Wall clock: with this batch, all that was captured until then is finished."""
    host: str | None = None
    """The host's name then; None: as before."""
    hits: Sequence[Hit] = ()
    """What detection rules hit; of earlier batches, and in the database already."""
    sealed: Sequence[Sealed] = ()
    """Seals of earlier batches."""


class Weight(NamedTuple):
    """What the execs of an account have in a batch."""

    execs: int
    argv_bytes: int
    """Of command lines, and of the places where they lack something."""
    shared_bytes: int
    """Of their paths. What several execs share counts once."""
    line_bytes: int
    """Of both in lines of the JSON log, at most: there they are escaped, and the paths are in each line."""


class _Sums:
    """Adds up a Weight."""

    __slots__ = ("argv_bytes", "events", "path_characters", "shared_bytes")

    def __init__(self) -> None:
        self.events: list[ExecEvent] = []
        self.argv_bytes = self.shared_bytes = self.path_characters = 0

    def weight(self) -> Weight:
        """Returns it."""
        line_bytes = self.path_characters + line_size.of_arguments(self.events)
        return Weight(len(self.events), self.argv_bytes, self.shared_bytes, line_bytes)


class Finished(_Finished):
    """What the recorder has finished since the last batch."""

    @cached_property
    def weights(self) -> dict[int | None, Weight]:
        """What the execs of each account have here.

        Computed once for all who ask: the budget of accounts, and the backlog of each sink.
        """
        if native.fast is not None:
            weights = native.fast.weights(self.events, account_of, _of_launch, _of_origin, line_size.of_one)
            return {account: Weight(*each) for account, each in weights.items()}
        sums: dict[int | None, _Sums] = {}
        # By identity: equal launches are mostly the same object, and to compare them takes longer.
        lengths: dict[int, tuple[int, int]] = {}
        for event in self.events:
            launch, origin, account = event.launch, event.origin, account_of(event)
            of_account = sums.get(account)
            if of_account is None:
                of_account = sums[account] = _Sums()
            texts, more = lengths.get(id(launch)), lengths.get(id(origin))
            if texts is None:
                texts = lengths[id(launch)] = _of_launch(launch)
                of_account.shared_bytes += texts[0]
            if more is None:
                more = lengths[id(origin)] = _of_origin(origin)
                of_account.shared_bytes += more[0]
            of_account.events.append(event)
            of_account.argv_bytes += len(event.argv or b"")
            if event.holes:
                of_account.argv_bytes += _HOLE_BYTES * len(event.holes)
            of_account.path_characters += texts[1] + more[1]
        return {account: each.weight() for account, each in sums.items()}

    def without_exits(self) -> Finished:
        """Returns the batch without the ends of programs."""
        batch = self._replace(exits=[])
        batch.weights = self.weights
        return batch

    @cached_property
    def shares(self) -> dict[int | None, int]:
        """About how many bytes of memory the execs of each account take; ends and gaps are nobody's."""
        shares = {
            account: execs * _EVENT_BYTES + argv_bytes + shared_bytes
            for account, (execs, argv_bytes, shared_bytes, _) in self.weights.items()
        }
        if self.gaps or self.exits or self.hits:
            rest = _EVENT_BYTES * (len(self.gaps) + len(self.hits)) + _EXIT_BYTES * len(self.exits)
            shares[None] = shares.get(None, 0) + rest
        return shares


class _Waiting:
    """A batch, and what was dropped of it or beside it."""

    def __init__(self, batch: Finished, from_ns: Nanoseconds) -> None:
        self._batch: Finished | None = batch
        self._packed = b""
        self._execs = 0
        """Of a packed batch."""
        self.from_ns = from_ns
        self.shares: dict[int | None, int] | None = None
        """None: not weighed yet."""
        self.lost = Lost()
        self.lost_until_ns = from_ns
        """When the last exec of these was. `seen_ns` can be earlier: not all until then need be finished."""
        self.told: Finished | None = None
        """What first() returned. It may be being written, so it is not changed."""

    @property
    def batch(self) -> Finished:
        """The batch, which is unpacked and stays so."""
        if self._batch is None:
            self._batch = pickle.loads(self._packed)  # noqa: S301  # pack() made it
            self._packed = b""
        return self._batch

    @batch.setter
    def batch(self, batch: Finished) -> None:
        self._batch, self._packed = batch, b""

    @property
    def is_packed(self) -> bool:
        """Says whether it waits as bytes."""
        return self._batch is None

    def pack(self) -> None:
        """Keeps the batch as bytes. To be called when it has been weighed."""
        if self._batch is None or not (self._batch.events or self._batch.exits):
            return
        try:
            self._packed = pickle.dumps(self._batch, pickle.HIGHEST_PROTOCOL)
        except Exception:  # noqa: BLE001  # a bad event may have anything: the sink finds and says it
            return
        self._execs, self._batch = _execs(self._batch.events), None

    def execs(self) -> int:
        """Returns how many execs of it there are, without those that were dropped."""
        return self._execs if self._batch is None else _execs(self._batch.events)

    def has_events(self) -> bool:
        """Says whether there is more in it than gaps."""
        return self._batch is None or bool(self._batch.events or self._batch.exits)


class Backlog:
    """The batches that wait for one sink, in their order, with a gap where something was dropped.

    Below three quarters of the bound everything is kept. Above that, root may hold half of the bound and
    every other account a quarter. When the bound is reached, the account that holds most loses its newest
    execs. After a loss, an account may add nothing until it holds half of its share: so a flood makes few
    gaps.
    """

    def __init__(self, host: str, most_bytes: int, *, most_objects: int = _MOST_AS_OBJECTS) -> None:
        """Keeps about so many bytes; beyond `most_objects` of them, batches wait packed."""
        self._host, self._most_bytes, self._most_objects = host, most_bytes, most_objects
        self._waiting: deque[_Waiting] = deque()
        self._held: dict[int | None, int] = {}
        self._shut: set[int | None] = set()
        self.size = 0
        """About how many bytes the batches take. A batch that waits alone is not counted."""
        self._seen_ns: Nanoseconds | None = None

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, batch: Finished) -> None:
        """Keeps a batch. Counts what there is no room for."""
        if self and not (batch.events or batch.gaps or batch.exits or batch.hits or batch.sealed):
            return
        began = batch.seen_ns if self._seen_ns is None else self._seen_ns
        entry = _Waiting(batch, began)
        if self._waiting:
            if self._waiting[-1].shares is None:
                self._hold(self._waiting[-1])
            dropped = self._dropped(batch.shares)
            if dropped:
                _strip(entry, dropped)
            self._hold(entry)
        if not self._join(entry):
            self._waiting.append(entry)
            if self.size > self._most_objects:
                entry.pack()
        self._seen_ns = batch.seen_ns

    def first(self) -> Finished | None:
        """Returns the next batch to write, which stays here until written(); None if nothing waits."""
        if not self._waiting:
            return None
        head = self._waiting[0]
        if head.told is None:
            batch, lost = head.batch, head.lost
            if lost:
                until_ns = max(batch.seen_ns, head.lost_until_ns)
                gaps = lost.gaps(batch.host or self._host, GapReason.STORE_FULL, head.from_ns, until_ns)
                batch = batch._replace(gaps=[*batch.gaps, *gaps])
            head.told = batch
        return head.told

    def written(self) -> None:
        """Forgets the batch that first() returned: the sink has written it."""
        head = self._waiting.popleft()
        if head.shares is not None:
            self._free(head.shares)

    def execs(self) -> int:
        """Returns how many execs wait, those that were dropped and counted included."""
        return sum(each.lost.execs + each.execs() for each in self._waiting)

    def _dropped(self, shares: dict[int | None, int]) -> set[int | None]:
        """Returns the accounts that get no room for a batch. Evicts execs of accounts that hold more."""
        for account in self._shut & set(shares):
            if self._held.get(account, 0) <= self._share_of(account) // 2:
                self._shut.discard(account)
        dropped = self._shut & set(shares)
        rest = {account: size for account, size in shares.items() if account not in dropped}
        if self.size + sum(rest.values()) > self._most_bytes * 3 // 4:
            over = {a for a, size in rest.items() if self._held.get(a, 0) + size > self._share_of(a)}
            dropped |= over
            rest = {account: size for account, size in rest.items() if account not in over}
        while rest and self.size + sum(rest.values()) > self._most_bytes:
            most = max(self._held, key=lambda account: self._held[account])
            ours = max(rest, key=lambda account: self._held.get(account, 0) + rest[account])
            if self._held[most] <= self._held.get(ours, 0) + rest[ours] or not self._evict(most):
                dropped.add(ours)
                del rest[ours]
        self._shut |= dropped
        return dropped

    def _share_of(self, account: int | None) -> int:
        """Returns how many bytes an account may hold when the backlog is nearly full."""
        return self._most_bytes // (2 if account in {_ROOT, None} else 4)

    def _evict(self, account: int | None) -> bool:
        """Drops an account's newest execs that are not being written. Returns whether there were any."""
        self._shut.add(account)
        for entry in reversed(self._waiting):
            if entry.told is None and entry.shares is not None and account in entry.shares:
                before, was_packed = entry.shares, entry.is_packed
                _strip(entry, {account})
                self._free(before)
                self._hold(entry)
                if was_packed:
                    entry.pack()
                if entry.shares.get(account, 0) < before[account]:
                    return True
        return False

    def _hold(self, entry: _Waiting) -> None:
        entry.shares = entry.batch.shares
        for account, size in entry.shares.items():
            self._held[account] = self._held.get(account, 0) + size
            self.size += size

    def _free(self, shares: dict[int | None, int]) -> None:
        for account, size in shares.items():
            self._held[account] -= size
            self.size -= size
            if not self._held[account]:
                del self._held[account]

    def _join(self, entry: _Waiting) -> bool:
        """Joins a batch without events to one before it that has none either. Returns whether it did."""
        last = self._waiting[-1] if self._waiting else None
        if last is None or last.told is not None:
            return False
        # A gap that waits alone keeps its place while there is room.
        if not (entry.lost or last.lost) and self.size <= self._most_bytes * 3 // 4:
            return False
        if entry.has_events() or last.has_events():
            return False
        for each in (last, entry):
            self._free(each.shares or {})
        gaps = neighbours_joined([*last.batch.gaps, *entry.batch.gaps])
        if len(gaps) > _MOST_GAPS:
            gaps = joined(gaps)
        # The wall clock may be stepped back.
        last.from_ns = min(last.from_ns, entry.batch.seen_ns)
        seen_ns = max(last.batch.seen_ns, entry.batch.seen_ns)
        hits = _counted([*last.batch.hits, *entry.batch.hits])
        sealed = (*last.batch.sealed, *entry.batch.sealed)[-1:]  # the newest proves the others
        last.batch = entry.batch._replace(gaps=gaps, seen_ns=seen_ns, hits=hits, sealed=sealed)
        last.lost.add(entry.lost)
        last.lost_until_ns = max(last.lost_until_ns, entry.lost_until_ns)
        self._hold(last)
        return True


def _of_launch(launch: Launch) -> tuple[int, int]:
    return _lengths_of(launch.filename, launch.exe, launch.cwd, launch.interpreter, launch.root)


def _of_origin(origin: Origin) -> tuple[int, int]:
    size, in_line = _lengths_of(origin.cgroup)
    # A name in it may be the container's, which is a field of its own.
    return size, 2 * in_line


def _lengths_of(*paths: bytes | None) -> tuple[int, int]:
    """Returns how many bytes paths have, and how many characters they take in a line of the JSON log."""
    some = [path for path in paths if type(path) is bytes]  # a bad event may have others
    return sum(map(len, some)), sum(map(line_size.of_path, some))


def _strip(entry: _Waiting, accounts: set[int | None]) -> None:
    """Drops and counts the events of accounts in a batch. Its gaps stay; of hits, which are nobody's, few."""
    batch = entry.batch
    kept, dropped = _divided(batch.events, lambda event: account_of(event) not in accounts)
    exits = [] if None in accounts else batch.exits
    entry.lost.count(dropped, len(batch.exits) - len(exits))
    entry.lost_until_ns = max((entry.lost_until_ns, *(time_of(event, entry.from_ns) for event in dropped)))
    hits = _counted(batch.hits) if None in accounts else batch.hits
    entry.batch = batch._replace(events=kept, exits=exits, hits=hits)


def _counted(hits: Sequence[Hit]) -> tuple[Hit, ...]:
    """Returns the last hit of each rule, which says how many there were before."""
    last: dict[HuntRule, Hit] = {}
    for hit in hits:
        before = last.pop(hit.rule, None)
        more = 0 if before is None else 1 + before.left_out
        last[hit.rule] = hit._replace(left_out=hit.left_out + more)
    return (*last.values(),)


def _divided(
    events: Sequence[ExecEvent], keeps: Callable[[ExecEvent], bool]
) -> tuple[list[ExecEvent], list[ExecEvent]]:
    kept: list[ExecEvent] = []
    dropped: list[ExecEvent] = []
    for event in events:
        (kept if keeps(event) else dropped).append(event)
    return kept, dropped


def _execs(events: Sequence[ExecEvent]) -> int:
    return sum(event.kind is not Kind.SNAPSHOT for event in events)
