"""Values in command lines: where they end, and what is no secret. Pure."""

from __future__ import annotations

import re

from execaudit.redaction.marks import is_mark

# Where the value of NAME=value ends in one argument: before the next pair of a list of them.
_NEXT_PAIR = re.compile(rb"[;&,\s](?=[A-Za-z_][\w.\[\]-]*=)").search
_OF_URL = re.compile(rb"[&#\s\"']").search
_IN_URL = re.compile(rb"://|\?").search
# Of a shell that has not read them yet: what is stored is where the secret is, and not the secret.
_VARIABLE = re.compile(rb"""["']?\$(?:\w+|\{[^}]*\}|\([^)]*\)?)?["']?|["']?`[^`]*`?["']?""").fullmatch
_PORT = re.compile(rb"\d{1,5}[/?#]").match
# Of a switch, and not of a secret.
_SWITCHES = frozenset((b"true", b"false", b"on", b"off", b"yes", b"no", b"none", b"null", b"0", b"1"))
# Too short, and no letter and no digit: what an expression has there.
_SIGNS = re.compile(rb"[\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e]{1,5}").fullmatch
# A regular expression that finds a value.
_FINDS = re.compile(rb"\\[KSwd]|\(?\.[*+]|\(?\[\^").match
# They come before the secret in a header, which the shell may have split from it.
_SCHEMES = frozenset((b"basic", b"bearer", b"digest", b"negotiate", b"token"))
_NEVER = _SWITCHES | _SCHEMES


def inside(text: bytes, start: int, end: int) -> tuple[int, int]:
    r"""Returns where a word is without quotes around it: '..', ".." or \"..\"."""
    for quote in (b"'", b'"', b'\\"'):
        size = len(quote)
        if end - start >= 2 * size and text.startswith(quote, start) and text.endswith(quote, start, end):
            return start + size, end - size
    return start, end


def first_url(word: bytes) -> int:
    """Returns where a URL or its parameters begin in a word; beyond its end if there are none."""
    match = _IN_URL(word)
    return len(word) if match is None else match.start()


def ends_quoted(word: bytes) -> bool:
    """Says whether a word ends with the quote of a part: `--data="a=b"`."""
    quote = word[-1:]
    return quote in {b"'", b'"'} and word.count(quote) % 2 == 0


def end_of_value(word: bytes, start: int, size: int, *, in_url: bool) -> int:
    """Returns where the value of NAME=value ends that begins at `start`; `size`: where the last one does."""
    for quote in (b'\\"', b'"', b"'"):
        if word.startswith(quote, start):
            end = word.find(quote, start + len(quote))
            return len(word) if end < 0 else end + len(quote)
    match = (_OF_URL if in_url else _NEXT_PAIR)(word, start)
    return max(start, size if match is None else match.start())


def is_no_secret(value: bytes, *, in_script: bool) -> bool:
    """Says whether a value cannot be a secret, whatever comes before it: nothing, a mark, a variable."""
    return not value or is_mark(value) or (in_script and _VARIABLE(value) is not None)


def is_harmless(value: bytes) -> bool:
    """Says whether the value of NAME=value is none of a secret: a switch, or a part of an expression."""
    if value.lower() in _NEVER or value[:1] == b"=":
        return True
    return _SIGNS(value) is not None or _FINDS(value) is not None


def is_port(value: bytes) -> bool:
    """Says whether what stands between `:` and `@` in a URL begins with a port."""
    return _PORT(value) is not None
