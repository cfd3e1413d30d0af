"""An exec from the records of an event of the audit log. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from execaudit.enums import Gained, Kind
from execaudit.escaping import exact
from execaudit.event import ExecEvent, Nanoseconds
from execaudit.fields import Launch, Origin
from execaudit.importing import audit_argv
from execaudit.importing.audit_records import c_string, fields_of, number_of, text_of
from execaudit.importing.exec_syscalls import is_exec
from execaudit.importing.items import LAST_32, LAST_TASK, RejectError, made_boot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from execaudit.importing.audit_argv import Arguments
    from execaudit.importing.items import Span

SOURCE = "audit"
# The time has milliseconds. The digits after these are the event's number, which the kernel counts: so execs
# of one millisecond have an order, and ids of their own.
BELOW_MILLISECOND = 1_000_000
_LAST_ERRNO = 4095
_MINOR_BITS = 20
_SETUID, _SETGID = 0o4000, 0o2000
_LOADERS = (b"/ld-", b"/ld.so", b"/ld64.so")
# How the kernel begins a SYSCALL record (kernel/auditsc.c, audit_log_exit): what differs between execs of one
# program by one user is here.
_CALL = re.compile(
    rb"arch=(?P<arch>[0-9a-f]+) syscall=(?P<syscall>[0-9]+) success=(?P<success>yes|no) exit=(?P<exit>-?[0-9]+)"
    rb" a0=[0-9a-f]+ a1=[0-9a-f]+ a2=[0-9a-f]+ a3=[0-9a-f]+ items=[0-9]+ ppid=(?P<ppid>[0-9]+) pid=(?P<pid>[0-9]+)"
    rb" (?=auid=)"
).match
_CALL_FIELDS = (b"arch", b"syscall", b"success", b"exit", b"ppid", b"pid")
# The rest of these records is remembered, if it is not longer. It takes 10 MB at most.
_MOST_REMEMBERED, _LONGEST_REMEMBERED = 4096, 2048
# A PATH record of this type names a folder, not what is executed.
_FOLDER = b"PARENT"


class _Path(NamedTuple):
    """A PATH record."""

    item: int
    name: bytes | None
    fields: Mapping[bytes, bytes]


def exec_of(
    records: Sequence[tuple[bytes, int, bytes]], span: Span, time_ms: int, serial: int
) -> ExecEvent | None:
    """Returns the exec that an event is; None if it is something else. Raises RejectError.

    A record is its type, where its fields begin, and its line. `time_ms` has whole milliseconds,
    in nanoseconds.
    """
    by_type: dict[bytes, list[bytes]] = {}
    for kind, body, line in records:
        by_type.setdefault(kind, []).append(line[body:])
    found = _call(by_type)
    if found is None:
        return None
    call, rest = found
    time_ns = Nanoseconds(time_ms + serial % BELOW_MILLISECOND)
    pid = number_of(call.get(b"pid"), LAST_TASK, least=1)
    if pid is None:
        raise RejectError("no pid, or one out of range")
    failed = _failed(call, has_arguments=b"EXECVE" in by_type)
    arguments = _arguments(by_type, failed=failed)
    launch, origin = _around(rest, tuple(by_type.get(b"PATH", ())), by_type.get(b"CWD", [None])[0], failed)
    return ExecEvent(
        kind=Kind.FAILED if failed else Kind.EXEC,
        host=span.host,
        boot_id=span.boot_id,
        time_ns=time_ns,
        boot_ns=made_boot(SOURCE, span.host, time_ns).boot_ns(time_ns),
        pid=pid,
        tid=pid,
        ppid=number_of(call.get(b"ppid"), LAST_TASK),
        argv=arguments.argv,
        argc=arguments.argc,
        argv_bytes=arguments.argv_bytes,
        holes=arguments.holes,
        truncated=arguments.truncated,
        errno=_errno(call) if failed else None,
        launch=launch,
        origin=origin,
    )


def _call(by_type: Mapping[bytes, list[bytes]]) -> tuple[dict[bytes, bytes], bytes] | None:
    """Returns fields of an exec's SYSCALL record, and what has the others; None if it is another call."""
    if b"SYSCALL" not in by_type:
        if b"EXECVE" in by_type:
            raise RejectError("EXECVE without SYSCALL")
        return None
    record = by_type[b"SYSCALL"][0]
    begins = _CALL(record)
    if begins is None:
        call, rest = fields_of(record), record
    else:
        call, rest = dict(zip(_CALL_FIELDS, begins.groups(), strict=True)), record[begins.end() :]
    if b"EXECVE" in by_type:
        return call, rest
    if begins is not None:
        call = fields_of(record)
    number = call.get(b"syscall")
    known = is_exec(call.get(b"arch"), number, call.get(b"SYSCALL"))
    if known is None and not number:
        raise RejectError("SYSCALL without its number")
    return (call, rest) if known else None


def _around(
    call: bytes,
    paths: tuple[bytes, ...],
    cwd: bytes | None,
    failed: bool,  # noqa: FBT001  # remembered by its value
) -> tuple[Launch, Origin]:
    """Returns what records say of the program and of where it came from."""
    size = len(call) + sum(map(len, paths)) + len(cwd or b"")
    make = _remembered if size <= _LONGEST_REMEMBERED else _made
    return make(call, paths, cwd, failed)


def _made(
    call: bytes,
    paths: tuple[bytes, ...],
    cwd: bytes | None,
    failed: bool,  # noqa: FBT001  # remembered by its value
) -> tuple[Launch, Origin]:
    fields = fields_of(call)
    return _launch(fields, paths, cwd, failed=failed), _origin(fields)


_remembered = lru_cache(_MOST_REMEMBERED)(_made)


def _arguments(by_type: Mapping[bytes, list[bytes]], *, failed: bool) -> Arguments:
    if b"EXECVE" in by_type:
        return audit_argv.from_records(by_type[b"EXECVE"])
    # That of a failed exec is the caller's.
    if not failed and b"PROCTITLE" in by_type:
        return audit_argv.from_title(fields_of(by_type[b"PROCTITLE"][0]).get(b"proctitle"))
    return audit_argv.UNKNOWN


def _failed(call: Mapping[bytes, bytes], *, has_arguments: bool) -> bool:
    success = call.get(b"success")
    if success in (b"yes", b"no"):
        return success == b"no"
    if not has_arguments:
        raise RejectError("the record does not say whether it succeeded")
    return False


def _errno(call: Mapping[bytes, bytes]) -> int | None:
    number = number_of(call.get(b"exit"), -1, least=-_LAST_ERRNO)
    return None if number is None else -number


def _id(call: Mapping[bytes, bytes], name: bytes) -> int | None:
    return number_of(call.get(name), LAST_32 - 1)


def _name(call: Mapping[bytes, bytes], name: bytes) -> str | None:
    """Returns a user's name that auditd added. It writes the number where there is no name."""
    value = text_of(call.get(name))
    if not value or value in (b"unset", b"unknown") or value.startswith(b"unknown("):
        return None
    return None if value.isdigit() or b"\0" in value else exact(value)


def _launch(
    call: Mapping[bytes, bytes], files: Sequence[bytes], folder: bytes | None, *, failed: bool
) -> Launch:
    exe, paths = c_string(call.get(b"exe")), _paths(files)
    cwd = None if folder is None else c_string(fields_of(folder).get(b"cwd"))
    filename = paths[0].name if paths and paths[0].item == 0 else None
    uid, euid = _id(call, b"uid"), _id(call, b"euid")
    gid, egid = _id(call, b"gid"), _id(call, b"egid")
    image, interpreter = (None, None) if failed else _image(paths, exe, cwd)
    return Launch(
        uid=uid,
        euid=euid,
        gid=gid,
        egid=egid,
        user=_name(call, b"UID"),
        comm=c_string(call.get(b"comm")),
        filename=filename,
        exe=exe,
        cwd=cwd,
        interpreter=interpreter,
        inode=None if image is None else number_of(image.get(b"inode"), 2**64 - 1),
        device=None if image is None else _device(image.get(b"dev")),
        privileged=None if image is None else _gained(image, (uid, euid), (gid, egid)),
    )


def _origin(call: Mapping[bytes, bytes]) -> Origin:
    auid = _id(call, b"auid")
    tty = c_string(call.get(b"tty"))
    # The kernel logs its own name of the device: pts0 for /dev/pts/0.
    if tty is not None and tty.startswith(b"pts") and tty[3:].isdigit():
        tty = b"pts/" + tty[3:]
    return Origin(
        auid=auid,
        session=_id(call, b"ses"),
        login_user=None if auid is None else _name(call, b"AUID"),
        tty=tty,
    )


def _paths(bodies: Sequence[bytes]) -> list[_Path]:
    """Returns the files of an exec in the order in which the kernel opened them."""
    found: dict[int, _Path] = {}
    for body in bodies:
        fields = fields_of(body)
        item = number_of(fields.get(b"item"), LAST_32)
        if item is not None and fields.get(b"nametype") != _FOLDER:
            found.setdefault(item, _Path(item, c_string(fields.get(b"name")), fields))
    return [found[item] for item in sorted(found)]


def _image(
    paths: Sequence[_Path], exe: bytes | None, cwd: bytes | None
) -> tuple[Mapping[bytes, bytes] | None, bytes | None]:
    """Returns the record of the file that runs, if it is certain, and the interpreter of a script.

    The first file is what was asked for. Of a script the next one is its interpreter, and a dynamic linker is
    last.
    """
    if not paths or paths[0].item != 0:
        return None, None
    others = [path for path in paths[1:] if path.name is not None and not _is_loader(path.name)]
    if not others:
        return paths[0].fields, None
    script, interpreter = paths[0], others[-1]
    if exe is not None and _absolute(script.name, cwd) == exe and len(others) == 1:
        return script.fields, None  # another program's linker
    return interpreter.fields, others[0].name


def _is_loader(name: bytes) -> bool:
    return any(part in name for part in _LOADERS)


def _absolute(name: bytes | None, cwd: bytes | None) -> bytes | None:
    if name is None or name.startswith(b"/"):
        return name
    return None if cwd is None else cwd.rstrip(b"/") + b"/" + name.removeprefix(b"./")


def _device(value: bytes | None) -> int | None:
    """Returns a device that is written `fd:00`, in hexadecimal."""
    try:
        major, minor = (int(part, 16) for part in (value or b"").split(b":"))
    except ValueError:
        return None
    if not (0 <= major < 1 << 12 and 0 <= minor < 1 << _MINOR_BITS):
        return None
    return major << _MINOR_BITS | minor


def _gained(
    image: Mapping[bytes, bytes], users: tuple[int | None, int | None], groups: tuple[int | None, int | None]
) -> Gained | None:
    """Returns what the file gave to the process, as its mode and the ids after the exec show."""
    try:
        mode = int(image.get(b"mode", b""), 8)
    except ValueError:
        return None
    gained = Gained(0)
    if mode & _SETUID and users[1] == number_of(image.get(b"ouid"), LAST_32) != users[0]:
        gained |= Gained.SETUID
    if mode & _SETGID and groups[1] == number_of(image.get(b"ogid"), LAST_32) != groups[0]:
        gained |= Gained.SETGID
    return gained or None
