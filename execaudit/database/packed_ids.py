"""Pack the ids of the command lines that a chunk of execs uses into bytes. Pure."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

CHUNK_EXECS = 4096
"""The execs in a chunk, which have adjacent ids. A line takes 4 bytes, however many of these execs use it."""
_SHORT, _LONG = "I", "Q"
_SHORT_END = 2**32


def pack(ids: Iterable[int]) -> bytes:
    """Returns ids, which are ascending and different, as bytes."""
    packed = array(_LONG, ids)
    code = _LONG if packed and packed[-1] >= _SHORT_END else _SHORT
    return code.encode() + array(code, packed).tobytes()


def unpack(packed: bytes) -> Sequence[int]:
    """Returns the ids as a sequence that makes a number only of those that are read."""
    ids: Sequence[int] = memoryview(packed)[1:].cast(packed[:1].decode())  # type: ignore[call-overload]  # one of two
    return ids


def common(used: Sequence[int], wanted: Sequence[int], wanted_set: Collection[int]) -> list[int]:
    """Returns the ids that are in both ascending sequences; `wanted_set` has the same ids as `wanted`."""
    if len(wanted) * _SEARCH_COST > len(used):
        return [number for number in used if number in wanted_set]
    # Ids grow with time, so this chunk uses no later line.
    end = bisect_left(wanted, used[-1] + 1) if used else 0
    found = []
    for number in wanted[:end]:
        at = bisect_left(used, number)
        if used[at] == number:
            found.append(number)
    return found


# One binary search in a thousand ids takes as long as a look at so many ids.
_SEARCH_COST = 16
