"""Test texts: patterns with wildcards, regular expressions and networks. Pure, but for a limit in time.

A pattern's case is that of ASCII, here as in SQLite: `É` is not `é`. No pattern takes more than linear time.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, Any

from execaudit.query.expression import Finds, InNetwork, Known, Like, Part, Wild

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from execaudit.query.expression import Test

    Passing = Callable[[bytes], bool]

# Longer ones are refused by SQLite's LIKE, or take long.
_MOST_LIKE_BYTES = 1000
# The longest text of an address: IPv6 with a zone, which is the name of an interface.
_LONGEST_ADDRESS = 64


def passing(test: Test) -> Passing:
    """Returns the function that says whether a text passes a test.

    Raises FilterError for a regular expression that is none. Of such, the function raises TimeoutError.
    """
    if isinstance(test, Like):
        return _like(test)
    if isinstance(test, Finds):
        return _finding(test)
    if isinstance(test, InNetwork):
        return _in_network(test.network)
    if not isinstance(test, Known):
        raise TypeError(test)
    return lambda _text: True


def agreeing(part: Part | None) -> Callable[[bytes, bytes], bool]:
    """Returns the function that says whether a part of a text is another text."""
    return _AGREEING[part]


_AGREEING: dict[Part | None, Callable[[bytes, bytes], bool]] = {
    None: lambda text, other: text.lower() == other.lower(),
    Part.ANY: lambda text, other: other.lower() in text.lower(),
    Part.START: lambda text, other: text.lower().startswith(other.lower()),
    Part.END: lambda text, other: text.lower().endswith(other.lower()),
}


def literals(test: Like) -> list[bytes]:
    """Returns what must be in each text that passes, in lower case."""
    return [piece.lower() for piece in test.pattern if isinstance(piece, bytes) and piece]


def sqlite_pattern(test: Test) -> str | None:
    """Returns the pattern for SQLite's LIKE that means a test; None if there is none.

    LIKE knows the case of ASCII as well, and single characters where all is UTF-8.
    """
    if not isinstance(test, Like) or test.cased or Wild.ONE in test.pattern:
        return None
    parts = []
    for piece in test.pattern:
        if not isinstance(piece, bytes):
            parts.append("%")
        elif not piece.isascii() or b"\0" in piece or len(piece) > _MOST_LIKE_BYTES:
            return None
        else:
            parts.append(re.sub(r"([%_\\])", r"\\\1", piece.decode("ascii")))
    return "".join(parts)


def _finding(test: Finds) -> Passing:
    from execaudit.query import timelimit  # noqa: PLC0415  # loads the library regex

    search = timelimit.searcher(
        test.regex,
        option="re",
        dot_all=test.dot_all,
        ignore_case=test.ignore_case,
        many_lines=test.many_lines,
    )
    return lambda text: search(text.decode("utf-8", "surrogateescape"))


def _in_network(network: str) -> Passing:
    import ipaddress  # noqa: PLC0415  # most statements have no network

    its = ipaddress.ip_network(network, strict=False)

    def is_in(text: bytes) -> bool:
        if len(text) > _LONGEST_ADDRESS:
            return False
        try:
            return ipaddress.ip_address(text.decode("ascii")) in its
        except ValueError:
            return False

    return is_in


def _like(test: Like) -> Passing:
    fold = _same if test.cased else bytes.lower
    pieces = _merged(fold(piece) if isinstance(piece, bytes) else piece for piece in test.pattern)
    if Wild.ONE in pieces:
        spelled = _Spelled(pieces)
        return lambda text: spelled.matches(fold(text).decode("utf-8", "surrogateescape"))
    simple = _simple(pieces)
    if simple is not None:
        return simple if test.cased else lambda text: simple(text.lower())
    # Between stars: each piece is looked for after the one before, at the first place where it is.
    first = pieces[0] if isinstance(pieces[0], bytes) else b""
    last = pieces[-1] if isinstance(pieces[-1], bytes) else b""
    inner = [piece for piece in pieces[bool(first) : len(pieces) - bool(last)] if isinstance(piece, bytes)]

    def matches(text: bytes) -> bool:
        text = fold(text)
        at, end = len(first), len(text) - len(last)
        if at > end or not text.startswith(first) or not text.endswith(last):
            return False
        for piece in inner:
            found = text.find(piece, at, end)
            if found < 0:
                return False
            at = found + len(piece)
        return True

    return matches


def _same(text: bytes) -> bytes:
    return text


def _merged(pieces: Iterable[bytes | Wild]) -> list[bytes | Wild]:
    """Returns the same pattern without empty texts, adjacent texts and adjacent stars."""
    merged: list[bytes | Wild] = []
    for kind, same in groupby((piece for piece in pieces if piece != b""), _kind):
        if kind is bytes:
            merged.append(b"".join(piece for piece in same if isinstance(piece, bytes)))
        elif kind is Wild.MANY:
            merged.append(Wild.MANY)
        else:
            merged += same
    return merged


def _kind(piece: bytes | Wild) -> Any:  # noqa: ANN401  # what groupby compares
    return piece if isinstance(piece, Wild) else bytes


def _simple(pieces: Sequence[bytes | Wild]) -> Passing | None:
    """Returns the function for the common patterns; None for others. The text is folded already."""
    texts = [piece for piece in pieces if isinstance(piece, bytes)]
    if len(texts) > 1:
        return None
    if not texts:
        return (lambda _text: True) if pieces else (lambda text: not text)
    (wanted,) = texts
    match pieces:
        case [Wild.MANY, _, Wild.MANY]:
            return lambda text: wanted in text
        case [_, Wild.MANY]:
            return lambda text: text.startswith(wanted)
        case [Wild.MANY, _]:
            return lambda text: text.endswith(wanted)
    return lambda text: text == wanted


class _Spelled:
    """A pattern with wildcards for single characters, for folded texts."""

    def __init__(self, pieces: Sequence[bytes | Wild]) -> None:
        self._is_open = pieces[0] is Wild.MANY, pieces[-1] is Wild.MANY
        between = [
            list(same) for is_star, same in groupby(pieces, lambda piece: piece is Wild.MANY) if not is_star
        ]
        self._sizes = [sum(_characters(piece) for piece in segment) for segment in between]
        self._segments = [re.compile("".join(map(_regex, segment)), re.DOTALL) for segment in between]

    def matches(self, text: str) -> bool:
        """Says whether the pattern matches the text. Each segment is looked for where the last one ended."""
        segments, sizes = [*self._segments], [*self._sizes]
        at, end = 0, len(text)
        if not self._is_open[1]:
            end -= sizes.pop()
            last = segments.pop()
            if end < 0 or not last.match(text, end) or (not segments and not self._is_open[0] and end):
                return False
        if not self._is_open[0] and segments:
            at = sizes.pop(0)
            if at > end or not segments.pop(0).match(text):
                return False
        for segment in segments:
            found = segment.search(text, at, end)
            if found is None:
                return False
            at = found.end()
        return at <= end


def _characters(piece: bytes | Wild) -> int:
    return 1 if isinstance(piece, Wild) else len(piece.decode("utf-8", "surrogateescape"))


def _regex(piece: bytes | Wild) -> str:
    return "." if isinstance(piece, Wild) else re.escape(piece.decode("utf-8", "surrogateescape"))
