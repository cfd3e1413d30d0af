"""The daemon: capture in one thread, decode and store in another, stop in order.

The capturing thread only moves bytes: it takes records from the probe as soon as there is
room in the queue, and otherwise leaves them in the kernel's ring buffer, which counts what
it must refuse. So a slow disk never stalls the capture, and every loss is counted.
"""

from __future__ import annotations

import operator
import threading
import time
from array import array
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import structlog

from execaudit.capture.probe import Losses
from execaudit.daemon.backlog import Finished
from execaudit.daemon.batch import Batch
from execaudit.daemon.gap_log import GapLog
from execaudit.daemon.hunting import NO_RULES, Hunting
from execaudit.daemon.losses import Lost, Shares, gaps_by_account, neighbours_joined
from execaudit.daemon.metrics import Health, SealHealth
from execaudit.daemon.seals import Seals
from execaudit.daemon.source import Captured
from execaudit.daemon.stopping import LEAVE_SECONDS, SAY_SECONDS, Deadline, StuckError
from execaudit.enums import GapReason, Kind
from execaudit.event import Gap, Nanoseconds
from execaudit.system import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from execaudit.capture.assembler import Assembler
    from execaudit.capture.start import Begun
    from execaudit.daemon.batch import Redacted
    from execaudit.daemon.sinks.sink import Sink
    from execaudit.daemon.source import Source

log = structlog.get_logger()

# How often the ring is read, and how long an exec waits at most before it is stored: an event is durable well
# within a second.
_POLL_SECONDS = 0.1
_FLUSH_SECONDS = 0.25
# An exec between queue and database takes about 3 KB. 2000 at a time were no faster, and took 3 MB more.
_FLUSH_EVENTS = 500
_FLUSH_BYTES = 1024 * 1024
# The same when nothing happens, so that an idle host stays idle. (systemd's watchdog is told after each read:
# this is far below half of its time.)
_REST_POLL_SECONDS = 0.5
_REST_SECONDS = 1.0
# Bytes of records that may wait for the storing thread; the ring holds what comes then.
_QUEUE_BYTES = 64 * 1024 * 1024
# Sinks tidy up while no records wait, and after so long also beside records that do.
_UNTIDY_SECONDS = 60.0
# Between two steps of that, which take about as long: a history without an index must not fill a processor.
_BREATH_SECONDS = 0.01
# After this, users' names are looked up anew: a name may have come too late, or may have changed.
_NAMES_SECONDS = 60.0
# A shorter stop logs no progress.
_FIRST_SAY_SECONDS = 1.0
# How often it is noted that nothing happened: a gap of the next recorder begins at the last note.
_IDLE_NS = 60_000_000_000


class Totals(NamedTuple):
    """What a recorder has recorded and missed."""

    execs: int
    missed: int
    """Execs that are only counted, in gaps."""


class Recorder:
    """Records from construction of the source until it is told to stop."""

    def __init__(  # noqa: PLR0913  # each is needed
        self,
        source: Source,
        assembler: Assembler,
        sinks: Sequence[Sink],
        *,
        host: str,
        begun: Begun,
        hunting: Hunting = NO_RULES,
        redacted: Redacted | None = None,
        seals: Seals | None = None,
    ) -> None:
        """`redacted` returns execs as they may be written; `seals` knows what the database sealed."""
        self._source = source
        self._deadline = Deadline()
        self._roots = begun.roots
        self._assembler = assembler
        self._sinks, self._hunting, self._redacted = list(sinks), hunting, redacted
        self._seals = Seals() if seals is None else seals
        self._host = self._new_host = host
        self._offset = clock.WallOffset()
        self._losses = Losses(0, 0, 0, 0)
        self._shares = Shares()
        self._looked_ns = begun.since_ns
        self._rests = False
        """The last look found nothing."""
        self._queue: deque[Captured] = deque()
        self._queued_bytes = self._most_queued_bytes = 0
        self._changed = threading.Condition()
        self._capturing = self._storing = True
        self._failure: Exception | None = None
        self._execs = self._exits = self._missed = self._gaps = 0
        # Of the storing thread: what it has taken from the queue.
        self._seen_ns = begun.since_ns
        self._gap_log = GapLog()
        self._named = time.monotonic()
        self._is_tidy, self._tidied = False, time.monotonic()
        self._unstored, self._unstored_since = Lost(), begun.since_ns
        gaps = []
        if begun.stopped_ns is not None:
            gaps.append(_gap(host, GapReason.RECORDER_STOPPED, (begun.stopped_ns, begun.until_ns), None))
        self._enqueue(begun.records, gaps, begun.since_ns)

    def health(self) -> Health:
        """Returns how it is now."""
        waiting = tuple(sink.name for sink in self._sinks if sink.waits())
        queued = self._queued_bytes, self._most_queued_bytes
        return Health(
            self._execs, self._exits, self._missed, self._gaps, *queued, waiting, self._seal_health()
        )

    def _seal_health(self) -> SealHealth | None:
        if (sealed := self._seals.newest) is None:
            return None
        age_s = max(clock.wall_ns() - sealed.time_ns, 0) / 1e9
        stamped_ns = self._seals.stamps.newest_ns
        return SealHealth(
            age_s, sealed.is_keyed, sealed.epoch, None if stamped_ns is None else stamped_ns / 1e9
        )

    def rename(self, host: str) -> None:
        """The host has this name from now on. For any thread."""
        self._new_host = host

    def run(self, should_stop: Callable[[], bool], on_stop: Callable[[], None] = lambda: None) -> Totals:
        """Records until `should_stop` says so (asked twice a second, or more often) or storing fails.

        `on_stop` is called when the stop begins. Returns after everything captured went to the sinks, or
        was counted. Raises what a sink raised, after the others have everything; StuckError when the
        storing thread does not come back in time.
        """
        storing = threading.Thread(target=self._store_all, name="store", daemon=True)
        storing.start()
        wait_s = _POLL_SECONDS
        try:
            while self._failure is None and not should_stop():
                # With a full queue the ring is not asked: it is filling, so it would not wait.
                if self._await_room(_POLL_SECONDS):
                    self._source.wait(wait_s)
                    wait_s = _POLL_SECONDS if self._capture() else min(2 * wait_s, _REST_POLL_SECONDS)
        finally:
            self._deadline.begin()
            try:
                on_stop()
                self._source.detach()
                # The queue takes what the ring still holds: nothing more comes.
                while self._capture() and self._storing:
                    pass
            finally:
                with self._changed:
                    self._capturing = False
                    self._changed.notify_all()
                self._await_stored(storing)
        if self._failure is not None:
            raise self._failure
        return Totals(self._execs, self._missed)

    def _await_stored(self, storing: threading.Thread) -> None:
        """Returns when all is stored or counted. Logs now and then how much is left."""
        wait_s = _FIRST_SAY_SECONDS
        while storing.is_alive():
            if not self._deadline.left_s():
                raise StuckError(
                    f"the stop took longer than {LEAVE_SECONDS:.0f} seconds: {self._queued_bytes} bytes of records "
                    "and what the sinks had not written are lost; look at the disk of the database"
                )
            storing.join(min(wait_s, self._deadline.left_s()))
            wait_s = SAY_SECONDS
            if storing.is_alive():
                log.info("stopping", queued_bytes=self._queued_bytes, execs=self._execs, missed=self._missed)

    def _await_room(self, timeout_s: float) -> bool:
        """Returns whether the queue has room, or nobody empties it any more."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._queued_bytes < _QUEUE_BYTES or not self._storing, timeout_s
            )

    def _capture(self) -> bool:
        """Moves what the ring holds into the queue. Returns whether there was anything."""
        now_ns = clock.wall_ns()
        records = self._source.read()
        gaps = self._new_gaps()
        step = self._offset.check()
        if step:
            log.warning("clock_stepped", by_seconds=step / 1e9)
            after_ns = Nanoseconds(clock.boot_ns() + self._offset.ns)
            gaps.append(_gap(self._host, GapReason.CLOCK, (Nanoseconds(after_ns - step), after_ns), 0))
        # The first look that finds nothing is noted too: a reader waits for that, to have all of a range.
        rested, self._rests = self._rests, not records
        if not records and not gaps and rested and time.monotonic_ns() - self._enqueued_ns < _IDLE_NS:
            return False
        self._enqueue(records, gaps, now_ns)
        return bool(records)

    def _enqueue(self, records: list[bytes], gaps: list[Gap], seen_ns: Nanoseconds) -> None:
        packed, lengths = b"".join(records), array("I", map(len, records))
        self._enqueued_ns = time.monotonic_ns()
        with self._changed:
            self._queue.append(Captured(packed, lengths, self._enqueued_ns, self._offset.ns, gaps, seen_ns))
            self._queued_bytes += len(packed)
            self._most_queued_bytes = max(self._most_queued_bytes, self._queued_bytes)
            self._changed.notify_all()

    def _new_gaps(self) -> list[Gap]:
        """Returns the execs and ends that were missed since the last look: a gap for each reason."""
        # A counter can go back for a moment; what comes again is not counted twice.
        losses, before = Losses(*map(max, self._source.losses(), self._losses)), self._losses
        since, now = self._looked_ns, clock.wall_ns()
        self._losses, self._looked_ns = losses, now
        new = Losses(*map(operator.sub, losses, before))
        if new.images or new.skipped_images:
            log.warning("lineage_lost", processes=new.images + new.skipped_images)
        gaps = []
        if new.execs or new.exits:
            shares = self._shares.divide((new.execs, new.exits), self._source.losses_by_account())
            gaps += gaps_by_account(self._host, GapReason.RING_FULL, since, now, shares)
        # The probe notices it when the task makes its next call, or ends: the gap is at that time.
        recursion = new.returns + new.skipped, new.skipped_exits
        if any(recursion):
            gaps.append(_gap(self._host, GapReason.RECURSION, (since, now), *recursion))
        return gaps

    def _store_all(self) -> None:
        """The storing thread. An error that it cannot handle ends the whole recorder."""
        try:
            self._store_until_stopped()
        except Exception as exc:  # noqa: BLE001  # raised again by run(), in the main thread
            self._fail(exc)
        finally:
            with self._changed:
                self._storing = False
                self._changed.notify_all()

    def _store_until_stopped(self) -> None:
        """From the queue, through the assembler, to the sinks."""
        batch = Batch(self._redacted)
        batch.add(self._roots.events())
        flushed, rests = time.monotonic(), False
        while True:
            captured = self._next(_REST_SECONDS if rests else _FLUSH_SECONDS)
            if captured is not None:
                if rests:
                    flushed = time.monotonic()  # so that an exec and an end soon after it go into one batch
                self._assemble(captured, batch)
                batch.gaps += captured.gaps
                batch.size += len(captured.packed)
                batch.says_idle |= not captured.packed and not captured.gaps
                self._seen_ns = captured.seen_ns
            now_ns = time.monotonic_ns() if captured is None else captured.at_ns
            batch.add(self._assembler.expire(now_ns=now_ns))
            done = captured is None and not self._capturing and not self._queue
            if done:
                batch.add(self._assembler.drain())
            batch.add(self._roots.take_referred())
            if self._deadline.is_late():
                self._count(batch)
            full = len(batch.events) >= _FLUSH_EVENTS or batch.size >= _FLUSH_BYTES
            if done or full or time.monotonic() - flushed >= _FLUSH_SECONDS:
                self._flush(batch, ends=done)
                batch = Batch(self._redacted)
                flushed = time.monotonic()
                if self._new_host != self._host:
                    self._host = self._new_host
                    self._assembler.rename(self._host)
                    log.info("host_renamed", host=self._host)
                self._tidy()
            if done:
                self._hunt_on()
                self._finish()
                return
            rests = captured is None and not batch and not len(self._assembler) and not self._is_busy()

    def _hunt_on(self) -> None:
        """Waits a moment for what rules hit in what was stored last."""
        while not self._deadline.is_late() and self._hunting.await_last():
            self._flush(Batch(None), ends=False)

    def _tidy(self) -> None:
        """Lets the sinks do what can wait, in small steps, until records wait."""
        while not self._is_tidy and self._capturing and not self._queue:
            self._tidied = time.monotonic()
            self._tidy_once()
            with self._changed:
                self._changed.wait_for(lambda: self._queue or not self._capturing, _BREATH_SECONDS)
        if not self._is_tidy and time.monotonic() - self._tidied >= _UNTIDY_SECONDS:
            self._tidy_once()

    def _tidy_once(self) -> None:
        more: list[bool] = []
        self._for_each_sink(lambda sink: more.append(sink.tidy()))
        self._is_tidy = not any(more)

    def _is_busy(self) -> bool:
        waits = self._gap_log or self._hunting.is_waiting()
        return bool(waits) or any(sink.is_busy() for sink in self._sinks)

    def _next(self, timeout_s: float) -> Captured | None:
        """Returns the oldest in the queue, or None after that time without any."""
        with self._changed:
            if not self._queue and self._capturing:
                self._changed.wait(timeout_s)
            if not self._queue:
                return None
            captured = self._queue.popleft()
            self._queued_bytes -= len(captured.packed)
            self._changed.notify_all()
            return captured

    def _assemble(self, captured: Captured, batch: Batch) -> None:
        batch.add(
            self._assembler.feed(
                captured.records(), now_ns=captured.at_ns, wall_offset_ns=captured.wall_offset_ns
            )
        )
        left_out = self._assembler.take_unreadable()
        if left_out is not None:
            log.error("records_unreadable", records=left_out.records, reason=left_out.reason)
            between = self._seen_ns, captured.seen_ns
            batch.gaps.append(_gap(self._host, GapReason.UNSTORABLE, between, left_out.execs, left_out.exits))

    def _count(self, batch: Batch) -> None:
        """Counts the events that there is no time left to store."""
        self._unstored.count(batch.events, len(batch.exits))
        batch.events, batch.exits = [], []

    def _flush(self, batch: Batch, *, ends: bool) -> None:
        if not batch and not self._is_busy() and not ends:
            return
        if ends:
            batch.gaps += self._unstored.gaps(
                self._host, GapReason.STORE_FULL, self._unstored_since, self._seen_ns
            )
        elif not self._deadline.is_late():
            self._unstored_since = self._seen_ns
        events, exits = batch.events, batch.exits
        self._missed += sum(gap.count or 0 for gap in batch.gaps)
        gaps = self._gap_log.take(neighbours_joined(batch.gaps), now_s=time.monotonic(), ends=ends)
        if time.monotonic() - self._named >= _NAMES_SECONDS:
            self._named = time.monotonic()
            self._assembler.forget()
        # Gaps that are held back, and execs that are not whole, are not stored yet.
        held = (self._gap_log.since_ns(), self._assembler.oldest_ns())
        seen_ns = min([self._seen_ns, *(at for at in held if at is not None)])
        told = self._hunting.take_stored(), self._seals.take()
        finished = Finished(events, gaps, exits, seen_ns, self._host, *told)
        self._gaps += len(gaps)
        self._exits += len(exits)
        self._execs += sum([event.kind is not Kind.SNAPSHOT for event in events])
        self._for_each_sink(lambda sink: sink.accept(finished))
        self._is_tidy &= not events

    def _finish(self) -> None:
        self._for_each_sink(lambda sink: sink.finish())

    def _for_each_sink(self, act: Callable[[Sink], None]) -> None:
        for sink in list(self._sinks):
            try:
                act(sink)
            except Exception as exc:  # noqa: BLE001  # raised again by run(), bugs too
                # Until the recorder has stopped, the other sinks still get what was captured.
                self._sinks.remove(sink)
                log.error("sink_failed", sink=sink.name, reason=str(exc))
                self._fail(exc)

    def _fail(self, failure: Exception) -> None:
        if self._failure is None:
            self._failure = failure


def _gap(
    host: str, reason: GapReason, between: tuple[Nanoseconds, Nanoseconds], count: int | None, exits: int = 0
) -> Gap:
    """Returns a gap between two times of the wall clock, which may have been stepped back between them."""
    return Gap(host, min(between), max(between), reason, count, exits)
