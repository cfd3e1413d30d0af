"""A hash over the rows of a batch from which rows can go: a Merkle tree with eight children a node. Pure.

When a row goes, its hash stays, or that of the largest part of the tree that is gone as a whole. So what is
left is still proved by the hash that was made when it was recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.seal.codec import BYTES, Numbers, hasher, unsigned

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

CHILDREN = 8
_MOST_LEVELS = 8
_node = hasher(b"execaudit.node")
EMPTY = _node(b"")
"""The hash of no rows."""


class Place(NamedTuple):
    """A part of a tree: the rows from at * 8**level on, 8**level of them."""

    level: int
    at: int


class CountError(ValueError):
    """There are more or fewer rows than a tree has places for."""

    def __init__(self, missing: int) -> None:
        super().__init__(missing)
        self.missing = missing
        """How many rows are missing; below zero: there are too many."""


def root(rows: Sequence[bytes]) -> bytes:
    """Returns the hash of rows, given their hashes."""
    if not rows:
        return EMPTY
    while len(rows) > 1:
        rows = [_node(b"".join(rows[at : at + CHILDREN])) for at in range(0, len(rows), CHILDREN)]
    return rows[0]


def _height(count: int) -> int:
    level = 0
    while count > 1:
        count = -(-count // CHILDREN)
        level += 1
    return level


def top(count: int) -> Place:
    """Returns the whole tree of so many rows."""
    return Place(_height(count), 0)


def places_left(count: int, gone: Mapping[Place, bytes]) -> list[int]:
    """Returns the places of the rows that are left of so many."""
    left = bytearray(b"\1") * count
    for place in gone:
        size = CHILDREN**place.level
        begin = place.at * size
        end = min(begin + size, count)
        left[begin:end] = bytes(max(end - begin, 0))
    return [at for at, is_left in enumerate(left) if is_left]


def root_of_left(count: int, rows: Sequence[bytes], gone: Mapping[Place, bytes]) -> bytes:
    """Returns the hash of `count` rows of which some are gone. Raises CountError."""
    if not gone:
        if len(rows) != count:
            raise CountError(count - len(rows))
        return root(rows)
    left = places_left(count, gone)
    if len(left) != len(rows):
        raise CountError(len(left) - len(rows))
    known = {Place(0, at): row for at, row in zip(left, rows, strict=True)} | dict(gone)
    return _hash_at(top(count), count, known)


def root_of_parts(count: int, rows: Sequence[bytes], parts: Mapping[Place, bytes]) -> bytes:
    """Returns the same, where both come from anybody. Takes time and memory for what is given alone.

    Raises CountError, and ValueError unless the parts are in order and each has rows of its own.
    """
    left = _ranges_left(count, parts)
    missing = sum(map(len, left)) - len(rows)
    if missing:
        raise CountError(missing)
    if not count:
        return EMPTY
    places = (Place(0, at) for each in left for at in each)
    known = dict(zip(places, rows, strict=True)) | dict(parts)
    return _hash_at(top(count), count, known)


def _ranges_left(count: int, parts: Iterable[Place]) -> list[range]:
    """Returns the places that no part has. Raises ValueError."""
    left, at, height = [], 0, _height(count)
    for level, number in sorted(parts, key=lambda part: part.at * CHILDREN**part.level):
        begin = number * CHILDREN**level
        if begin < at or begin >= count or level > height:
            raise ValueError("parts of a tree overlap, or are none of it")
        if begin > at:
            left.append(range(at, begin))
        at = min(begin + CHILDREN**level, count)
    if at < count:
        left.append(range(at, count))
    return left


def _hash_at(place: Place, count: int, known: Mapping[Place, bytes]) -> bytes:
    found = known.get(place)
    if found is None and place.level == 0:
        # What is gone is not of this tree.
        raise CountError(1)
    if found is None:
        found = _node(b"".join(_hash_at(child, count, known) for child in _children(place, count)))
    return found


def _children(place: Place, count: int) -> Iterator[Place]:
    size = CHILDREN ** (place.level - 1)
    for at in range(place.at * CHILDREN, (place.at + 1) * CHILDREN):
        if at * size < count:
            yield Place(place.level - 1, at)


def without(
    count: int, rows: Mapping[int, bytes], gone: Mapping[Place, bytes], going: set[int]
) -> dict[Place, bytes]:
    """Returns what is gone after more rows went: as few and as large parts as possible.

    `rows` has the hashes of all rows that are there, by their places; `going` some of these places.
    """
    known = {Place(0, at): row for at, row in rows.items()} | dict(gone)
    stays = rows.keys() - going
    parts: dict[Place, bytes] = {}

    def walk(place: Place) -> None:
        size = CHILDREN**place.level
        first, end = place.at * size, min((place.at + 1) * size, count)
        if place in gone or not any(at in stays for at in range(first, end)):
            parts[place] = _hash_at(place, count, known)
        elif place.level:
            for child in _children(place, count):
                walk(child)

    if count:
        walk(top(count))
    return parts


def to_bytes(gone: Mapping[int, Mapping[Place, bytes]]) -> bytes:
    """Returns what is gone, by batch, as bytes."""
    return b"".join(
        unsigned(batch) + unsigned(place.level) + unsigned(place.at) + digest
        for batch, parts in sorted(gone.items())
        for place, digest in sorted(parts.items())
    )


def from_bytes(raw: bytes) -> dict[int, dict[Place, bytes]]:
    """Returns what to_bytes() made bytes of. Raises IndexError or ValueError for other bytes."""
    gone: dict[int, dict[Place, bytes]] = {}
    numbers = Numbers(raw)
    while numbers:
        batch, place = numbers.unsigned(), Place(numbers.unsigned(), numbers.unsigned())
        if place.level > _MOST_LEVELS:
            raise ValueError("no tree is so high")
        gone.setdefault(batch, {})[place] = numbers.take(BYTES)
    return gone
