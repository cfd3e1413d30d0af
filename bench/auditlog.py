"""Write execs as auditd logs them, for the programs that search audit logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.enums import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.history import Making
    from execaudit.event import ExecEvent

_UNSET = 2**32 - 1
# Bytes that auditd writes in quotes: ASCII without spaces, quotes and control characters. It writes other
# texts in hexadecimal.
_PLAIN = frozenset(range(0x21, 0x7F)) - {0x22}
# Limits of one record: MAX_EXECVE_AUDIT_LEN and MAX_PROCTITLE_AUDIT_LEN in kernel/auditsc.c and audit.h.
_EXECVE_BYTES, _PROCTITLE_BYTES = 7500, 128


def write(path: Path, making: Making) -> None:
    """Writes the log of a history."""
    serial = 0
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        for _, events, _ in making.batches():
            for event in events:
                serial += 1
                file.writelines(records(event, serial))
    new.rename(path)


def records(event: ExecEvent, serial: int) -> Iterator[bytes]:
    """Yields the records of one exec, as auditd 3 logs them with a rule for execve.

    A failed exec has no EXECVE record, because the kernel writes none. No argument is longer than a record.
    """
    at = b"msg=audit(%d.%03d:%d)" % (*divmod(event.time_ns // 1_000_000, 1000), serial)
    uid = event.launch.uid or 0
    failed = event.kind is Kind.FAILED
    ids = b" ".join(
        b"%s=%d" % (name, uid)
        for name in (b"uid", b"gid", b"euid", b"suid", b"fsuid", b"egid", b"sgid", b"fsgid")
    )
    yield (
        b"type=SYSCALL %s: arch=c000003e syscall=59 success=%s exit=%d a0=55f0c8a3e4d0 a1=55f0c8a3e5a8 a2=55f0c8a3e600"
        b' a3=8 items=2 ppid=%d pid=%d auid=%d %s tty=%s ses=%d comm=%s exe=%s subj=unconfined key="exec"\n'
        % (
            at, b"no" if failed else b"yes", -(event.errno or 0), event.ppid or 0, event.pid,
            _UNSET if event.origin.auid is None else event.origin.auid, ids, (event.origin.tty or b"(none)").replace(b"/", b""),
            _UNSET if event.origin.session is None else event.origin.session, _quoted(event.launch.comm or b""), _quoted(event.launch.exe or b""),
        )
    )  # fmt: skip
    if not failed:
        for record in _arguments(event.argv.split(b"\0")[:-1]):
            yield b"type=EXECVE %s:%s\n" % (at, record)
    yield b"type=CWD %s: cwd=%s\n" % (at, _quoted(event.launch.cwd or b""))
    for item, name in enumerate((event.launch.filename or b"", b"/lib64/ld-linux-x86-64.so.2")):
        yield (
            b"type=PATH %s: item=%d name=%s inode=%d dev=08:01 mode=0100755 ouid=0 ogid=0 rdev=00:00 nametype=NORMAL"
            b" cap_fp=0 cap_fi=0 cap_fe=0 cap_fver=0 cap_frootid=0\n"
            % (at, item, _quoted(name), event.launch.inode or 0)
        )
    title = event.argv[:_PROCTITLE_BYTES].rstrip(b"\0")
    yield b"type=PROCTITLE %s: proctitle=%s\n" % (at, _quoted(title))


def _arguments(arguments: list[bytes]) -> Iterator[bytes]:
    """Yields the content of each EXECVE record of a command line; a long one has several."""
    record = [b" argc=%d" % len(arguments)]
    size = len(record[0])
    for number, argument in enumerate(arguments):
        shown = b" a%d=%s" % (number, _quoted(argument))
        if size + len(shown) > _EXECVE_BYTES:
            yield b"".join(record)
            record, size = [], 0
        record.append(shown)
        size += len(shown)
    yield b"".join(record)


def _quoted(text: bytes) -> bytes:
    return b'"%s"' % text if _PLAIN.issuperset(text) else text.hex().upper().encode() or b'""'
