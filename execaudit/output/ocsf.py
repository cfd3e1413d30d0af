"""Write an exec as events of the Open Cybersecurity Schema Framework: Process Activity. Pure.

Source: https://schema.ocsf.io/1.8.0/classes/process_activity, with the profiles `host` and `container`. An
exec is a Launch (of type Exec), the end of its program a Terminate; a failed exec is a Launch whose status is
Failure. Times are milliseconds there. The exact ones, and whatever else has no place, are in `unmapped`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from execaudit import __version__
from execaudit.enums import Ended, Kind
from execaudit.event import Nanoseconds
from execaudit.output.record import to_record
from execaudit.times import utc_ns, utc_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from execaudit.event import ExecEvent

    _Event = dict[str, Any]

VERSION = "1.8.0"
MAPPED = frozenset(
    [
        "id",
        "parent_id",
        "host",
        "boot_id",
        "pid",
        "tid",
        "ppid",
        "uid",
        "user",
        "auid",
        "login_user",
        "session",
        "tty",
        "comm",
        "parent_comm",
        "exe",
        "cwd",
        "command",
        "errno",
        "container_id",
        "exit_code",
    ]
)
"""The fields that have a place there; all others, and `time`, are in `unmapped`."""
_MILLISECOND = 1_000_000
_PROCESS, _LAUNCH, _TERMINATE, _OTHER = 1007, 1, 2, 99
_LOG = 1008
_SUCCESS, _FAILURE = 1, 2
_INFORMATIONAL, _MEDIUM = 1, 3
_EXEC_TYPE = 3
_LINUX, _REGULAR_FILE, _UNKNOWN_DEVICE = 200, 1, 0
_DELETED = " (deleted)"


def events(event: ExecEvent) -> Iterator[_Event]:
    """Yields the Launch of an exec, and the Terminate of its program if that has ended."""
    record = to_record(event)
    first = _activity(record, event)
    yield first
    end = event.end
    if end is None or end.duration_ns is None or end.how is Ended.REPLACED:
        return
    until = Nanoseconds(event.time_ns + end.duration_ns)
    yield _known(
        {
            **first,
            **_activity_of(_PROCESS, _TERMINATE, "Terminate"),
            "time": until // _MILLISECOND,
            "launch_type_id": None,
            "launch_type": None,
            "exit_code": end.code,
            "duration": end.duration_ns // _MILLISECOND,
            "process": {**first["process"], "terminated_time": until // _MILLISECOND},
            "unmapped": {**first["unmapped"], "time": utc_text(until)},
        }
    )


def _activity(record: _Event, event: ExecEvent) -> _Event:
    kind, milliseconds = event.kind, event.time_ns // _MILLISECOND
    failed, exe = kind is Kind.FAILED, record["exe"]
    container = record["container_id"]
    user = _object(uid=_text(record["uid"]), name=record["user"])
    session = _object(uid=_text(record["session"]), terminal=record["tty"])
    parent = _object(pid=record["ppid"], uid=record["parent_id"], name=record["parent_comm"])
    process = _object(
        pid=record["pid"],
        tid=record["tid"],
        uid=record["id"],
        name=record["comm"],
        cmd_line=record["command"],
        path=exe,
        working_directory=record["cwd"],
        created_time=milliseconds if kind is Kind.EXEC else None,
        user=user,
        session=session,
        parent_process=parent,
        file=None if exe is None else _file(record),
        container=None if container is None else {"uid": container},
    )
    login = _object(uid=_text(record["auid"]), name=record["login_user"])
    actor = _object(process=parent, user=login or user, session=session) or {
        "process": {"pid": record["pid"]}
    }
    snapshot = kind is Kind.SNAPSHOT
    return _known(
        {
            **_activity_of(_PROCESS, _OTHER if snapshot else _LAUNCH, "Running" if snapshot else "Launch"),
            **_described(record["id"], milliseconds, _INFORMATIONAL),
            "launch_type_id": None if snapshot else _EXEC_TYPE,
            "launch_type": None if snapshot else "Exec",
            "status_id": _FAILURE if failed else _SUCCESS,
            "status": "Failure" if failed else "Success",
            "status_code": record["errno"],
            "actor": actor,
            "device": _device(record["host"], record["boot_id"]),
            "process": process,
            "unmapped": {
                name: value for name, value in record.items() if name not in MAPPED and value is not None
            },
        }
    )


def gap_event(gap: Mapping[str, Any]) -> _Event:
    """Returns a gap, of which this is the record, as Event Log Activity of the kind Other."""
    start, end = (None if gap[name] is None else utc_ns(gap[name]) // _MILLISECOND for name in ("from", "to"))
    at = start if start is not None else end or 0
    return _known(
        {
            **_activity_of(_LOG, _OTHER, "Gap"),
            **_described(None, at, _MEDIUM),
            "start_time": start,
            "end_time": end,
            "device": None if gap["host"] is None else _device(gap["host"], None),
            "log_name": "execaudit",
            "status_detail": gap["reason"],
            "message": "execs were missed, or nobody recorded",
            "unmapped": {name: value for name, value in gap.items() if value is not None},
        }
    )


def seal_event(seal: Mapping[str, Any]) -> _Event:
    """Returns what vouches for an answer, of which this is the record, as Event Log Activity."""
    at = 0 if seal["time"] is None else utc_ns(seal["time"]) // _MILLISECOND
    return _known(
        {
            **_activity_of(_LOG, _OTHER, "Sealed"),
            **_described(None, at, _MEDIUM if seal["proof"] == "not_proved" else _INFORMATIONAL),
            "device": None if seal["host"] is None else _device(seal["host"], None),
            "log_name": "execaudit",
            "status_detail": seal["proof"],
            "message": "what vouches for these events",
            "unmapped": {name: value for name, value in seal.items() if value is not None},
        }
    )


def _activity_of(class_uid: int, activity_id: int, name: str) -> _Event:
    return {
        "category_uid": class_uid // 1000,
        "class_uid": class_uid,
        "activity_id": activity_id,
        "activity_name": name,
        "type_uid": class_uid * 100 + activity_id,
    }


def _described(uid: str | None, milliseconds: int, severity: int) -> _Event:
    return {
        "time": milliseconds,
        "severity_id": severity,
        "metadata": _object(
            version=VERSION,
            product={"name": "execaudit", "vendor_name": "execaudit", "version": __version__},
            profiles=["host", "container"] if uid else ["host"],
            uid=uid,
        ),
    }


def _device(host: str, boot_id: str | None) -> _Event | None:
    return _object(
        type_id=_UNKNOWN_DEVICE,
        hostname=host,
        boot_uid=boot_id,
        os={"name": "Linux", "type_id": _LINUX},
    )


def _file(record: _Event) -> _Event | None:
    exe: str = record["exe"]
    deleted = exe.endswith(_DELETED)
    return _object(
        name=exe.removesuffix(_DELETED).rpartition("/")[2] or exe,
        path=exe,
        type_id=_REGULAR_FILE,
        uid=record["inode"],
        is_deleted=deleted or None,
    )


def _object(**values: object) -> _Event | None:
    """Returns what is known of an object; None if nothing is."""
    return _known(values) or None


def _known(values: _Event) -> _Event:
    return {name: value for name, value in values.items() if value is not None}


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)
