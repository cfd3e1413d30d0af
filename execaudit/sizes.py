"""Read and write numbers of bytes as people do: `5GB`. Pure."""

from __future__ import annotations

import re

from execaudit.errors import FilterError
from execaudit.escaping import printable

_UNITS: dict[str, int] = {"": 1, "B": 1} | {
    f"{prefix}{suffix}": int(base**power)
    for power, prefix in enumerate("KMGT", 1)
    for base, suffixes in ((1000, ("B",)), (1024, ("", "iB")))
    for suffix in suffixes
}
# A longer number is no size, and int() raises an error of its own for more than 4300 digits.
_SIZE = r"([0-9]{1,18}) ?([A-Za-z]{0,3})"
_MOST_SHOWN = 40
_LARGEST = 2**63 - 1
_WHOLE = 100


def parse_size(text: str) -> int:
    """Returns the bytes that `text` names: `5GB` (10^9), `5GiB`, `5G` (2^30), `4096`. Raises FilterError."""
    found = re.fullmatch(_SIZE, text.strip())
    unit = next((value for name, value in _UNITS.items() if found and name.lower() == found[2].lower()), None)
    if found is None or unit is None:
        raise FilterError(
            f'the size "{printable(text[:_MOST_SHOWN])}" is not understood', fix="try 500MB or 5GB"
        )
    size = int(found[1]) * unit
    if size > _LARGEST:
        raise FilterError(
            f'the size "{printable(text[:_MOST_SHOWN])}" is larger than any disk', fix="try 5GB"
        )
    return size


def parse_percent(text: str) -> float:
    """Returns the part that `text` names, of one: `50%`. Raises FilterError."""
    found = re.fullmatch(r"([0-9]{1,3}) ?%", text.strip())
    if found is None or not 0 < int(found[1]) <= _WHOLE:
        raise FilterError(
            f'the share "{printable(text[:_MOST_SHOWN])}" is not understood', fix="try 50%, at most 100%"
        )
    return int(found[1]) / _WHOLE


def size_text(size: int) -> str:
    """Returns a number of bytes for people, in units of a thousand: `4.0 GB`, `12 bytes`."""
    for power, unit in ((4, "TB"), (3, "GB"), (2, "MB"), (1, "KB")):
        if size >= 1000**power:
            return f"{size / 1000**power:.1f} {unit}"
    return f"{size} bytes"
