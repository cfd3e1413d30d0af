"""Values of JSON as those of an event, checked. Pure."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from execaudit.escaping import exact
from execaudit.event import Nanoseconds
from execaudit.importing.items import LAST_32, LAST_NS, RejectError

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2})(?:[.,]([0-9]{1,9})[0-9]*)?(Z|[+-][0-9]{2}:?[0-9]{2})?"
).fullmatch
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SECOND = 1_000_000_000
_BYTE = re.compile(r"\\x([89a-f][0-9a-f])")
_LONGEST_NAME = 4096

Object = dict[str, Any]


def parsed(line: bytes) -> Object:
    """Returns the object that a line has. Raises RejectError: also where a name comes twice."""
    try:
        value = json.loads(line, object_pairs_hook=_unique)
    except RejectError:
        raise
    except (ValueError, RecursionError) as exc:
        raise RejectError("not JSON") from exc
    if not isinstance(value, dict):
        raise RejectError("not an object of JSON")
    return value


def _unique(pairs: list[tuple[str, object]]) -> Object:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise RejectError("a name comes twice")
    return found


def at(value: Mapping[str, Any], path: str) -> Any:  # noqa: ANN401  # JSON's
    """Returns what is at a path, `process.parent.pid`; its names may be joined in the object too."""
    if path in value:
        return value[path]
    name, dot, rest = path.partition(".")
    inner = value.get(name)
    return at(inner, rest) if dot and isinstance(inner, dict) else None


def number(value: object, most: int = LAST_32, *, what: str) -> int | None:
    """Returns a number from 0 to `most`, also of a text; None for null. Raises RejectError."""
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:  # noqa: PLR2004  # 2**64
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise RejectError(f"{what} is no number, or out of range")
    return value


def text(value: object, *, what: str) -> str | None:
    """Returns a text without a NUL; None for null. Raises RejectError."""
    if value is None:
        return None
    if not isinstance(value, str) or "\0" in value:
        raise RejectError(f"{what} is no text")
    return value


def name(value: object, *, what: str) -> str | None:
    """Returns a text that is a name. Raises RejectError."""
    found = text(value, what=what)
    if found is not None and len(found) > _LONGEST_NAME:
        raise RejectError(f"{what} is too long")
    return None if found is None else exact(encoded(found))


def encoded(shown: str) -> bytes:
    r"""Returns the bytes that a record shows as this text: `\xNN` is a byte that is not UTF-8."""
    raw = shown.encode("utf-8", "backslashreplace")
    if "\\x" not in shown:
        return raw
    parts = _BYTE.split(shown)
    guess = b"".join(
        bytes.fromhex(part) if number % 2 else part.encode("utf-8", "backslashreplace")
        for number, part in enumerate(parts)
    )
    return guess if exact(guess) == shown else raw


def raw_text(value: object, *, what: str) -> bytes | None:
    """Returns the bytes of a text; None for null. Raises RejectError."""
    found = text(value, what=what)
    return None if found is None else encoded(found)


def moment(value: object, *, what: str = "time") -> Nanoseconds:
    """Returns a moment from ISO 8601, in UTC if it names no zone. Raises RejectError."""
    found = _TIME(value) if isinstance(value, str) and len(value) <= 60 else None  # noqa: PLR2004  # no longer one
    if found is None:
        raise RejectError(f"{what} is missing, or no time")
    second, fraction, zone = found.groups()
    zone = "+00:00" if zone in (None, "Z") else zone if ":" in zone else f"{zone[:3]}:{zone[3:]}"
    try:
        since = (datetime.fromisoformat(second.replace(" ", "T") + zone) - _EPOCH).total_seconds()
    except (ValueError, OverflowError) as exc:
        raise RejectError(f"{what} is missing, or no time") from exc
    time_ns = int(since) * _SECOND + int((fraction or "0").ljust(9, "0"))
    if not 0 <= time_ns <= LAST_NS:
        raise RejectError("the time is out of range")
    return Nanoseconds(time_ns)
