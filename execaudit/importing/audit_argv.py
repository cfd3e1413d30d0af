"""The arguments in EXECVE records, of which long ones are split. Pure.

`a1_len=20000 a1[0]=6162... a1[1]=...`: pieces of one argument, in several records (`audit_log_execve_info` in
the kernel's kernel/auditsc.c). A record may be lost.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from execaudit.enums import Truncated
from execaudit.event import Hole
from execaudit.importing.audit_records import number_of, pairs_of, text_of
from execaudit.importing.items import LAST_32, RejectError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_ARGUMENT = re.compile(rb"a([0-9]{1,10})(?:\[([0-9]{1,10})\]|(_len))?").fullmatch
# The kernel logs so much of a title (MAX_PROCTITLE_AUDIT_LEN).
_TITLE_BYTES = 128
_NUL = "an argument has a NUL"


class Arguments(NamedTuple):
    """A command line, as events have it."""

    argv: bytes
    argc: int | None
    argv_bytes: int | None
    holes: tuple[Hole, ...] = ()
    truncated: Truncated | None = None


UNKNOWN = Arguments(b"", None, None, (Hole(0, None),), Truncated.LOST)


class _Parts:
    """The arguments by number, and the pieces of those that are split."""

    def __init__(self) -> None:
        self.whole: dict[int, bytes] = {}
        self.pieces: dict[int, dict[int, bytes]] = {}
        self.lengths: dict[int, int] = {}
        self.argc: int | None = None

    def take(self, name: bytes, value: bytes) -> None:
        if name == b"argc":
            if self.argc is None:
                self.argc = number_of(value, LAST_32)
            return
        found = _ARGUMENT(name)
        if found is None:
            return
        number, piece, is_length = int(found[1]), found[2], found[3]
        if is_length:
            length = number_of(value, LAST_32)
            if length is not None:
                self.lengths.setdefault(number, length)
        elif piece is not None:
            self.pieces.setdefault(number, {}).setdefault(int(piece), value)
        else:
            self.whole.setdefault(number, value)


def from_records(bodies: Sequence[bytes]) -> Arguments:
    """Returns the command line of the EXECVE records of an event. Raises RejectError."""
    return (_in_order(bodies[0]) if len(bodies) == 1 else None) or _from_parts(bodies)


def _in_order(body: bytes) -> Arguments | None:
    """Returns the command line of a record that has all arguments, each whole; None if it is another."""
    pairs = pairs_of(body)
    if not pairs or pairs[0] != (b"argc", b"%d" % (len(pairs) - 1)):
        return None
    out = []
    for number, (name, value) in enumerate(pairs[1:]):
        if name != b"a%d" % number:
            return None
        text = value[1:-1] if value[:1] == b'"' else text_of(value) or b""
        if b"\0" in text:
            raise RejectError(_NUL)
        out.append(text)
    out.append(b"")
    argv = b"\0".join(out)
    return Arguments(argv, len(out) - 1, len(argv))


def _from_parts(bodies: Iterable[bytes]) -> Arguments:
    parts = _Parts()
    for body in bodies:
        for name, value in pairs_of(body):
            parts.take(name, value)
    numbers = sorted({*parts.whole, *parts.pieces})
    argc = max(parts.argc or 0, numbers[-1] + 1 if numbers else 0)
    out = bytearray()
    holes: list[Hole] = []
    done = 0
    for number in numbers:
        if number > done:
            _hole(holes, len(out))
        done = number + 1
        if number in parts.whole:
            _add(out, text_of(parts.whole[number]) or b"")
        else:
            _add_pieces(out, holes, parts.pieces[number], parts.lengths.get(number))
        out.append(0)
    if done < argc:
        _hole(holes, len(out))
    if parts.argc is None:
        # The first record has it, so the beginning is missing.
        return Arguments(bytes(out), None, None, tuple(holes) or (Hole(0, None),), Truncated.LOST)
    if holes:
        return Arguments(bytes(out), argc, None, tuple(holes), Truncated.LOST)
    return Arguments(bytes(out), argc, len(out))


def _add_pieces(out: bytearray, holes: list[Hole], pieces: dict[int, bytes], length: int | None) -> None:
    """Adds an argument that is split; `length` is that of all of it, as it is written."""
    start, expected, written = len(out), 0, 0
    is_hex = False
    for number in sorted(pieces):
        if number != expected:
            _hole(holes, len(out))
        expected = number + 1
        value = pieces[number]
        is_hex = is_hex or value[:1] != b'"'
        _add(out, text_of(value) or b"")
        written = len(out) - start
    # Kernels count the characters of the text, or of its hexadecimal. They always say how many: without it,
    # nobody knows whether the last piece is there.
    if length is None or (written != length and not (is_hex and 2 * written == length)):
        _hole(holes, len(out))


def _add(out: bytearray, text: bytes) -> None:
    if b"\0" in text:
        raise RejectError(_NUL)
    out += text


def _hole(holes: list[Hole], at: int) -> None:
    if not holes or holes[-1].at != at:
        holes.append(Hole(at, None))


def from_title(value: bytes | None) -> Arguments:
    """Returns the command line of a PROCTITLE record, which has the beginning of it."""
    title = text_of(value)
    if not title:
        return UNKNOWN
    if len(title) >= _TITLE_BYTES:
        return Arguments(title, None, None, (Hole(len(title), None),), Truncated.LIMIT)
    argv = title.rstrip(b"\0") + b"\0"
    return Arguments(argv, argv.count(0), len(argv))
