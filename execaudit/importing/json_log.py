"""Lines of JSON: our own records, documents of the Elastic Common Schema, and Tetragon's events. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.importing import ecs_documents, own_records, tetragon
from execaudit.importing.items import Lost, Other, Reject, RejectError, Span, Taken
from execaudit.importing.json_values import parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from execaudit.event import ExecEvent, ExitEvent
    from execaudit.importing.items import Item
    from execaudit.importing.json_values import Object

_MOST_SPANS = 4096
JSONL, ECS, TETRAGON = "jsonl", "ecs", "tetragon"
FORMATS = (JSONL, ECS, TETRAGON)


class JsonReader:
    """Reads lines of JSON. Each line says by its names what it is, unless the user says it."""

    def __init__(self, host: str, fmt: str | None = None) -> None:
        """`host` is whose log it is, where it does not say."""
        self._format = fmt
        self._spans: dict[tuple[str, str], Span] = {}
        self._ecs = ecs_documents.Documents(host)
        self._tetragon = tetragon.Events(host)

    @property
    def has_default(self) -> bool:
        """Says whether some lines did not name their host."""
        return self._ecs.has_default or self._tetragon.has_default

    def feed(self, number: int, line: bytes) -> Sequence[Item]:
        """Takes a line without its end; returns what is in it."""
        if not line.strip():
            return ()
        try:
            return self._of(number, parsed(line))
        except RejectError as exc:
            return (Reject(number, str(exc), line),)

    def finish(self) -> Sequence[Item]:
        """Returns the rest: nothing."""
        return ()

    def _of(self, number: int, record: Object) -> Sequence[Item]:
        fmt = self._format or _format_of(record)
        if fmt == JSONL:
            return self._own(number, record)
        if fmt == TETRAGON:
            found = self._tetragon.read(record)
        else:
            own = ecs_documents.own_record(record)
            if own is not None:
                return self._own(number, own)
            found = self._ecs.read(record)
        if found is None:
            return (Other(1),)
        return (self._taken(number, found.event, found.exit, found.where, infers=found.infers),)

    def _own(self, number: int, record: Object) -> Sequence[Item]:
        if record.get("kind") == "gap":
            gap = own_records.gap_of(record)
            return (Other(1),) if gap is None else (Lost(number, gap),)
        if record.get("kind") in ("hit", "sealed"):
            return (Other(1),)  # the exec that was hit has a record of its own
        event = own_records.event_of(record)
        exit_ = own_records.exit_of(record, event)
        return (self._taken(number, event, exit_, (event.host, event.boot_id, event.time_ns), infers=False),)

    def _taken(
        self,
        number: int,
        event: ExecEvent | None,
        exit_: ExitEvent | None,
        where: tuple[str, str, int],
        *,
        infers: bool,
    ) -> Taken:
        host, boot_id, time_ns = where
        span = self._spans.get((host, boot_id))
        if span is None:
            if len(self._spans) >= _MOST_SPANS:
                raise RejectError("too many hosts and boots for one import")
            span = self._spans[host, boot_id] = Span(host, boot_id, time_ns)
        span.extend(time_ns)
        return Taken(number, span, event, exit_, infers=infers)


def _format_of(record: Object) -> str:
    """Returns what a line is. Raises RejectError."""
    if "@timestamp" in record or "ecs" in record:
        return ECS
    if "boot_id" in record or record.get("kind") in ("gap", "hit", "sealed"):
        return JSONL
    if any(name in record for name in ("process_exec", "process_exit")) or "node_name" in record:
        return TETRAGON
    raise RejectError("neither a record, nor ECS, nor of Tetragon")
