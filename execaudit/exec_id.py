"""The id of an exec: its three numbers, and its text. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

# Crockford's base 32: no i, l, o, u. Ids sort as their numbers do, and a double click selects a whole id.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES = {char: value for value, char in enumerate(ALPHABET)}
# An id is made for each exec. Two letters at a time take half the time.
_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]
# 28 bits of the boot id, 60 of the boot clock (36 years), 22 of the task: PID_MAX_LIMIT
# is 2**22. Ids of two hosts collide only if all three agree.
_BOOT_BITS, _TIME_BITS, _TASK_BITS = 28, 60, 22
ID_LENGTH = (_BOOT_BITS + _TIME_BITS + _TASK_BITS) // 5
SHORT_LENGTH = 15
"""So much of the beginning of an id tells an exec from all that are not of the same 8 microseconds."""
_REST_BITS = 50
_SLOW_SHIFTS = range(5 * ID_LENGTH - _REST_BITS - 10, -1, -10)


_VERSION_AT, _MADE = 14, "8"


def boot_is_made(boot_id: str) -> bool:
    """Says whether an import made this boot id, because the log names no boot.

    It is a UUID of version 8 (RFC 9562); the kernel's have version 4.
    """
    return boot_id[_VERSION_AT : _VERSION_AT + 1] == _MADE


class ExecKey(NamedTuple):
    """The numbers that an exec id stands for. They identify one exec, which a pid does not."""

    boot: int
    """The first 28 bits of the boot id."""
    boot_ns: int
    """The boot clock when the exec took effect or failed, in nanoseconds."""
    task: int
    """Of a failed exec the tid, of all others the pid."""


@lru_cache(maxsize=64)
def boot_prefix(boot_id: str) -> int:
    """Returns the part of a boot id (a UUID as text) that goes into exec ids."""
    return int(boot_id[:7], 16)


def encode_id(key: tuple[int, int, int]) -> str:
    """Returns the text of an exec id for the values of an ExecKey. Texts of one boot sort by time."""
    boot, boot_ns, task = key
    # Two numbers below 2**64, because Python is slow with larger ones. `slow` changes four times a second,
    # `rest` with each exec.
    rest = (boot_ns & (1 << _REST_BITS - _TASK_BITS) - 1) << _TASK_BITS | task
    slow = _slow_part(boot << _TIME_BITS + _TASK_BITS - _REST_BITS | boot_ns >> _REST_BITS - _TASK_BITS)
    pairs = _PAIRS
    return (
        f"{slow}{pairs[rest >> 40]}{pairs[rest >> 30 & 1023]}{pairs[rest >> 20 & 1023]}"
        f"{pairs[rest >> 10 & 1023]}{pairs[rest & 1023]}"
    )


@lru_cache(maxsize=64)
def _slow_part(number: int) -> str:
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SLOW_SHIFTS])


def decode_id(text: str) -> ExecKey | None:
    """Returns the numbers of an exec id, or None if the text is not an id."""
    keys = keys_from(text) if len(text) == ID_LENGTH else None
    return None if keys is None else keys[0]


def keys_from(beginning: str) -> tuple[ExecKey, ExecKey] | None:
    """Returns the first and the last key whose ids begin so; None if no id does. Case does not matter."""
    number = 0
    for char in beginning.lower():
        value = _VALUES.get(char)
        if value is None:
            return None
        number = number << 5 | value
    rest = 5 * (ID_LENGTH - len(beginning))
    return None if rest < 0 else (_key_of(number << rest), _key_of((number + 1 << rest) - 1))


def _key_of(number: int) -> ExecKey:
    return ExecKey(
        number >> (_TIME_BITS + _TASK_BITS),
        number >> _TASK_BITS & (1 << _TIME_BITS) - 1,
        number & (1 << _TASK_BITS) - 1,
    )
