"""The Linux audit log: records of one event are put together. Pure.

An event is known by its host, time and serial number. Its records may stand among those of others, in any
order (`ausearch` turns it around), and its last one is not marked in auditd's own files. So an event is
complete when many others have begun since.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.escaping import exact
from execaudit.importing.audit_exec import BELOW_MILLISECOND, SOURCE, exec_of
from execaudit.importing.audit_records import head_of
from execaudit.importing.items import LAST_NS, Other, Reject, RejectError, Span, Taken, made_boot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from execaudit.importing.audit_records import Head
    from execaudit.importing.items import Item

_KEPT = frozenset({b"SYSCALL", b"EXECVE", b"CWD", b"PATH", b"PROCTITLE"})
# So many events are open at once, with so many bytes in all, and so many in one. The kernel gives a command
# line 6 MB at most, which is twice as much in hexadecimal.
_MOST_OPEN, _MOST_BYTES, _MOST_OF_ONE = 256, 48 * 1024 * 1024, 16 * 1024 * 1024
_MOST_HOSTS = 4096
# A host may be silent so long without a sign that nobody recorded.
_SILENT_NS = 60_000_000_000

_Key = tuple[bytes | None, int, int]


class _Open:
    """An event of which records have come."""

    __slots__ = ("line", "records", "size", "span")

    def __init__(self, line: int, span: Span) -> None:
        self.line, self.span = line, span
        self.records: list[tuple[bytes, int, bytes]] = []
        """Type, where the fields begin, and the line."""
        self.size = 0

    def text(self) -> bytes:
        return b"\n".join(line for _, _, line in self.records)


class _Host:
    """What is known of a host so far."""

    __slots__ = ("name", "serial", "span")

    def __init__(self, name: str) -> None:
        self.name = name
        self.span: Span | None = None
        self.serial = 0


class AuditReader:
    """Reads an audit log, or several in order."""

    def __init__(self, host: str) -> None:
        """`host` is whose log it is, where it does not say."""
        self._default = host
        self._hosts: dict[bytes | None, _Host] = {}
        self._open: dict[_Key, _Open] = {}
        self._bytes = 0
        self._other: _Key | None = None
        self.has_default = False
        """Some records did not name their host."""

    def feed(self, number: int, line: bytes) -> Sequence[Item]:
        """Takes a line without its end; returns what is complete by now."""
        head = head_of(line)
        if head is None:
            # `ausearch` writes these between events.
            is_between = not line.strip() or line.startswith((b"----", b"time->"))
            return () if is_between else (Reject(number, "not a record of the audit log", line),)
        if head.time_ns > LAST_NS - BELOW_MILLISECOND:
            return (Reject(number, "the time is out of range", line),)
        key = (head.node, head.time_ns, head.serial)
        if head.type in _KEPT:
            return self._keep(key, head, number, line)
        if head.type == b"EOE":
            return self._close(key)
        return self._leave(key, head, number, line)

    def finish(self) -> list[Item]:
        """Returns the rest."""
        return [item for key in [*self._open] for item in self._close(key)]

    def _keep(self, key: _Key, head: Head, number: int, line: bytes) -> Sequence[Item]:
        """Takes a record that an exec may have."""
        opened = self._open.get(key)
        if opened is None:
            try:
                opened = self._open[key] = _Open(number, self._hear(key))
            except RejectError as exc:
                return (Reject(number, str(exc), line),)
        # A line that is too much for an exec is left out, so the arguments have a hole.
        if opened.size + len(line) <= _MOST_OF_ONE:
            opened.records.append((head.type, head.body, line))
            opened.size += len(line)
            self._bytes += len(line)
        found: list[Item] = []
        while len(self._open) > _MOST_OPEN or self._bytes > _MOST_BYTES:
            found += self._close(next(iter(self._open)))
        return found

    def _leave(self, key: _Key, head: Head, number: int, line: bytes) -> Sequence[Item]:
        """Counts an event that is not about an exec, once."""
        if key == self._other or key in self._open:
            return ()
        self._other = key
        try:
            self._hear(key, is_start=head.type == b"DAEMON_START")
        except RejectError as exc:
            return (Reject(number, str(exc), line),)
        return (Other(1),)

    def _close(self, key: _Key) -> Sequence[Item]:
        """Returns what an event is that is complete, if it is open."""
        opened = self._open.pop(key, None)
        if opened is None:
            return ()
        self._bytes -= opened.size
        try:
            event = exec_of(opened.records, opened.span, key[1], key[2])
        except RejectError as exc:
            return (Reject(opened.line, str(exc), opened.text()),)
        return (Other(1),) if event is None else (Taken(opened.line, opened.span, event, infers=True),)

    def _hear(self, key: _Key, *, is_start: bool = False) -> Span:
        """Notes that a host was recorded at a moment, and returns since when. Raises RejectError."""
        node, time_ns, serial = key
        host = self._hosts.get(node)
        if host is None:
            if len(self._hosts) >= _MOST_HOSTS:
                raise RejectError("too many hosts for one import")
            host = self._hosts[node] = _Host(self._default if node is None else exact(node))
            self.has_default = self.has_default or node is None
        boot = made_boot(SOURCE, host.name, time_ns)
        span = host.span
        follows = serial in (host.serial, host.serial + 1)
        if (
            span is None
            or is_start
            or span.boot_id != boot.boot_id
            or (not follows and time_ns > span.end_ns + _SILENT_NS)
        ):
            span = host.span = Span(host.name, boot.boot_id, time_ns, is_start=is_start)
        else:
            span.extend(time_ns)
        host.serial = serial
        return span
