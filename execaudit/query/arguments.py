"""The arguments in captured bytes, and the line that a shell would read. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.escaping import shell_words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from execaudit.event import Hole


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
