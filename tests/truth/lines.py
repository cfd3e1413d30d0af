"""Command lines at the limits of probe and record. Each argument is ended by a NUL."""

from __future__ import annotations

import random

_KERNEL_LONGEST = 131_072  # MAX_ARG_STRLEN: an argument, its NUL counted
_CONVENIENT = 60_000

# How the probe cuts a command line (bpf/maps.h): EA_FIRST - 1 bytes in the first
# record, EA_CHUNK - 1 in each further one, a tail call after each EA_CHUNKS of those.
_FIRST = 8191
_CHUNK = 16_383
_CHUNKS = 16
# A failed exec's arguments are read EA_PIECE - 1 bytes at a time, a record ends behind
# EA_LOW, and a tail call comes after EA_ARGS of them; after the 30th the probe gives up.
_PIECE = 4095
_RECORD = 16_384
_ARGS = 512
WALKED = 30 * _ARGS
"""Arguments of a failed exec that the probe walks at least, if none is longer than a piece."""

BOUNDARIES = (
    4096,
    _FIRST,
    8192,
    _RECORD,
    _FIRST + _CHUNK,
    32_768,
    _FIRST + 2 * _CHUNK,
    65_536,
    _FIRST + _CHUNKS * _CHUNK,
    _FIRST + 2 * _CHUNKS * _CHUNK,
)


def line(*arguments: bytes) -> bytes:
    """Returns the command line of these arguments."""
    return b"".join(argument + b"\0" for argument in arguments)


_RULER = b"".join(b"%07d " % at for at in range(0, 5_400_000, 8))


def counting(length: int) -> bytes:
    """Returns bytes that contain their own positions, so that a piece in the wrong place is noticed."""
    return _RULER[:length]


def of_size(total: int, longest: int = _CONVENIENT) -> bytes:
    """Returns a command line of exactly `total` bytes, in arguments of `longest` bytes at most."""
    text = bytearray(counting(total - 1) + b"\0")
    text[longest:-1:longest] = bytes(len(range(longest, total - 1, longest)))
    return bytes(text)


SHORT: dict[str, bytes] = {
    "ordinary": line(b"program", b"one", b"two words"),
    "only-a-name": line(b"program"),
    "empty-first": line(b"", b"one", b"two"),
    "empty-middle": line(b"program", b"", b"two"),
    "empty-last": line(b"program", b"one", b""),
    "nothing-but-empty": line(b"", b"", b"", b""),
    "every-byte": line(b"program", bytes(range(1, 256))),
    "a-byte-each": line(b"program", *(bytes([byte]) for byte in range(1, 256))),
    "latin-1": line(b"caf\xe9", b"\xff\xfe"),
    "half-a-character": line(b"program", b"\xe2\x82", b"\xac"),
    "surrogates": line(b"program", b"\xed\xa0\x80\xed\xb0\x80", b"\xed\xb3\xbf"),
    "overlong": line(b"program", b"\xc0\x80", b"\xc1\xbf", b"\xf8\x88\x80\x80\x80"),
    "last-code-point": line(b"program", "\U0010ffff\uffff\ufffe\ufffd".encode(), b"\xf4\x90\x80\x80"),
    "looks-escaped": line(b"program", rb"\xff", b"\xff", rb"\\xff", rb"\u0000", rb"\0"),
    "newlines": line(b"program", b"one\ntwo\r\nthree\n", b"\n", b"\x0b\x0c\x85\xe2\x80\xa8\xe2\x80\xa9"),
    "escape-sequences": line(
        b"\x1b[2J\x1b[H",
        b"\x1b]52;c;cm0gLXJmIC8=\x07",
        b"\x1b]0;title\x1b\\",
        b"\x9b31m",
        "\x9b31m".encode(),
        b"\x7f\x08",
    ),
    "bidirectional": line(b"program", "\u202egnp.exe\u202c \u2066x\u2069 \u200f\ufeff".encode()),
    "quotes": line(b"program", b"\"'`$(id)${IFS};&|<>*?[]{}~#!\\", b"'", b'"', b"\\"),
    "json": line(b'{"argv":["a"]}', b'","x":"', b"null"),
    "csv": line(b'=HYPERLINK("http://x")', b"a,b;c\td", b'"a""b"', b"-1+1", b"@SUM(A1)"),
    "disguised": line(b"[kworker/0:1-events]", b"--real"),
    "login-shell": line(b"-bash"),
    "long-name": line(b"n" * 5000, b"one"),
    "looks-like-options": line(b"--", b"--db", b"-", b"--limit=0"),
}
"""Unusual contents, each shorter than a record."""

LONG: dict[str, bytes] = {
    "longest-argument": line(b"program", counting(_KERNEL_LONGEST - 1)),
    "20000-empty-arguments": line(b"program", *[b""] * 20_000),
    "100000-arguments": line(b"program", *(b"%d" % n for n in range(100_000))),
    "2-MB": of_size(2_000_000),
    "2-MB-not-UTF-8": of_size(2_000_000).replace(b" ", b"\xff"),
    "5-MB": of_size(5_000_000),
    "55002-arguments": line(b"program", *(counting(90) for _ in range(55_001))),
    **{f"{at + off}-bytes": of_size(at + off) for at in BOUNDARIES for off in (-1, 0, 1)},
    # Two bytes each, so that at each boundary an argument begins, or there is a NUL.
    "a-letter-each": line(*[b"x"] * 30_000),
    "a-letter-each-shifted": line(b"", *[b"x"] * 30_000),
}
"""Sizes about that of a record, or larger."""


def _around(size: int) -> list[int]:
    return [size - 1, size, size + 1]


REFUSED_SIZES: dict[str, bytes] = {
    **{
        f"argument-of-{size}": line(b"program", counting(size), b"behind")
        for pieces in (1, 2, 3, 4, 8)
        for size in _around(pieces * _PIECE)
    },
    **{f"{size}-bytes": of_size(size, longest=1000) for size in (8192, *_around(_RECORD), 102_400)},
    **{f"{n}-arguments": line(*[b"ab"] * n) for n in (*_around(_ARGS), *_around(2 * _ARGS), WALKED - 1)},
    "longest-argument": line(b"program", counting(_KERNEL_LONGEST - 1)),
    "1-MB": of_size(1_000_000),
}
"""Command lines of failed execs, at the boundaries of the probe's reads."""


TOO_MANY = line(*[b"ab"] * 100_000)
"""More arguments than the probe reads."""


def at_random(count: int, seed: int) -> list[bytes]:
    """Returns command lines whose arguments have lengths near these boundaries, the same each time."""
    chance = random.Random(seed)  # not secret: it must repeat itself
    lengths = (0, 1, 2, 7, 100, 1000, *range(_PIECE - 3, _PIECE + 4), *range(2 * _PIECE - 2, 2 * _PIECE + 3))
    return [
        line(*(counting(chance.choice(lengths)) for _ in range(chance.randint(1, 12)))) for _ in range(count)
    ]
