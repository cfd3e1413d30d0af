"""What a transaction of a pruning says it left: for each segment and stream a hash of that. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.seal.codec import BYTES, Numbers, hasher, unsigned, values

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from execaudit.seal.codec import Value

_hash_parts, _hash_table = hasher(b"execaudit.gone"), hasher(b"execaudit.pruned")


def to_bytes(left: Mapping[tuple[int, int], bytes], stripped: Iterable[int]) -> bytes:
    """Returns what is in seal_gone, by segment and stream, and all segments that have nothing left."""
    made = [unsigned(len(left))]
    made += [unsigned(a) + unsigned(b) + _hash_parts(parts) for (a, b), parts in sorted(left.items())]
    ranges = list(_ranges(stripped))
    made.append(unsigned(len(ranges)))
    made += [unsigned(first) + unsigned(last - first) for first, last in ranges]
    return b"".join(made)


def _ranges(numbers: Iterable[int]) -> Iterable[tuple[int, int]]:
    first = last = None
    for number in sorted(numbers):
        if first is None or last is None or number != last + 1:
            if first is not None and last is not None:
                yield first, last
            first = number
        last = number
    if first is not None and last is not None:
        yield first, last


def read(raw: bytes) -> tuple[dict[tuple[int, int], bytes], list[tuple[int, int]]]:
    """Returns hashes by segment and stream, and ranges of segments. Raises IndexError, ValueError."""
    numbers = Numbers(raw)
    left = {}
    for _ in range(numbers.unsigned()):
        where = numbers.unsigned(), numbers.unsigned()
        left[where] = numbers.take(BYTES)
    ranges = []
    for _ in range(numbers.unsigned()):
        first = numbers.unsigned()
        ranges.append((first, first + numbers.unsigned()))
    return left, ranges


def has(raw: bytes, seal_id: int, stream: int, parts: bytes) -> bool:
    """Says whether an act left these parts in a segment and stream."""
    try:
        left, _ = read(raw)
    except (IndexError, ValueError):
        return False
    return left.get((seal_id, stream)) == _hash_parts(parts)


def hash_of_pruned(rows: Iterable[Sequence[Value]]) -> bytes:
    """Returns the hash of the rows of the table `pruned`, in order."""
    return _hash_table(b"".join(values(row) for row in rows))
