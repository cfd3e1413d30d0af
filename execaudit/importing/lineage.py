"""Infer what led to an exec, from pids and times, where the source does not say it. Pure.

The audit log has the pid and the parent's pid of an exec, and neither forks nor exits. So:

- An exec of a process that executed another program a moment before, with the same parent, replaced that one.
- Otherwise the last exec of the parent's pid led to it.

A pid that was given to another process in between misleads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.enums import Kind
from execaudit.exec_id import ExecKey, boot_prefix

if TYPE_CHECKING:
    from collections.abc import Callable

    from execaudit.event import ExecEvent

# A pid comes again after at least 300 others, and mostly after 32 000 or 4 million.
_SAME_PROCESS_NS, _SAME_PROCESS_EXECS = 10_000_000_000, 1000
_REMEMBERED = 100_000


class Last(NamedTuple):
    """The last program that a process executed."""

    boot_ns: int
    ppid: int | None
    number: int
    """How many execs were seen before it."""


class Lineage:
    """Remembers the last exec of each pid of each host."""

    def __init__(self, stored: Callable[[str, int, int], tuple[int, int | None] | None]) -> None:
        """`stored` returns boot clock and ppid of the last exec of a boot id and pid before a boot clock."""
        self._stored = stored
        self._known: dict[tuple[int, int], Last | None] = {}
        self._older: dict[tuple[int, int], Last | None] = {}
        self._seen = 0

    def placed(self, event: ExecEvent) -> ExecEvent:
        """Returns the exec with what led to it. Execs come in the order of their times, more or less."""
        self._seen += 1
        boot = boot_prefix(event.boot_id)
        own = self._last(event, boot, event.pid)
        parent, replaces = None, False
        if own is not None and self._is_same_process(own, event):
            parent = ExecKey(boot, own.boot_ns, event.pid)
            replaces = event.kind is Kind.EXEC
        elif event.ppid and event.ppid != event.pid:
            other = self._last(event, boot, event.ppid)
            if other is not None and other.boot_ns < event.boot_ns:
                parent = ExecKey(boot, other.boot_ns, event.ppid)
        if event.kind is not Kind.FAILED and (own is None or own.boot_ns < event.boot_ns):
            self._remember((boot, event.pid), Last(event.boot_ns, event.ppid, self._seen))
        return event if parent is None else event._replace(parent=parent, replaces=replaces)

    def _is_same_process(self, own: Last, event: ExecEvent) -> bool:
        return (
            event.ppid is not None
            and own.ppid == event.ppid
            and 0 < event.boot_ns - own.boot_ns <= _SAME_PROCESS_NS
            and self._seen - own.number <= _SAME_PROCESS_EXECS
        )

    def _last(self, event: ExecEvent, boot: int, pid: int) -> Last | None:
        key = (boot, pid)
        if key in self._known:
            return self._known[key]
        if key in self._older:
            last = self._older[key]
        else:
            found = self._stored(event.boot_id, pid, event.boot_ns)
            last = None if found is None else Last(*found, self._seen)
        self._remember(key, last)
        return last

    def _remember(self, key: tuple[int, int], last: Last | None) -> None:
        if len(self._known) >= _REMEMBERED:
            self._older, self._known = self._known, {}
        self._known[key] = last
