"""Measure, pad and cut texts by columns of a terminal, with the tables of the library wcwidth. Pure."""

from __future__ import annotations

from bisect import bisect_right


def columns(text: str) -> int:
    """Returns how many columns a text without control characters takes."""
    if text.isascii():
        return len(text)
    # Imported when it is needed, because its tables take longer to load than most answers take.
    from wcwidth import wcswidth  # noqa: PLC0415

    return wcswidth(text)


def padded(text: str, width: int) -> str:
    """Returns a text with spaces after it, so that it takes at least `width` columns."""
    return text + " " * (width - columns(text))


def cut(text: str, width: int, mark: str) -> str:
    """Returns a text cut to at most `width` columns, with `mark` at its end if something was cut off."""
    if text.isascii() and len(text) <= width:
        return text
    # Combining marks take no column. A text may have any number of them, so it is cut by characters first.
    shown = text[: 4 * width]
    if columns(shown) <= width and len(shown) == len(text):
        return text
    return shown[: _fitting(shown, width - columns(mark))] + mark


def _fitting(text: str, width: int) -> int:
    """Returns how many characters of a text fit, by binary search."""
    if text.isascii():
        return max(0, width)
    return max(0, bisect_right(range(len(text) + 1), width, key=lambda length: columns(text[:length])) - 1)
