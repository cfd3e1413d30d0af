"""Write an exec as a document of the Elastic Common Schema. Pure.

Source: the field reference of ECS 8.17, https://www.elastic.co/docs/reference/ecs. Fields of the record
that have no place there are under `execaudit`, by their own names. What is not known is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from execaudit.enums import Kind
from execaudit.event import Nanoseconds
from execaudit.fields import FIELDS, GAP_FIELDS
from execaudit.output.record import to_record
from execaudit.times import utc_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from execaudit.event import ExecEvent

    _Document = dict[str, Any]

VERSION = "8.17.0"
PLACES = {
    "id": ("process.entity_id",),
    "parent_id": ("process.parent.entity_id",),
    "time": ("@timestamp",),
    "host": ("host.name", "host.hostname"),
    "boot_id": ("host.boot.id",),
    "pid": ("process.pid",),
    "tid": ("process.thread.id",),
    "ppid": ("process.parent.pid",),
    "uid": ("user.id", "process.real_user.id"),
    "user": ("user.name", "process.real_user.name"),
    "euid": ("user.effective.id", "process.user.id"),
    "gid": ("process.real_group.id",),
    "egid": ("process.group.id",),
    "comm": ("process.name",),
    "parent_comm": ("process.parent.name",),
    "exe": ("process.executable", "file.path"),
    "inode": ("file.inode",),
    "device": ("file.device",),
    "cwd": ("process.working_directory",),
    "argv": ("process.args",),
    "argc": ("process.args_count",),
    "command": ("process.command_line",),
    "errno": ("error.code",),
    "container_id": ("container.id",),
    "exit_code": ("process.exit_code",),
    "duration_ns": ("event.duration",),
}
"""Where each field of the record is; a field that is not named here is under `execaudit`."""
_TEXTS = frozenset({"uid", "euid", "gid", "egid"})
"""Numbers in the record, keywords in ECS."""
_OWN = "execaudit"


def _paths(name: str) -> list[tuple[str, ...]]:
    return [tuple(place.split(".")) for place in PLACES.get(name, (f"{_OWN}.{name}",))]


_PATHS = [(field.name, _paths(field.name), field.name in _TEXTS) for field in FIELDS]
# A gap has these in its event.
_NOT_OWN = frozenset({"kind", "from", "to", "host", "reason"})
_NOT_OWN_OF_SEAL = frozenset({"kind", "time", "host"})
_ACTIONS = {Kind.EXEC: "exec", Kind.FAILED: "exec-failed", Kind.SNAPSHOT: "running"}
_TYPES = {Kind.EXEC: "start", Kind.FAILED: "start", Kind.SNAPSHOT: "info"}


def documents(event: ExecEvent) -> Iterator[_Document]:
    """Yields the document of an exec: `event.type` has `end` in it if its program has ended."""
    record = to_record(event)
    document: _Document = {"ecs": {"version": VERSION}}
    for name, paths, is_text in _PATHS:
        value = record.get(name)
        if value is not None:
            for path in paths:
                _put(document, path, str(value) if is_text else value)
    failed, end = event.kind is Kind.FAILED, event.end
    described: _Document = {
        "kind": "state" if event.kind is Kind.SNAPSHOT else "event",
        "category": ["process"],
        "type": [_TYPES[event.kind]],
        "action": _ACTIONS[event.kind],
        "outcome": "failure" if failed else "success",
        "module": _OWN,
        "dataset": f"{_OWN}.exec",
    }
    if event.kind is Kind.EXEC:
        _put(document, ("process", "start"), record["time"])
        described["start"] = record["time"]
    if end is not None and end.duration_ns is not None:
        ended = utc_text(Nanoseconds(event.time_ns + end.duration_ns))
        _put(document, ("process", "end"), ended)
        described["end"] = ended
        described["type"] = [*described["type"], "end"]
    document.setdefault("event", {}).update(described)
    yield document


def gap_document(gap: Mapping[str, Any]) -> _Document:
    """Returns the document of a gap, of which this is the record."""
    described = {
        "kind": "pipeline_error", "category": ["process"], "type": ["info"], "action": "gap", "module": _OWN,
        "dataset": f"{_OWN}.gap", "reason": gap["reason"], "start": gap["from"], "end": gap["to"],
    }  # fmt: skip
    own = {field.name: gap[field.name] for field in GAP_FIELDS if field.name not in _NOT_OWN}
    document: _Document = {
        "ecs": {"version": VERSION},
        "event": {name: value for name, value in described.items() if value is not None},
        _OWN: {"gap": {name: value for name, value in own.items() if value is not None}},
    }
    at = gap["from"] or gap["to"]
    if at is not None:
        document["@timestamp"] = at
    if gap["host"] is not None:
        document["host"] = {"name": gap["host"], "hostname": gap["host"]}
    return document


def seal_document(seal: Mapping[str, Any]) -> _Document:
    """Returns the document of what vouches for an answer, of which this is the record."""
    own = {name: value for name, value in seal.items() if name not in _NOT_OWN_OF_SEAL and value is not None}
    document: _Document = {
        "ecs": {"version": VERSION},
        "event": {
            "kind": "state", "category": ["process"], "type": ["info"], "action": "sealed", "module": _OWN,
            "dataset": f"{_OWN}.seal",
        },
        _OWN: {"seal": own},
    }  # fmt: skip
    if seal["time"] is not None:
        document["@timestamp"] = seal["time"]
    if seal["host"] is not None:
        document["host"] = {"name": seal["host"], "hostname": seal["host"]}
    return document


def _put(document: _Document, path: tuple[str, ...], value: object) -> None:
    for name in path[:-1]:
        document = document.setdefault(name, {})
    document[path[-1]] = value
