"""The arguments in captured bytes: apart, as the line that a shell would read, and cut. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.escaping import shell_words
from execaudit.event import MARK_BYTES, Hole, Redaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Missing(NamedTuple):
    """Bytes that are missing in a command line."""

    before: int
    """Index of the part that follows them; the number of parts if none does."""
    size: int | None
    """How many bytes; None when that cannot be known."""


class Arguments(NamedTuple):
    """The parts of a captured command line."""

    parts: tuple[bytes, ...]
    """The arguments. Beside missing bytes, a part may be only the beginning or the end of an argument."""
    missing: tuple[Missing, ...]
    """In order; no index comes twice."""


def split_argv(argv: bytes, holes: tuple[Hole, ...]) -> Arguments:
    """Returns the arguments of captured bytes. A NUL or a hole ends each argument.

    Bytes on the two sides of a hole are never joined. A NUL right after a hole ends an argument of which no
    byte was captured: it makes no part, although it may have been an empty argument.
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


def joined(argv: bytes, holes: Iterable[tuple[int, int | None]]) -> bytes:
    r"""Returns the text that is searched: a space between arguments, `\0` where bytes are missing."""
    if not holes:
        return argv.removesuffix(b"\0").replace(b"\0", b" ")
    parts, start = [], 0
    for at, _ in holes:  # seldom, but a failed exec can have thousands
        parts.append(argv[start:at].replace(b"\0", b" "))
        start = at
    parts.append(argv[start:].removesuffix(b"\0").replace(b"\0", b" "))
    return b"\0".join(parts)


def command_line(arguments: Arguments) -> str:
    """Returns the arguments as one line that bash reads back, safe to show.

    Missing bytes are marked: `[...123 bytes missing...]`. No argument can look like this, because shell_quote
    puts an argument with a bracket into quotes.
    """
    words = shell_words(arguments.parts)
    # Without quotes bash would set an environment variable instead of running a program of this name.
    if words and "=" in words[0] and words[0][0] not in "'$":
        words[0] = f"'{words[0]}'"
    # A failed exec can have thousands of places where bytes are missing: each word is moved once.
    marked: list[str] = []
    done = 0
    for before, size in arguments.missing:
        marked += words[done:before]
        marked.append(_marker(size))
        done = before
    return " ".join([*marked, *words[done:]])


def keep_ends(argv: bytes, holes: tuple[Hole, ...], most: int) -> tuple[bytes, tuple[Hole, ...]]:
    """Returns a command line cut to `most` bytes, half from its head and half from its tail.

    The same cut as the probe makes for successful execs. Holes inside what is cut become part
    of the new one.
    """
    if len(argv) <= most:
        return argv, holes
    head, tail = most - most // 2, most // 2
    gone_to = len(argv) - tail
    inside = [hole.missing for hole in holes if head <= hole.at <= gone_to]
    missing = None if None in inside else gone_to - head + sum(n or 0 for n in inside)
    return argv[:head] + argv[gone_to:], (
        *(hole for hole in holes if hole.at < head),
        Hole(head, missing),
        *(Hole(hole.at - gone_to + head, hole.missing) for hole in holes if hole.at > gone_to),
    )


def to_redactions(argv: bytes, holes: tuple[Hole, ...], marks: Iterable[int]) -> tuple[Redaction, ...]:
    """Returns where in the arguments marks are that begin there in the captured bytes, in order."""
    starts = _starts(argv, holes)
    found, index = [], 0
    for at in marks:
        while index + 1 < len(starts) and starts[index + 1] <= at:
            index += 1
        found.append(Redaction(index, at - starts[index]))
    return tuple(found)


def marks_at(argv: bytes, holes: tuple[Hole, ...], redacted: Iterable[Redaction]) -> list[int]:
    """Returns where each mark begins in the captured bytes."""
    starts = _starts(argv, holes)
    return [starts[argument] + offset for argument, offset in redacted]


def marks_kept(marks: Sequence[int], size: int, most: int) -> list[int]:
    """Returns where the marks begin that `keep_ends` leaves whole, of a command line of that size."""
    if size <= most:
        return [*marks]
    head, gone_to = most - most // 2, size - most // 2
    return [
        *(at for at in marks if at + MARK_BYTES <= head),
        *(at - gone_to + head for at in marks if at >= gone_to),
    ]


def _starts(argv: bytes, holes: tuple[Hole, ...]) -> list[int]:
    """Returns where each part of split_argv begins in the captured bytes."""
    starts: list[int] = []
    at = 0
    bounds: Sequence[int] = [*(hole.at for hole in holes), len(argv)]
    for number, end in enumerate(bounds):
        if number and argv[at:end].startswith(b"\0"):
            at += 1
        for part in _ended(argv[at:end]):
            starts.append(at)
            at += len(part) + 1
        at = end
    return starts


def _ended(segment: bytes) -> list[bytes]:
    """Returns the arguments in bytes without a hole. The last one need not have a NUL."""
    parts = segment.split(b"\0")
    if not parts[-1]:
        parts.pop()
    return parts


def _marker(size: int | None) -> str:
    if size is None:
        return "[...unknown number of bytes missing...]"
    return f"[...{size} {'byte' if size == 1 else 'bytes'} missing...]"
