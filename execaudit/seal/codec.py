"""The bytes that are hashed for a row, and for the numbers of an entry. Pure.

docs/seals.md has the same as text. It says what a row means and not how it is stored: the values of
dictionaries stand in it, so a migration, a vacuum or a copy changes nothing.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import TYPE_CHECKING

from execaudit import native
from execaudit.database.signed64 import signed
from execaudit.fields import LAUNCH_FIELDS, ORIGIN_FIELDS, Form

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from execaudit.fields import Field

    Value = int | bytes | str | None

BYTES = 32
"""Of every hash here: BLAKE2b (RFC 7693) with 256 bits."""
NULL = -(2**63)
"""Stands for NULL in an exec's and an end's numbers. No column holds this number."""
LONGEST_INLINE = 256
"""A line with more bytes enters by its hash: a pruning may shorten it, and keeps the hash. It shortens none
that is shorter."""

_NUMBER, _LENGTH = struct.Struct("<Bq"), struct.Struct("<BQ")
_TAG_NULL, _TAG_NUMBER, _TAG_BYTES, _TAG_TEXT = range(4)

EXEC_NUMBERS = (
    "id", "ts", "boot_ns", "run_id", "kind", "pid", "tid", "ppid", "errno", "parent_id", "duration_ns", "status",
    "replaced_by",
)  # fmt: skip
"""`tid` is the pid where the column is NULL."""
pack_exec = struct.Struct(f"<{len(EXEC_NUMBERS)}q").pack
PackError = struct.error


def hasher(person: bytes) -> Callable[[bytes], bytes]:
    """Returns what hashes bytes for a purpose: its name, 16 bytes at most."""
    # To copy an object takes half as long as to make one.
    empty = blake2b(digest_size=BYTES, person=person)

    def hashed(raw: bytes) -> bytes:
        made = empty.copy()
        made.update(raw)
        return made.digest()

    return hashed


def values(row: Iterable[Value]) -> bytes:
    """Returns the bytes for values of any types, each with its type and length."""
    given = tuple(row)
    if native.fast is not None and (made := native.fast.values(given)) is not None:
        return made
    parts = []
    for value in given:
        if value is None:
            parts.append(b"\0")
        elif isinstance(value, int):
            parts.append(_NUMBER.pack(_TAG_NUMBER, value))
        elif isinstance(value, str):
            raw = value.encode("utf-8", "surrogateescape")
            parts.append(_LENGTH.pack(_TAG_TEXT, len(raw)) + raw)
        else:
            parts.append(_LENGTH.pack(_TAG_BYTES, len(value)) + value)
    return b"".join(parts)


_hash_row, _hash_group, _hash_line, _hash_exec = map(
    hasher, (b"execaudit.row", b"execaudit.group", b"execaudit.line", b"execaudit.exec")
)


EMPTY_EXEC = blake2b(digest_size=BYTES, person=b"execaudit.exec")
"""The hash object of no bytes, for exec_hash() where it is compiled."""


def row_hash(row: Iterable[Value]) -> bytes:
    """Returns the hash of a row of any table but exec."""
    return _hash_row(values(row))


def group_hash(group: Iterable[Value]) -> bytes:
    """Returns the hash of a launch or an origin, as the central tables have it."""
    return _hash_group(values(group))


def _stored(fields: Sequence[Field]) -> list[tuple[int, Callable[..., Value]]]:
    how: dict[Form, Callable[..., Value]] = {
        Form.NAME: lambda name: name.encode("utf-8", "surrogateescape"),
        Form.UNSIGNED_64: signed,
        Form.GAINED: int,
    }
    return [(at, how[field.form]) for at, field in enumerate(fields) if field.form in how]


_LAUNCH, _ORIGIN = _stored(LAUNCH_FIELDS), _stored(ORIGIN_FIELDS)


def launch_hash(launch: Sequence[object]) -> bytes:
    """Returns the hash of an event's launch."""
    return group_hash(_as_stored(launch, _LAUNCH))


def origin_hash(origin: Sequence[object]) -> bytes:
    """Returns the hash of an event's origin."""
    return group_hash(_as_stored(origin, _ORIGIN))


def _as_stored(group: Sequence[object], how: list[tuple[int, Callable[..., Value]]]) -> list[Value]:
    row: list[object] = [*group]
    for at, turn in how:
        if row[at] is not None:
            row[at] = turn(row[at])
    return row  # type: ignore[return-value]  # an event's fields have no other types


_WHOLE, _CUT, _BY_HASH = b"\0", b"\1", b"\2"


def line(argv: bytes, cut: Sequence[Value] | None) -> bytes:
    """Returns the bytes for a command line.

    `cut`, of one that is not whole or was redacted: truncated (its code), argc, argv_bytes, holes, redacted.
    """
    if len(argv) <= LONGEST_INLINE:
        return _WHOLE + argv if cut is None else _CUT + values(cut) + argv
    return _BY_HASH + line_hash(argv, cut)


def line_hash(argv: bytes, cut: Sequence[Value] | None) -> bytes:
    """Returns the hash by which a long line enters."""
    return _hash_line(_WHOLE + argv if cut is None else _CUT + values(cut) + argv)


def line_of_hash(digest: bytes) -> bytes:
    """Returns the bytes for a long line of which only the hash is known."""
    return _BY_HASH + digest


def is_by_hash(line_bytes: bytes) -> bool:
    """Says whether these are the bytes for a long line."""
    return line_bytes.startswith(_BY_HASH)


def exec_hash(numbers: bytes, launch: bytes, origin: bytes, line_bytes: bytes) -> bytes:
    """Returns the hash of an exec: its packed numbers, the hashes of launch and origin, and its line."""
    return _hash_exec(numbers + launch + origin + line_bytes)


def unsigned(number: int) -> bytes:
    """Returns a number from 0 on as bytes: seven bits each, the lowest first (LEB128)."""
    made = bytearray()
    while number > 0x7F:  # noqa: PLR2004  # seven bits
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)


def either(number: int) -> bytes:
    """Returns any number as bytes: near zero they are few."""
    return unsigned(number << 1 if number >= 0 else (-number << 1) - 1)


class Numbers:
    """Reads what unsigned() and either() made."""

    def __init__(self, raw: bytes, at: int = 0) -> None:
        self._raw, self.at = raw, at

    def __bool__(self) -> bool:
        return self.at < len(self._raw)

    def unsigned(self) -> int:
        """Returns the next number. Raises IndexError at the end, ValueError for one that is too long."""
        number = shift = 0
        while True:
            byte = self._raw[self.at]
            self.at += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte <= 0x7F:  # noqa: PLR2004  # as above
                return number
            if shift > 70:  # noqa: PLR2004  # 64 bits take ten bytes
                raise ValueError("a number is too long")

    def either(self) -> int:
        """Returns the next number, which may be below zero. Raises as unsigned()."""
        number = self.unsigned()
        return number >> 1 if not number & 1 else -((number + 1) >> 1)

    def take(self, count: int) -> bytes:
        """Returns the next bytes. Raises IndexError where they end before."""
        if self.at + count > len(self._raw):
            raise IndexError("the bytes end early")
        self.at += count
        return self._raw[self.at - count : self.at]
