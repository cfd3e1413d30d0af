"""Texts that are safe to show, and words that a shell reads back. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# Bytes that no shell treats specially in an argument: the same set as shlex.quote's.
_BARE = re.compile(rb"[\w@%+=:,./-]+").fullmatch
_ALL_BARE = re.compile(rb"[\w@%+=:,./\0-]+").fullmatch
# Python calls these printable, but a screen shows nothing or a blank, so two names that differ in them look
# the same: the rest of Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt), the fillers of
# two scripts and the empty Braille pattern.
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
        # Only the BMP is kept (10 MB): any user can make the recorder meet all of Unicode (200 MB).
        if code < _BMP:
            self[code] = shown
        return shown

    def escape(self, char: str) -> str:
        # \xNN always means one byte. So C1 controls are \u0080 to \u009f: invalid bytes with the
        # same numbers are \x80 to \x9f.
        code = ord(char)
        if code < _ASCII:
            return f"\\x{code:02x}"
        return f"\\u{code:04x}" if code < _BMP else f"\\U{code:08x}"


class _AnsiC(_Escapes):
    """The same, inside bash's $'..'."""

    def escape(self, char: str) -> str:
        # Bytes and never \uNNNN: bash does not decode that in the C locale.
        return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))


_SHORT = {ord("\n"): "\\n", ord("\t"): "\\t", ord("\r"): "\\r"}
_DISPLAY = _Escapes(_SHORT)
_ANSI_C = _AnsiC(_SHORT | {ord("\\"): "\\\\", ord("'"): "\\'"})


def is_visible(text: str) -> bool:
    """Says whether a screen shows each character (a space too) and none changes the text around it."""
    return text.isprintable() and (text.isascii() or _UNSEEN(text) is None)


def exact(raw: bytes) -> str:
    r"""Returns bytes as text, invalid UTF-8 as `\xNN` and everything else as it is."""
    return raw.decode("utf-8", "backslashreplace")


def name_text(name: str) -> str:
    r"""Returns a name that Python decoded: lone surrogates, its form of invalid UTF-8, become `\xNN`."""
    return exact(name.encode("utf-8", "surrogateescape"))


def printable(text: bytes | str) -> str:
    r"""Returns a text that, on a terminal, changes only the line on which it is written.

    What is not visible (controls, bidirectional marks, zero-width characters, variation selectors,
    fillers, line separators, private and unassigned characters) becomes `\n`, `\t`, `\r`, `\xNN`
    below U+0080, else `\uNNNN` or `\UNNNNNNNN`; invalid UTF-8 becomes `\xNN`. A backslash is not
    escaped, so the original cannot be computed from the result.
    """
    if isinstance(text, bytes):
        text = exact(text)
    return text if is_visible(text) else text.translate(_DISPLAY)


def shell_quote(arg: bytes) -> str:
    """Returns one word, safe to show, that bash reads back as exactly these bytes.

    It is bare if no character is special to a shell, else in single quotes if it is visible, else
    $'..'. `arg` has no NUL.
    """
    if _BARE(arg):
        return arg.decode("ascii")
    text = arg.decode("utf-8", "surrogateescape")
    if is_visible(text):
        return "'" + text.replace("'", "'\"'\"'") + "'"
    return "$'" + text.translate(_ANSI_C) + "'"


def shell_words(args: Sequence[bytes]) -> list[str]:
    """Returns what shell_quote makes of each argument; none of them has a NUL."""
    # Most command lines need no quotes, and one match over all arguments takes a fifth of the time.
    joined = b"\0".join(args)
    if _ALL_BARE(joined) and b"" not in args:
        return joined.decode("ascii").split("\0")
    return [shell_quote(arg) for arg in args]
