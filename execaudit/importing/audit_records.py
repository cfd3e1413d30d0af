"""Lines of the Linux audit log: their head, their fields, and how values are written. Pure.

Sources: `audit_log_format` and `audit_log_untrustedstring` in the kernel's kernel/audit.c, and
https://github.com/linux-audit/audit-documentation/wiki/SPEC-Writing-Good-Events.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# auditd writes `node=` if it is told to. Only the beginning of a line counts: what comes later is often a
# user's text.
_HEAD = re.compile(
    rb"(?:node=(\S{1,255}) )?type=([\w\[\]]{1,40}) msg=audit\(([0-9]{1,10})\.([0-9]{3}):([0-9]{1,20})\): ?"
).match
_FIELD = re.compile(rb'([A-Za-z][\w-]*(?:\[[0-9]{1,10}\])?)=("[^"]*"|[^\s"\x1d]*)').findall
_HEX = re.compile(rb"(?:[0-9A-Fa-f]{2})+").fullmatch
_DIGITS = 20
_NUMBER = re.compile(rb"-?[0-9]{1,20}").fullmatch
# auditd writes these numbers of types where it does not know the name: `UNKNOWN[1327]`.
_TYPES = {
    b"1200": b"DAEMON_START", b"1300": b"SYSCALL", b"1302": b"PATH", b"1307": b"CWD", b"1309": b"EXECVE",
    b"1320": b"EOE", b"1327": b"PROCTITLE",
}  # fmt: skip
_NOTHING = frozenset({b"(null)", b"(none)", b"?"})
_MILLION = 1_000_000


class Head(NamedTuple):
    """What each line begins with."""

    node: bytes | None
    """The host, if the log names it."""
    type: bytes
    time_ns: int
    serial: int
    """With the time and the host, the number of the event that the record is of."""
    body: int
    """Where the fields begin."""


def head_of(line: bytes) -> Head | None:
    """Returns the head of a line; None if it is no record."""
    found = _HEAD(line)
    if found is None:
        return None
    node, kind, seconds, milliseconds, serial = found.groups()
    if kind.startswith(b"UNKNOWN["):
        kind = _TYPES.get(kind[8:-1], kind)
    elif kind.isdigit():
        kind = _TYPES.get(kind, kind)
    return Head(node, kind, (int(seconds) * 1000 + int(milliseconds)) * _MILLION, int(serial), found.end())


def fields_of(body: bytes) -> dict[bytes, bytes]:
    """Returns the fields by name, as they are written. Of a field that is there twice, the first counts.

    Names of what auditd interpreted (`log_format = ENRICHED`) are in capital letters.
    """
    pairs = _FIELD(body)
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else dict(reversed(pairs))


def pairs_of(body: bytes) -> list[tuple[bytes, bytes]]:
    """Returns the fields in order."""
    pairs: list[tuple[bytes, bytes]] = _FIELD(body)
    return pairs


def text_of(value: bytes | None) -> bytes | None:
    """Returns the text of a value: in quotes, or in hexadecimal if it has quotes, blanks or controls."""
    if value is None or value in _NOTHING:
        return None
    if value[:1] == b'"':
        return value[1:-1]
    return bytes.fromhex(value.decode("ascii")) if _HEX(value) else value


def c_string(value: bytes | None) -> bytes | None:
    """Returns the text of a value that is a C string: without a NUL; None for an empty one."""
    text = text_of(value)
    return (text.partition(b"\0")[0] or None) if text else None


def number_of(value: bytes | None, most: int, *, least: int = 0) -> int | None:
    """Returns a decimal number from `least` to `most`; None for anything else."""
    if value is None or not ((value.isdigit() and len(value) <= _DIGITS) or _NUMBER(value)):
        return None
    number = int(value)
    return number if least <= number <= most else None
