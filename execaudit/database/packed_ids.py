"""Which command lines a chunk of execs has: their ids, as bytes. Pure."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

CHUNK_EXECS = 4096
"""Of neighbouring ids. Each of its lines takes 4 bytes, so more in one would take less."""
_SHORT, _LONG = "I", "Q"
_SHORT_END = 2**32


def pack(ids: Iterable[int]) -> bytes:
    """Returns ids that come in order, each once, as bytes."""
    packed = array(_LONG, ids)
    code = _LONG if packed and packed[-1] >= _SHORT_END else _SHORT
    return code.encode() + array(code, packed).tobytes()


def unpack(packed: bytes) -> Sequence[int]:
    """Returns what was packed, without making a number of each."""
    ids: Sequence[int] = memoryview(packed)[1:].cast(packed[:1].decode())  # type: ignore[call-overload]  # one of two
    return ids


def common(used: Sequence[int], wanted: Sequence[int], wanted_set: Collection[int]) -> list[int]:
    """Returns the ids that are in both, which are in order; `wanted_set` is `wanted` once more."""
    if len(wanted) * _SEARCH_COST > len(used):
        return [number for number in used if number in wanted_set]
    # Ids grow with time: no later line is used in this chunk.
    end = bisect_left(wanted, used[-1] + 1) if used else 0
    found = []
    for number in wanted[:end]:
        at = bisect_left(used, number)
        if used[at] == number:
            found.append(number)
    return found


# Looking one up in a thousand takes as long as looking at so many.
_SEARCH_COST = 16
