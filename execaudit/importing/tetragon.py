"""Execs from Tetragon's JSON export: `process_exec` and `process_exit`. Pure.

Source: https://tetragon.io/docs/reference/grpc-api/ (Process, ProcessExec, ProcessExit).
"""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

from execaudit.enums import Gained, Kind, Truncated
from execaudit.event import ExecEvent, ExitEvent, Hole
from execaudit.fields import Launch, Origin
from execaudit.importing import json_values as values
from execaudit.importing.foreign import Foreign, Known, boot_of, same_boot
from execaudit.importing.items import LAST_32, LAST_TASK, RejectError
from execaudit.importing.json_values import at

if TYPE_CHECKING:
    from execaudit.importing.json_values import Object

# Tetragon joins the arguments with blanks, and puts those that have blanks into quotes.
_WORD = re.compile(r'"([^"]*)"(?= |$)|([^ ]+)').finditer
_CUT = {"truncArgs": Truncated.LIMIT, "errorArgs": Truncated.FAULT}
_COMM_BYTES = 15
_LAST_CODE = 255


class Events:
    """Reads events, and remembers which exec is which."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._known = Known()
        self.has_default = False
        """Some did not name their host."""

    def read(self, event: Object) -> Foreign | None:
        """Returns the exec, or the end of one; None for another event. Raises RejectError."""
        if "process_exec" in event:
            return self._exec(event, at(event, "process_exec"))
        return self._exit(event, at(event, "process_exit")) if "process_exit" in event else None

    def _exec(self, event: Object, told: object) -> Foreign:
        process = _process(told, "process")
        parent = at(told, "parent") if isinstance(told, dict) else None
        host = self._name(event)
        time_ns = values.moment(process.get("start_time"), what="start_time")
        boot_id, boot_ns = boot_of("tetragon", host, time_ns)
        pid = values.number(process.get("pid"), LAST_TASK, what="pid")
        if pid is None:
            raise RejectError("pid is missing")
        flags = (values.text(process.get("flags"), what="flags") or "").split()
        argv, truncated = _argv(process, flags)
        found = ExecEvent(
            kind=Kind.SNAPSHOT if "procFS" in flags else Kind.EXEC,
            host=host,
            boot_id=boot_id,
            time_ns=time_ns,
            boot_ns=boot_ns,
            pid=pid,
            tid=pid,
            ppid=values.number(at(parent, "pid"), LAST_TASK, what="parent.pid")
            if isinstance(parent, dict)
            else None,
            argv=argv,
            argc=None if truncated else argv.count(0),
            argv_bytes=None if truncated else len(argv),
            holes=(Hole(len(argv), None),) if truncated else (),
            truncated=truncated,
            errno=None,
            launch=_launch(process, parent if isinstance(parent, dict) else {}),
            origin=_origin(process),
        )
        key = self._known.get(_exec_id(process.get("parent_exec_id"), "parent_exec_id"))
        if key is not None and same_boot(key, boot_id) and key.boot_ns < boot_ns:
            found = found._replace(parent=key, replaces=key.task == pid and found.kind is Kind.EXEC)
        self._known.add(_exec_id(process.get("exec_id"), "exec_id"), found.key)
        return Foreign((host, boot_id, time_ns), found, infers=found.parent is None)

    def _exit(self, event: Object, told: object) -> Foreign | None:
        process = _process(told, "process")
        host = self._name(event)
        start_ns = values.moment(process.get("start_time"), what="start_time")
        time_ns = values.moment(event.get("time"))
        pid = values.number(process.get("pid"), LAST_TASK, what="pid")
        (boot_id, _), (end_boot, end_ns) = (boot_of("tetragon", host, at_ns) for at_ns in (start_ns, time_ns))
        key = self._known.get(_exec_id(process.get("exec_id"), "exec_id"))
        if key is None or pid != key.task or boot_id != end_boot or end_ns < key.boot_ns:
            return None
        status = _status(told)
        end = ExitEvent(key, time_ns, end_ns, key.task, status)
        return Foreign((host, boot_id, time_ns), exit=end)

    def _name(self, event: Object) -> str:
        found = values.name(event.get("node_name"), what="node_name")
        if found:
            return found
        self.has_default = True
        return self._host


def _process(told: object, name: str) -> Object:
    process = told.get(name) if isinstance(told, dict) else None
    if not isinstance(process, dict):
        raise RejectError("the event has no process")
    return process


def _exec_id(value: object, what: str) -> str | None:
    return values.text(value, what=what) or None


def _argv(process: Object, flags: list[str]) -> tuple[bytes, Truncated | None]:
    """Returns the arguments. The first is not told: the program's path stands for it."""
    binary = values.raw_text(process.get("binary"), what="binary")
    text = values.text(process.get("arguments"), what="arguments") or ""
    words = [values.encoded(found[1] if found[2] is None else found[2]) for found in _WORD(text)]
    truncated = next((_CUT[flag] for flag in flags if flag in _CUT), None)
    return b"".join(word + b"\0" for word in [binary or b"", *words]), truncated


def _status(told: object) -> int:
    """Returns how a program ended, as wait(2) gives it."""
    name = values.text(at(told, "signal"), what="signal") if isinstance(told, dict) else None
    if name:
        try:
            return int(signal.Signals[name])
        except KeyError as exc:
            raise RejectError("signal is none that is known") from exc
    code = values.number(at(told, "status"), LAST_32, what="status") if isinstance(told, dict) else None
    return ((code or 0) & _LAST_CODE) << 8


def _id(process: Object, *paths: str) -> int | None:
    for path in paths:
        found = values.number(at(process, path), what=path)
        if found is not None:
            return None if found == LAST_32 else found
    return None


def _launch(process: Object, parent: Object) -> Launch:
    binary = values.raw_text(process.get("binary"), what="binary") or None
    leader = values.raw_text(parent.get("binary"), what="parent.binary") or None
    setuid = at(process, "binary_properties.setuid")
    return Launch(
        uid=_id(process, "process_credentials.uid", "uid"),
        euid=_id(process, "process_credentials.euid"),
        gid=_id(process, "process_credentials.gid"),
        egid=_id(process, "process_credentials.egid"),
        user=values.name(at(process, "user.name"), what="user.name") or None,
        comm=None if binary is None else binary.rpartition(b"/")[2][:_COMM_BYTES],
        filename=binary,
        exe=binary,
        cwd=values.raw_text(process.get("cwd"), what="cwd") or None,
        parent_comm=None if leader is None else leader.rpartition(b"/")[2][:_COMM_BYTES],
        inode=values.number(
            at(process, "binary_properties.file.inode.number"), 2**64 - 1, what="inode.number"
        ),
        nlink=values.number(at(process, "binary_properties.file.inode.links"), what="inode.links"),
        privileged=None if setuid is None else Gained.SETUID,
    )


def _origin(process: Object) -> Origin:
    return Origin(auid=_id(process, "auid"))
