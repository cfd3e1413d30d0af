"""Execs and gaps from our own records: the JSON log, and lines of `query` and `export`. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any

from execaudit.arguments import split_argv
from execaudit.enums import ERRNO_NAMES, GAINED_WORDS, Ended, Gained, GapReason, Kind, Truncated
from execaudit.escaping import exact
from execaudit.event import MARK_BYTES, ExecEvent, ExitEvent, Gap, Hole, Nanoseconds, Redaction
from execaudit.exec_id import boot_prefix, decode_id
from execaudit.fields import LAUNCH_FIELDS, ORIGIN_FIELDS, Form, Launch, Origin
from execaudit.importing import json_values as values
from execaudit.importing.items import LAST_32, LAST_NS, LAST_TASK, RejectError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from execaudit.exec_id import ExecKey
    from execaudit.fields import Field
    from execaudit.importing.json_values import Object

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch
_DEVICE = re.compile(r"([0-9]{1,4}):([0-9]{1,7})").fullmatch
_ERRNO = re.compile(r"E([0-9]{1,4})").fullmatch
_ERRNOS = {word: number for number, word in ERRNO_NAMES.items()}
_GAINED = {word: Gained(bits) for bits, word in enumerate(GAINED_WORDS) if word}
_LAST_ERRNO, _LAST_CODE, _LAST_SIGNAL = 4095, 255, 127
_MINOR_BITS = 20
_MOST_PAIRS = 100_000


def event_of(record: Object) -> ExecEvent:
    """Returns the exec of a record, without its end. Raises RejectError."""
    kind = _word(Kind, record.get("kind"), "kind")
    boot_id, key = record.get("boot_id"), _key(record, "id")
    if not isinstance(boot_id, str) or not _UUID(boot_id):
        raise RejectError("boot_id is no boot id")
    pid = values.number(record.get("pid"), LAST_TASK, what="pid")
    tid = values.number(record.get("tid"), LAST_TASK, what="tid")
    task = tid if kind is Kind.FAILED else pid
    if key is None or pid is None or (key.boot, key.task) != (boot_prefix(boot_id), task):
        raise RejectError("the id does not fit the boot and the pid")
    host = values.name(record.get("host"), what="host")
    if host is None:
        raise RejectError("host is missing")
    parent = _key(record, "parent_id")
    # Programs that ran when recording began share a time.
    if parent is not None and (parent.boot != key.boot or parent.boot_ns > key.boot_ns or parent == key):
        parent = None
    argv, holes = _argv(record)
    truncated = record.get("truncated")
    argc = values.number(record.get("argc"), what="argc")
    argv_bytes = values.number(record.get("argv_bytes"), what="argv_bytes")
    redacted = _redacted(record, split_argv(argv, holes).parts)
    # One mark may stand for many arguments.
    fits = argv_bytes == len(argv) and (argc == argv.count(0) or redacted)
    if truncated is None and (holes or not fits):
        raise RejectError("argc or argv_bytes does not fit argv")
    return ExecEvent(
        kind=kind,
        host=host,
        boot_id=boot_id,
        time_ns=values.moment(record.get("time")),
        boot_ns=Nanoseconds(key.boot_ns),
        pid=pid,
        tid=pid if tid is None else tid,
        ppid=values.number(record.get("ppid"), LAST_TASK, what="ppid"),
        argv=argv,
        argc=argc,
        argv_bytes=argv_bytes,
        holes=holes,
        truncated=None if truncated is None else _word(Truncated, truncated, "truncated"),
        errno=_errno(record.get("errno")) if kind is Kind.FAILED else None,
        launch=Launch(*_fields(record, LAUNCH_FIELDS)),
        origin=Origin(*_fields(record, ORIGIN_FIELDS)),
        parent=parent,
        replaces=kind is Kind.EXEC and parent is not None and parent.task == pid,
        redacted=redacted,
    )


def exit_of(record: Object, event: ExecEvent) -> ExitEvent | None:
    """Returns the end that a record tells of its exec; None if it tells none. Raises RejectError."""
    duration_ns = values.number(record.get("duration_ns"), LAST_NS, what="duration_ns")
    ended = record.get("ended")
    if duration_ns is None or event.kind is Kind.FAILED:
        return None
    if event.time_ns + duration_ns > LAST_NS:
        raise RejectError("duration_ns is no number, or out of range")
    if ended == Ended.EXITED.value:
        code = values.number(record.get("exit_code"), _LAST_CODE, what="exit_code")
        status = None if code is None else code << 8
    elif ended == Ended.SIGNALED.value:
        status = values.number(record.get("exit_signal"), _LAST_SIGNAL, what="exit_signal")
    else:
        # The exec that replaced it says so itself; if it is not there, that is known all the same.
        return None
    if not status and ended == Ended.SIGNALED.value:
        return None
    times = Nanoseconds(event.time_ns + duration_ns), Nanoseconds(event.boot_ns + duration_ns)
    return None if status is None else ExitEvent(event.key, *times, event.pid, status)


def gap_of(record: Object) -> Gap | None:
    """Returns the gap of a record; None for a time without a recorder that goes on. Raises RejectError."""
    if record.get("from") is None or record.get("to") is None or record.get("host") is None:
        return None
    from_ns, to_ns = (values.moment(record[name], what=name) for name in ("from", "to"))
    return Gap(
        values.name(record["host"], what="host") or "",
        from_ns,
        max(from_ns, to_ns),
        _word(GapReason, record.get("reason"), "reason"),
        values.number(record.get("count"), what="count"),
        values.number(record.get("exits"), what="exits") or 0,
        values.number(record.get("uid"), what="uid"),
    )


def _word(kind: Any, value: object, what: str) -> Any:  # noqa: ANN401  # any Enum
    try:
        return kind(value)
    except ValueError as exc:
        raise RejectError(f"{what} is none that is known") from exc


def _key(record: Object, what: str) -> ExecKey | None:
    value = record.get(what)
    if value is None:
        return None
    key = decode_id(value) if isinstance(value, str) else None
    if key is None:
        raise RejectError(f"{what} is no id")
    return key


def _fields(record: Object, fields: Iterable[Field]) -> Iterable[Any]:
    for field in fields:
        value = record.get(field.name)
        yield None if value is None else _OF_FORM[field.form](value, what=field.name)


def _errno(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, str):
        if value in _ERRNOS:
            return _ERRNOS[value]
        found = _ERRNO(value)
        if found is not None and 0 < int(found[1]) <= _LAST_ERRNO:
            return int(found[1])
    raise RejectError("errno is no error's name")


def _device(value: object, *, what: str) -> int:
    found = _DEVICE(value) if isinstance(value, str) else None
    if found is None or int(found[1]) >= 1 << 12 or int(found[2]) >= 1 << _MINOR_BITS:
        raise RejectError(f"{what} is no device")
    return int(found[1]) << _MINOR_BITS | int(found[2])


def _gained(value: object, *, what: str) -> Gained:
    if not isinstance(value, str) or value not in _GAINED:
        raise RejectError(f"{what} is none that is known")
    return _GAINED[value]


def _unsigned(value: object, *, what: str) -> int | None:
    return values.number(value, 2**64 - 1, what=what)


_OF_FORM: Mapping[Form, Callable[..., object]] = {
    Form.NUMBER: values.number,
    Form.UNSIGNED_64: _unsigned,
    Form.NAME: values.name,
    Form.COMM: values.raw_text,
    Form.PATH: values.raw_text,
    Form.BYTES: values.raw_text,
    Form.GAINED: _gained,
    Form.DEVICE: _device,
}


def _argv(record: Object) -> tuple[bytes, tuple[Hole, ...]]:
    """Returns the captured bytes of the arguments, and where some are missing."""
    shown, missing = record.get("argv"), record.get("argv_missing") or []
    if shown is None:
        shown = []
    if not isinstance(shown, list) or not all(isinstance(each, str) and "\0" not in each for each in shown):
        raise RejectError("argv is no list of texts")
    parts = [values.encoded(each) for each in shown]
    if not missing:
        return _exact_argv(record, shown) or b"".join(part + b"\0" for part in parts), ()
    out = bytearray()
    holes: list[Hole] = []
    done = 0
    for before, size in _missing(missing, len(parts)):
        segment = parts[done:before]
        out += b"\0".join(segment)
        if segment and not segment[-1]:
            out.append(0)
        holes.append(Hole(len(out), size))
        # A NUL right after a hole makes no part: it ends the argument before.
        if before < len(parts) and not parts[before]:
            out.append(0)
        done = before
    out += b"".join(part + b"\0" for part in parts[done:])
    return bytes(out), tuple(holes)


def _redacted(record: Object, parts: Sequence[bytes]) -> tuple[Redaction, ...]:
    """Returns where marks stand. Each must fit into its argument, behind the one before."""
    found: list[Redaction] = []
    for pair in _pairs(record.get("redacted") or [], "redacted"):
        index = values.number(pair[0], len(parts) - 1, what="redacted")
        offset = (
            None if index is None else values.number(pair[1], len(parts[index]) - MARK_BYTES, what="redacted")
        )
        if index is None or offset is None or (found and (index, offset) <= found[-1]):
            raise RejectError("redacted does not fit argv")
        found.append(Redaction(index, offset))
    return tuple(found)


def _exact_argv(record: Object, shown: list[str]) -> bytes | None:
    encoded = record.get("argv_base64")
    if not isinstance(encoded, str):
        return None
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise RejectError("argv_base64 is no base64") from exc
    if [exact(part) for part in raw.removesuffix(b"\0").split(b"\0")] != shown:
        raise RejectError("argv_base64 has other arguments than argv")
    return raw


def _pairs(value: object, what: str) -> Iterator[list[object]]:
    """Yields the pairs of a list. Raises RejectError at what is none."""
    if not isinstance(value, list) or len(value) > _MOST_PAIRS:
        raise RejectError(f"{what} is no list of pairs")
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2:  # noqa: PLR2004  # a pair
            raise RejectError(f"{what} is no list of pairs")
        yield pair


def _missing(missing: object, parts: int) -> Iterable[tuple[int, int | None]]:
    last = -1
    for pair in _pairs(missing, "argv_missing"):
        before = values.number(pair[0], parts, what="argv_missing")
        if before is None or before <= last:
            raise RejectError("argv_missing is not in order")
        last = before
        yield before, values.number(pair[1], LAST_32, what="argv_missing")
