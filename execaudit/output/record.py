"""The flat record of an exec, as the JSON log, the exports and the documentation have it. Pure."""

from __future__ import annotations

import errno
import re
from base64 import b64encode
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit import fields
from execaudit.enums import Gained
from execaudit.escaping import exact, shell_words
from execaudit.exec_id import encode_id
from execaudit.fields import Form, Part
from execaudit.query.container import container_id
from execaudit.times import utc_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from execaudit.event import ExecEvent, Gap, Hole
    from execaudit.fields import Field

FIELDS = tuple(field.name for field in fields.FIELDS)
"""The names of all columns; of these only argv_base64 may be absent from a record."""
GAP_FIELDS = tuple(field.name for field in fields.GAP_FIELDS)
"""The keys of gap_record()."""

# Of the numbers with two names, the one that strace and the manual pages of execve show.
_ERRNO = {**errno.errorcode, errno.EDEADLK: "EDEADLK", errno.EOPNOTSUPP: "EOPNOTSUPP"}

PRIVILEGED = [",".join(str(one.name).lower() for one in Gained if one & bits) or None for bits in range(8)]
"""The words for each Gained."""
is_plain = re.compile(rb"[\w@%+:,./-]+\0(?:[\w@%+=:,./-]+\0)*").fullmatch
"""Says whether argv has arguments, none that a shell or JSON quotes, and no setting as the first."""
_MINOR_BITS = 20
shared_id = lru_cache(maxsize=4096)(encode_id)
"""encode_id, of what comes again: many execs share a parent, and an id is dear."""


class Missing(NamedTuple):
    """Bytes of a command line that are not there."""

    before: int
    """Index of the part that follows them; the number of parts if none does."""
    size: int | None
    """How many; None when that cannot be known."""


class Arguments(NamedTuple):
    """A captured command line, taken apart."""

    parts: tuple[bytes, ...]
    """Arguments; those beside something missing may be only a part of one."""
    missing: tuple[Missing, ...]
    """In order, no index twice."""


def split_argv(argv: bytes, holes: tuple[Hole, ...]) -> Arguments:
    """Returns the arguments of captured bytes, each of them ended by a NUL or by a hole.

    What stands on two sides of a hole is never joined. A NUL right after a hole ends an
    argument of which nothing is there: it makes no part, though it may have been an empty one.
    """
    if not holes:
        return Arguments(tuple(_ended(argv)), ())
    parts = _ended(argv[: holes[0].at])
    missing: list[Missing] = []
    ends = [hole.at for hole in holes[1:]] + [len(argv)]
    for hole, end in zip(holes, ends, strict=True):
        size = hole.missing
        if missing and missing[-1].before == len(parts):
            before = missing.pop().size
            size = None if before is None or size is None else before + size
        missing.append(Missing(len(parts), size))
        parts += _ended(argv[hole.at : end].removeprefix(b"\0"))
    return Arguments(tuple(parts), tuple(missing))


def command_line(arguments: Arguments) -> str:
    """Returns the arguments as bash would take them, safe to show, on one line.

    What is missing is marked: `[...123 bytes missing...]`. No argument can look like
    that, because shell_quote puts one with a bracket into quotes.
    """
    words = shell_words(arguments.parts)
    # Bare, it would look like a setting of the environment, and be one when pasted.
    if words and "=" in words[0] and words[0][0] not in "'$":
        words[0] = f"'{words[0]}'"
    for before, size in reversed(arguments.missing):
        words.insert(before, _marker(size))
    return " ".join(words)


def decoded(parts: tuple[bytes, ...]) -> tuple[list[str], bool]:
    """Returns the parts as text, and whether all of them are valid UTF-8."""
    # In one go, because this is done for every exec. The NULs keep the parts apart: bytes
    # on the two sides of a hole may be valid together and not alone.
    try:
        return (b"\0".join(parts).decode().split("\0") if parts else []), True
    except UnicodeDecodeError:
        return [exact(part) for part in parts], False


def errno_name(number: int) -> str:
    """Returns the name of a positive error number: `ENOENT`, or `E524` if it has none."""
    return _ERRNO.get(number) or f"E{number}"


class _ShownArguments(NamedTuple):
    """The fields that are made of argv and holes."""

    argv: list[str]
    command: str
    argv_missing: list[list[int | None]] | None
    argv_base64: str | None


def _shown_arguments(argv: bytes, holes: tuple[Hole, ...]) -> _ShownArguments:
    arguments = split_argv(argv, holes)
    texts, all_utf8 = decoded(arguments.parts)
    return _ShownArguments(
        texts,
        command_line(arguments),
        [list(each) for each in arguments.missing] if arguments.missing else None,
        None if all_utf8 else base64_text(argv),
    )


def to_record(event: ExecEvent) -> dict[str, object]:
    """Returns the record of one exec: FIELDS in order, values that JSON can carry, exact.

    Has argv_base64 only when some part of argv is not valid UTF-8.
    """
    parts = {
        Part.EXEC: event,
        Part.LAUNCH: event.launch,
        Part.ORIGIN: event.origin,
        Part.ARGUMENTS: _shown_arguments(event.argv, event.holes),
        Part.END: event.end,
    }
    record = {
        field.name: value_of(field, getattr(parts[field.part], field.source, None)) for field in fields.FIELDS
    }
    if record["argv_base64"] is None:
        del record["argv_base64"]
    return record


def value_of(field: Field, value: Any) -> object:  # noqa: ANN401  # the table says what it is
    """Returns what a record has for a value of the event."""
    if value is None:
        return None
    show = _SHOWN.get(field.form)
    return value if show is None else show(value)


def base64_text(raw: bytes) -> str:
    """Returns bytes as base64."""
    return b64encode(raw).decode("ascii")


@lru_cache(maxsize=1024)
def device_text(device: int) -> str:
    """Returns a device number as lsblk and mountinfo have it: `8:1`."""
    return f"{device >> _MINOR_BITS}:{device & (1 << _MINOR_BITS) - 1}"


def gap_record(gap: Gap) -> dict[str, object]:
    """Returns the record of a gap; its kind tells it from an exec's."""
    return {field.name: value_of(field, getattr(gap, field.source)) for field in fields.GAP_FIELDS}


def _ended(segment: bytes) -> list[bytes]:
    """Returns the arguments of bytes without a hole; the end of the bytes ends the last one."""
    parts = segment.split(b"\0")
    if not parts[-1]:
        parts.pop()
    return parts


def _marker(size: int | None) -> str:
    if size is None:
        return "[...unknown number of bytes missing...]"
    return f"[...{size} {'byte' if size == 1 else 'bytes'} missing...]"


_SHOWN: dict[Form, Callable[[Any], object]] = {
    Form.UNSIGNED_64: str,
    Form.COMM: exact,
    Form.PATH: exact,
    Form.BYTES: exact,
    Form.WORD: attrgetter("value"),
    Form.GAINED: PRIVILEGED.__getitem__,
    Form.DEVICE: device_text,
    Form.ERRNO: errno_name,
    Form.TIME: utc_text,
    Form.ID: encode_id,
    Form.CONTAINER: container_id,
}
"""Turns the value in the event into the value in the record, where the two differ."""
