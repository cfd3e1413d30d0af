r"""How long the lines of execs in the JSON log are at most. Pure.

Bytes take more or less: a control character is `\u0001` in `argv` and `$'\x01'` in `command`. If only bytes
were counted, an account could take five times what it is charged. This is asked for each exec, so bytes are
counted by their kind, and the line is not made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from execaudit.event import ExecEvent

_PLAIN = bytes(byte for byte in range(ord(" "), 0x7F) if byte not in b"'\"\\")
_PLAIN_OR_NUL = _PLAIN + b"\0"
_HIGH = bytes(range(0x80, 0x100))
# What these take beyond a character in `argv` and one in `command`. A NUL ends an argument, which can have
# quotes in both. A control character takes 6 and 5 characters, a byte of U+0080 3 and 5, an invalid byte 5
# and 5.
_NUL, _ASCII, _VALID, _INVALID = 5, 9, 6, 8
# The same for a path, which is there once.
_PATH_PLAIN = _PLAIN + b"'"
_PATH_ASCII, _PATH_VALID, _PATH_INVALID = 5, 2, 4
# Of a place where a command line lacks something: an item of `argv_missing`, and a mark in `command`, or an
# item of `redacted`.
_HOLE = 100
# Lines up to this size are looked at together, which takes a third of the time.
_SHORT = 1000


def of_arguments(events: Iterable[ExecEvent]) -> int:
    """Returns how many characters the captured arguments of all these take at most."""
    short: list[bytes] = []
    size = 0
    for event in events:
        argv = event.argv
        if type(argv) is not bytes:
            continue  # a bad event, which has no line
        if len(argv) > _SHORT or event.holes or event.redacted:
            size += of_one(argv, len(event.holes) + len(event.redacted))
        else:
            short.append(argv)
    joined = b"".join(short)
    if joined.translate(None, _PLAIN_OR_NUL):
        return size + sum(of_one(argv, 0) for argv in short)
    return size + 2 * len(joined) + _NUL * joined.count(0)


def of_path(path: bytes) -> int:
    """Returns how many characters a path takes at most."""
    special = path.translate(None, _PATH_PLAIN)
    if not special:
        return len(path)
    high = len(special) - len(special.translate(None, _HIGH))
    of_high = _PATH_VALID if not high or _is_utf8(path) else _PATH_INVALID
    return len(path) + _PATH_ASCII * (len(special) - high) + of_high * high


def of_one(argv: bytes, places: int) -> int:
    """Returns how many characters captured arguments with so many holes and marks take at most."""
    special = argv.translate(None, _PLAIN)
    nuls = special.count(0)
    size = 2 * len(argv) + _NUL * nuls + _HOLE * places
    if nuls == len(special):
        return size
    high = len(special) - len(special.translate(None, _HIGH))
    size += _ASCII * (len(special) - nuls - high) + _VALID * high
    # The two sides of a hole may be valid UTF-8 together, but not alone.
    if high and (places or not _is_utf8(argv)):
        size += (_INVALID - _VALID) * high + len(argv) * 4 // 3 + 4  # with argv_base64
    return size


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
