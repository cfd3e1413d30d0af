"""Texts that are safe to show, and words that a shell reads back. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# What no shell treats specially in an argument: the same set as shlex.quote's.
_BARE = re.compile(rb"[\w@%+=:,./-]+").fullmatch
_ALL_BARE = re.compile(rb"[\w@%+=:,./\0-]+").fullmatch
# Printable to Python, and yet nothing or a blank on a screen: the rest of Unicode's
# Default_Ignorable_Code_Point (DerivedCoreProperties.txt), the fillers of two scripts and the empty
# Braille pattern. Two names that differ in them look the same.
_UNSEEN = re.compile(
    "[\\u034f\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u2800\\u3164\\ufe00-\\ufe0f\\uffa0"
    "\\U00016fe4\\U0001d159\\U000e0000-\\U000e0fff]"
).search
_ASCII, _BMP = 0x80, 0x10000  # where code points need a longer escape


class _Escapes(dict[int, str]):
    """A table for str.translate that escapes what is not printable."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        shown = char if is_visible(char) else self.escape(char)
        # Bounded, because the recorder is fed by strangers: 10 MB at most, not 200.
        if code < _BMP:
            self[code] = shown
        return shown

    def escape(self, char: str) -> str:
        # \xNN is a byte in every reading; C1 controls are \u0080 to \u009f, so that they
        # differ from the invalid bytes of the same numbers.
        code = ord(char)
        if code < _ASCII:
            return f"\\x{code:02x}"
        return f"\\u{code:04x}" if code < _BMP else f"\\U{code:08x}"


class _AnsiC(_Escapes):
    """The same, inside bash's $'..'."""

    def escape(self, char: str) -> str:
        # Bytes and never \uNNNN: bash leaves that alone in the C locale.
        return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))


_SHORT = {ord("\n"): "\\n", ord("\t"): "\\t", ord("\r"): "\\r"}
_DISPLAY = _Escapes(_SHORT)
_ANSI_C = _AnsiC(_SHORT | {ord("\\"): "\\\\", ord("'"): "\\'"})


def is_visible(text: str) -> bool:
    """Says whether each character is seen on a screen, a space included, and changes nothing around it."""
    return text.isprintable() and (text.isascii() or _UNSEEN(text) is None)


def exact(raw: bytes) -> str:
    r"""Returns bytes as text, invalid UTF-8 as `\xNN` and everything else as it is."""
    return raw.decode("utf-8", "backslashreplace")


def name_text(name: str) -> str:
    r"""Returns a name that the host gave, invalid UTF-8 as `\xNN`: Python has it as lone surrogates."""
    return exact(name.encode("utf-8", "surrogateescape"))


def printable(text: bytes | str) -> str:
    r"""Returns a text that changes nothing on a terminal but the line it is written on.

    What is not visible (controls, bidirectional marks, zero-width characters, variation selectors,
    fillers, line separators, private and unassigned characters) becomes `\n`, `\t`, `\r`, `\xNN`
    below U+0080, else `\uNNNN` or `\UNNNNNNNN`; invalid UTF-8 becomes `\xNN`. For eyes only: a
    backslash is not escaped.
    """
    if isinstance(text, bytes):
        text = exact(text)
    return text if is_visible(text) else text.translate(_DISPLAY)


def shell_quote(arg: bytes) -> str:
    """Returns one word, safe to show, that bash reads back as exactly these bytes.

    Bare if a shell leaves it alone, else in single quotes if it is printable, else as $'..'.
    `arg` has no NUL.
    """
    if _BARE(arg):
        return arg.decode("ascii")
    text = arg.decode("utf-8", "surrogateescape")
    if is_visible(text):
        return "'" + text.replace("'", "'\"'\"'") + "'"
    return "$'" + text.translate(_ANSI_C) + "'"


def shell_words(args: Sequence[bytes]) -> list[str]:
    """Returns the words of shell_quote for these arguments; none of them has a NUL."""
    # Most command lines need no quotes, and one look at all arguments costs a fifth.
    joined = b"\0".join(args)
    if _ALL_BARE(joined) and b"" not in args:
        return joined.decode("ascii").split("\0")
    return [shell_quote(arg) for arg in args]
