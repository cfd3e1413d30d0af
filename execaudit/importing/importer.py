"""Write what readers find into a history, in parts of one boot each. What is there already is left out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from execaudit.exec_id import ExecKey, boot_prefix
from execaudit.importing.items import Lost, Other, Reject, Taken
from execaudit.importing.lineage import Lineage
from execaudit.store import imported
from execaudit.store.imported import Covered

if TYPE_CHECKING:
    from collections.abc import Iterable

    from execaudit.event import ExecEvent, ExitEvent, Gap
    from execaudit.importing.items import Item, Span
    from execaudit.importing.rejects import Rejects
    from execaudit.store.writer import Store

# So much waits at most before it is written. Logs of many hosts are mixed, and each has parts of its own.
_BATCH_EVENTS, _BATCH_BYTES = 4000, 16 * 1024 * 1024
# More execs than these between the times of a part are not compared at once, but looked up each.
_MOST_COMPARED = 100_000
_EXIT_BYTES = 100
OTHER, THERE = "other events", "already there"


class _Part:
    """What waits of one span of time of a host."""

    __slots__ = ("events", "exits", "span")

    def __init__(self, span: Span) -> None:
        self.span = span
        self.events: dict[ExecKey, ExecEvent] = {}
        self.exits: list[ExitEvent] = []


class _Boot:
    """What is known of a boot."""

    __slots__ = ("is_stored", "until_ns")

    def __init__(self, *, is_stored: bool, until_ns: int | None) -> None:
        self.is_stored = is_stored
        self.until_ns = until_ns
        """Wall clock after which nothing of it is stored or waits; None: always look."""


class Importer:
    """Takes what readers find, and writes it into a history."""

    def __init__(self, store: Store, rejects: Rejects) -> None:
        self._store = store
        self._rejects = rejects
        self._parts: dict[int, _Part] = {}
        self._waiting = self._bytes = 0
        self._boots: dict[int, _Boot] = {}
        self._lineage = Lineage(self._last_of_pid)
        self._spans: dict[str, Span] = {}
        """The newest of each host: gaps are stored with it."""
        self._gaps: list[tuple[int, str, Gap]] = []
        """Gaps that wait, with line and file."""
        self.imported = 0

    def take(self, name: str, items: Iterable[Item]) -> None:
        """Takes what was found in a file. Raises StoreError."""
        for item in items:
            if isinstance(item, Taken):
                self._take(item)
            elif isinstance(item, Other):
                self._rejects.count(OTHER, item.number)
            elif isinstance(item, Reject):
                self._rejects.add(name, item)
            else:
                self._take_gap(name, item)

    def finish(self) -> None:
        """Writes what waits, and the index of command lines. Raises StoreError."""
        self.flush()
        for line, name, gap in self._gaps:
            self._rejects.add(name, Reject(line, "a gap of a host without execs", repr(gap).encode()))
        self._gaps = []
        while self._store.index():
            pass

    def flush(self) -> None:
        """Writes what waits. Raises StoreError."""
        for part in self._parts.values():
            self._write(part)
        self._parts = {}
        self._waiting = self._bytes = 0
        self._write_gaps()

    def _take(self, item: Taken) -> None:
        span = item.span
        part = self._parts.get(id(span))
        if part is None:
            part = self._parts[id(span)] = _Part(span)
            self._spans[span.host] = span
        if item.exit is not None:
            span.extend(item.exit.time_ns)
            part.exits.append(item.exit)
            self._bytes += _EXIT_BYTES
        event = item.event
        if event is not None:
            if item.infers:
                event = self._lineage.placed(event)
            span.extend(event.time_ns)
            if event.key in part.events:
                self._rejects.count(THERE)
                return
            part.events[event.key] = event
            self._bytes += len(event.argv)
        self._waiting += 1
        if self._waiting >= _BATCH_EVENTS or self._bytes >= _BATCH_BYTES:
            self.flush()

    def _write(self, part: _Part) -> None:
        span = part.span
        events = self._new(span, part.events)
        exits = self._unknown_ends(events, part.exits)
        if events or exits:
            covered = Covered(span.boot_id, span.host, span.start_ns, span.end_ns)
            self._store.append_imported(covered, events, exits=exits)
        self.imported += len(events)

    def _unknown_ends(self, events: list[ExecEvent], exits: list[ExitEvent]) -> list[ExitEvent]:
        """Returns the ends of what is new, or is stored without an end."""
        if not exits:
            return []
        new = {event.key for event in events}
        return [
            end
            for end in exits
            if end.exec in new or self._store.maintain(partial(imported.lacks_end, key=end.exec))
        ]

    def _new(self, span: Span, events: dict[ExecKey, ExecEvent]) -> list[ExecEvent]:
        """Returns those that are not stored."""
        if not events:
            return []
        number = boot_prefix(span.boot_id)
        boot = self._boot(number)
        last_ns = max(event.time_ns for event in events.values())
        new = [*events.values()]
        if boot.is_stored and (boot.until_ns is None or boot.until_ns >= min(e.time_ns for e in new)):
            times = [key.boot_ns for key in events]
            stored = self._keys(number, (min(times), max(times)))
            if stored is None:
                new = [event for key, event in events.items() if not self._is_stored(key)]
            elif stored:
                new = [event for key, event in events.items() if key[1:] not in stored]
        if len(new) < len(events):
            self._rejects.count(THERE, len(events) - len(new))
        boot.is_stored = True
        if boot.until_ns is not None:
            boot.until_ns = max(boot.until_ns, last_ns)
        return new

    def _boot(self, number: int) -> _Boot:
        boot = self._boots.get(number)
        if boot is None:
            is_stored, until_ns = self._store.maintain(
                lambda connection: imported.stored_until(connection, f"{number:07x}")
            )
            boot = _Boot(is_stored=is_stored, until_ns=until_ns if is_stored else 0)
            self._boots[number] = boot
        return boot

    def _keys(self, boot: int, times: tuple[int, int]) -> set[tuple[int, int]] | None:
        return self._store.maintain(
            lambda connection: imported.keys_between(connection, f"{boot:07x}", times, _MOST_COMPARED)
        )

    def _is_stored(self, key: ExecKey) -> bool:
        found = self._keys(key.boot, (key.boot_ns, key.boot_ns))
        return found is not None and (key.boot_ns, key.task) in found

    def _last_of_pid(self, boot_id: str, pid: int, before_ns: int) -> tuple[int, int | None] | None:
        if not self._boot(boot_prefix(boot_id)).is_stored:
            return None
        return self._store.maintain(
            lambda connection: imported.last_of_pid(connection, boot_id, pid, before_ns)
        )

    def _take_gap(self, name: str, item: Lost) -> None:
        self._gaps.append((item.line, name, item.gap))
        if len(self._gaps) >= _BATCH_EVENTS:
            self.flush()

    def _write_gaps(self) -> None:
        waiting, self._gaps = self._gaps, []
        for line, name, gap in waiting:
            span = self._spans.get(gap.host)
            if span is None:
                if len(self._gaps) < _BATCH_EVENTS // 2:
                    self._gaps.append((line, name, gap))
                else:
                    self._rejects.add(name, Reject(line, "a gap of a host without execs"))
                continue
            known = (gap.host, gap.from_ns, gap.to_ns, gap.reason.value, gap.uid)
            if self._store.maintain(partial(imported.has_gap, gap=known)):
                self._rejects.count(THERE)
            else:
                span.extend(gap.from_ns)
                span.extend(gap.to_ns)
                covered = Covered(span.boot_id, span.host, span.start_ns, span.end_ns)
                self._store.append_imported(covered, (), [gap])
