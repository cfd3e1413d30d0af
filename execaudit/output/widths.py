"""How many columns of a terminal a text takes. Pure; the tables are those of the library wcwidth."""

from __future__ import annotations

from bisect import bisect_right


def columns(text: str) -> int:
    """Returns the columns of a text without control characters."""
    if text.isascii():
        return len(text)
    # Imported when it is needed: its tables take longer to load than most answers to be found.
    from wcwidth import wcswidth  # noqa: PLC0415

    return wcswidth(text)


def padded(text: str, width: int) -> str:
    """Returns a text with spaces after it, in so many columns at least."""
    return text + " " * (width - columns(text))


def cut(text: str, width: int, mark: str) -> str:
    """Returns a text in so many columns at most, with the mark at its end if something was cut off."""
    if text.isascii() and len(text) <= width:
        return text
    # Marks that take no column may follow each character: of a text of nothing else, some are shown.
    shown = text[: 4 * width]
    if columns(shown) <= width and len(shown) == len(text):
        return text
    return shown[: _fitting(shown, width - columns(mark))] + mark


def _fitting(text: str, width: int) -> int:
    """Returns how many characters of a text fit: a longer text takes no fewer columns."""
    if text.isascii():
        return max(0, width)
    return max(0, bisect_right(range(len(text) + 1), width, key=lambda length: columns(text[:length])) - 1)
