"""Execs from documents of the Elastic Common Schema: our own, Auditbeat's, Elastic Endpoint's. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.enums import Kind, Truncated
from execaudit.event import ExecEvent, ExitEvent, Hole, Nanoseconds
from execaudit.fields import FIELDS, GAP_FIELDS, Launch, Origin
from execaudit.importing import json_values as values
from execaudit.importing.foreign import Foreign, Known, boot_of, same_boot, told_apart
from execaudit.importing.items import LAST_32, LAST_TASK, RejectError
from execaudit.importing.json_values import at
from execaudit.output.ecs import PLACES

if TYPE_CHECKING:
    from execaudit.importing.json_values import Object

_OWN = "execaudit"
_COMPUTED = frozenset({"command", "container_id"})
# Of what starts: a fork is no exec.
_NO_EXEC = frozenset({"fork", "session_id_change", "uid_change", "gid_change"})
_PTS, _TTY, _SERIAL = 136, 4, 64
_RUNNING = frozenset({"existing_process", "process_existing", "already_running"})


def own_record(document: Object) -> Object | None:
    """Returns the record of a document that `export --format ecs` wrote; None for another's."""
    if at(document, "event.module") != _OWN:
        return None
    if at(document, "event.action") == "sealed":
        return {"kind": "sealed"}
    if at(document, "event.action") == "gap":
        gap = {field.name: at(document, f"{_OWN}.gap.{field.name}") for field in GAP_FIELDS}
        times = {"from": at(document, "event.start"), "to": at(document, "event.end")}
        known = {"kind": "gap", "host": at(document, "host.name"), "reason": at(document, "event.reason")}
        return {**gap, **times, **known}
    return {
        field.name: at(document, PLACES.get(field.name, (f"{_OWN}.{field.name}",))[0])
        for field in FIELDS
        if field.name not in _COMPUTED
    }


class Documents:
    """Reads documents of others, and remembers which exec is which."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._known = Known()
        self.has_default = False
        """Some did not name their host."""

    def read(self, document: Object) -> Foreign | None:
        """Returns the exec, or the end of one; None for another event. Raises RejectError."""
        kinds, action = _words(at(document, "event.type")), at(document, "event.action")
        if "process" not in _words(at(document, "event.category")):
            return None
        action = action if isinstance(action, str) else None
        is_running = action in _RUNNING
        if not is_running and ("start" not in kinds or action in _NO_EXEC):
            return self._end(document) if "end" in kinds else None
        host = self._name(document)
        entity = values.text(at(document, "process.entity_id"), what="process.entity_id")
        sequence = at(document, "auditd.sequence") or at(document, "event.sequence")
        name = values.text(at(document, "event.id"), what="event.id") or entity
        time_ns = told_apart(
            values.moment(document.get("@timestamp"), what="@timestamp"),
            values.number(sequence, 2**64 - 1, what="sequence"),
            name,
        )
        boot_id, boot_ns = boot_of("ecs", host, time_ns)
        pid = values.number(at(document, "process.pid"), LAST_TASK, what="process.pid")
        if pid is None:
            raise RejectError("process.pid is missing")
        failed = at(document, "event.outcome") == "failure"
        kind = Kind.SNAPSHOT if is_running else Kind.FAILED if failed else Kind.EXEC
        argv, argc = _argv(document)
        is_whole = argc is not None and argc == argv.count(0)
        parent = self._known.get(
            values.text(at(document, "process.parent.entity_id"), what="process.parent.entity_id")
        )
        event = ExecEvent(
            kind=kind,
            host=host,
            boot_id=boot_id,
            time_ns=time_ns,
            boot_ns=boot_ns,
            pid=pid,
            tid=pid,
            ppid=values.number(
                at(document, "process.parent.pid") or at(document, "process.ppid"),
                LAST_TASK,
                what="process.parent.pid",
            ),
            argv=argv,
            argc=argc,
            argv_bytes=len(argv) if is_whole else None,
            holes=() if is_whole else (Hole(len(argv), None),),
            truncated=None if is_whole else Truncated.LOST,
            errno=None,
            launch=_launch(document),
            origin=_origin(document),
        )
        infers = parent is None or not same_boot(parent, boot_id) or parent.boot_ns >= boot_ns
        if not infers and parent is not None:
            event = event._replace(parent=parent, replaces=kind is Kind.EXEC and parent.task == pid)
        if kind is not Kind.FAILED:
            self._known.add(entity, event.key)
        return Foreign((host, boot_id, time_ns), event, infers=infers)

    def _end(self, document: Object) -> Foreign | None:
        """Returns the end of an exec that came before."""
        key = self._known.get(values.text(at(document, "process.entity_id"), what="process.entity_id"))
        host = self._name(document)
        time_ns = values.moment(document.get("@timestamp"), what="@timestamp")
        boot_id, boot_ns = boot_of("ecs", host, time_ns)
        code = values.number(at(document, "process.exit_code"), LAST_32, what="process.exit_code")
        if key is None or code is None or not same_boot(key, boot_id) or boot_ns < key.boot_ns:
            return None
        end = ExitEvent(key, time_ns, Nanoseconds(boot_ns), key.task, (code & 255) << 8)
        return Foreign((host, boot_id, time_ns), exit=end)

    def _name(self, document: Object) -> str:
        for path in ("host.name", "host.hostname", "agent.hostname", "agent.name"):
            found = values.name(at(document, path), what=path)
            if found:
                return found
        self.has_default = True
        return self._host


def _words(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _argv(document: Object) -> tuple[bytes, int | None]:
    shown = at(document, "process.args")
    if shown is None:
        return b"", None
    if not isinstance(shown, list) or not all(isinstance(each, str) and "\0" not in each for each in shown):
        raise RejectError("process.args is no list of texts")
    count = values.number(at(document, "process.args_count"), what="process.args_count")
    return b"".join(values.encoded(each) + b"\0" for each in shown), len(shown) if count is None else count


def _id(document: Object, *paths: str) -> int | None:
    """Returns the number of a user or group; None for one that is unset."""
    for path in paths:
        value = at(document, path)
        if value in ("unset", "", None):
            continue
        found = values.number(value, what=path)
        return None if found == LAST_32 else found
    return None


def _launch(document: Object) -> Launch:
    return Launch(
        uid=_id(document, "process.real_user.id", "user.id"),
        euid=_id(document, "user.effective.id", "process.user.id"),
        gid=_id(document, "process.real_group.id", "user.group.id", "group.id", "process.group.id"),
        egid=_id(document, "user.effective.group.id", "process.group.id"),
        user=values.name(at(document, "user.name"), what="user.name") or None,
        comm=values.raw_text(at(document, "process.name"), what="process.name") or None,
        exe=values.raw_text(at(document, "process.executable"), what="process.executable") or None,
        cwd=values.raw_text(at(document, "process.working_directory"), what="process.working_directory")
        or None,
        parent_comm=values.raw_text(at(document, "process.parent.name"), what="process.parent.name") or None,
    )


def _terminal(document: Object) -> str | None:
    """Returns the terminal that Elastic Endpoint names by its device; None if there is none, or another kind.

    Numbers: Documentation/admin-guide/devices.txt of the kernel.
    """
    major, minor = (
        values.number(at(document, f"process.tty.char_device.{part}"), what="process.tty.char_device")
        for part in ("major", "minor")
    )
    if major is None or minor is None:
        return None
    if _PTS <= major < _PTS + 8:
        return f"pts/{(major - _PTS) * 256 + minor}"
    if major == _TTY and minor < _SERIAL:
        return f"tty{minor}"
    return f"ttyS{minor - _SERIAL}" if major == _TTY else None


def _origin(document: Object) -> Origin:
    auid = _id(document, "user.audit.id", "process.login_user.id")
    tty = at(document, "auditd.data.tty")
    if not isinstance(tty, str) or tty in ("(none)", ""):
        tty = _terminal(document)
    elif tty.startswith("pts") and tty[3:].isdigit():
        tty = f"pts/{tty[3:]}"
    return Origin(
        auid=auid,
        session=_id(document, "auditd.session"),
        login_user=None
        if auid is None
        else values.name(at(document, "user.audit.name"), what="user.audit.name"),
        tty=values.raw_text(tty, what="auditd.data.tty"),
    )
