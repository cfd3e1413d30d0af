"""The flat record of an exec: the names and values of the JSON log, the exports and docs/record.md. Pure."""

from __future__ import annotations

import re
from base64 import b64encode
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit import fields
from execaudit.arguments import Arguments, Missing, command_line, split_argv
from execaudit.enums import GAINED_WORDS, errno_name
from execaudit.escaping import exact
from execaudit.exec_id import encode_id
from execaudit.fields import Form, Part
from execaudit.query.container import container_id
from execaudit.times import utc_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from execaudit.event import ExecEvent, Gap, Hit, HuntRule, Sealed
    from execaudit.fields import Field

# What makes lines finds these here.
__all__ = ["Arguments", "Missing", "command_line", "split_argv"]

FIELDS = tuple(field.name for field in fields.FIELDS)
"""The names of all fields. A record has all of them, except that argv_base64 may be absent."""
GAP_FIELDS = tuple(field.name for field in fields.GAP_FIELDS)
"""The keys of gap_record()."""

is_plain = re.compile(rb"[\w@%+:,./-]+\0(?:[\w@%+=:,./-]+\0)*").fullmatch
"""Says whether argv has arguments, no argument needs quotes in a shell or JSON, and the first has no `=`."""
_MINOR_BITS = 20


def decoded(parts: tuple[bytes, ...]) -> tuple[list[str], bool]:
    """Returns the parts as text, and whether all of them are valid UTF-8."""
    # All at once, because that is faster. The NULs keep the parts apart: bytes on the two sides of a hole may
    # be valid UTF-8 together but not alone.
    try:
        return (b"\0".join(parts).decode().split("\0") if parts else []), True
    except UnicodeDecodeError:
        return [exact(part) for part in parts], False


class _ShownArguments(NamedTuple):
    """The fields that are computed from argv and what it lacks."""

    argv: list[str]
    command: str
    argv_missing: list[list[int | None]] | None
    redacted: list[list[int]] | None
    argv_base64: str | None


def _shown_arguments(event: ExecEvent) -> _ShownArguments:
    arguments = split_argv(event.argv, event.holes)
    texts, all_utf8 = decoded(arguments.parts)
    return _ShownArguments(
        texts,
        command_line(arguments),
        [list(each) for each in arguments.missing] if arguments.missing else None,
        [list(each) for each in event.redacted] if event.redacted else None,
        None if all_utf8 else base64_text(event.argv),
    )


def to_record(event: ExecEvent) -> dict[str, object]:
    """Returns the record of one exec: FIELDS in order, with exact values that JSON can represent.

    It has argv_base64 only if some part of argv is not valid UTF-8.
    """
    parts = {
        Part.EXEC: event,
        Part.LAUNCH: event.launch,
        Part.ORIGIN: event.origin,
        Part.ARGUMENTS: _shown_arguments(event),
        Part.END: event.end,
    }
    record = {
        field.name: value_of(field, getattr(parts[field.part], field.source, None)) for field in fields.FIELDS
    }
    if record["argv_base64"] is None:
        del record["argv_base64"]
    return record


def value_of(field: Field, value: Any) -> object:  # noqa: ANN401  # the table says what it is
    """Returns the value in the record for a value in the event."""
    if value is None:
        return None
    show = shown_by(field)
    return value if show is None else show(value)


def shown_by(field: Field) -> Callable[[Any], object] | None:
    """Returns what makes the value in the record of one in the event; None: they are the same."""
    return _SHOWN.get(field.form)


def base64_text(raw: bytes) -> str:
    """Returns bytes as base64."""
    return b64encode(raw).decode("ascii")


@lru_cache(maxsize=1024)
def device_text(device: int) -> str:
    """Returns a device number as lsblk and mountinfo show it: `8:1`."""
    return f"{device >> _MINOR_BITS}:{device & (1 << _MINOR_BITS) - 1}"


def gap_record(gap: Gap) -> dict[str, object]:
    """Returns the record of a gap. Its `kind` distinguishes it from the record of an exec."""
    return {field.name: value_of(field, getattr(gap, field.source)) for field in fields.GAP_FIELDS}


def rule_record(rule: HuntRule) -> dict[str, object]:
    """Returns what a detection rule says of itself."""
    return {**rule._asdict(), "tags": [*rule.tags]}


def hit_record(hit: Hit) -> dict[str, object]:
    """Returns the record of a hit. Its `kind` distinguishes it from the record of the exec that was hit."""
    return {
        "kind": "hit",
        "time": utc_text(hit.time_ns),
        "host": hit.host,
        "id": hit.exec_id,
        "pid": hit.pid,
        "uid": hit.uid,
        "user": hit.user,
        "comm": hit.comm,
        "exe": hit.exe,
        "rule": rule_record(hit.rule),
        "left_out": hit.left_out,
    }


def sealed_record(sealed: Sealed) -> dict[str, object]:
    """Returns the record of a seal. Its `kind` distinguishes it from the record of an exec."""
    return {
        "kind": "sealed",
        "time": utc_text(sealed.time_ns),
        "host": sealed.host,
        "head": sealed.head,
        "epoch": sealed.epoch,
        "keyed": sealed.is_keyed,
    }


_SHOWN: dict[Form, Callable[[Any], object]] = {
    Form.UNSIGNED_64: str,
    Form.COMM: exact,
    Form.PATH: exact,
    Form.BYTES: exact,
    Form.WORD: attrgetter("value"),
    Form.GAINED: GAINED_WORDS.__getitem__,
    Form.DEVICE: device_text,
    Form.ERRNO: errno_name,
    Form.TIME: utc_text,
    Form.ID: encode_id,
    Form.CONTAINER: container_id,
}
"""By form, functions that turn a value in the event into the value in the record, if the two differ."""
