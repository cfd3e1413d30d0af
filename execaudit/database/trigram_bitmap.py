"""Which blocks of command lines may contain a text: bitmaps of hashed trigrams. Pure.

Lines are taken by their ids, in chunks of 8192, each of 128 blocks of 64. For each bucket of the hash a
chunk has 128 bits: the blocks in which a trigram of that bucket is. A block that has not all buckets of a
text does not contain it; one that has may, so its lines are looked at. 16 bytes for each line.

Measured on command lines of 80 bytes: a text of 8 characters that is nowhere leads to 1 block in 500, one
of 4 to 1 in 8. SQLite's own index of trigrams (FTS5) takes 1.3 times the text and 45 us for each line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CHUNK_LINES = 8192
BLOCK_LINES = 64
CHUNK_BLOCKS = CHUNK_LINES // BLOCK_LINES
# Four rows fill a page of SQLite's.
_ROW_BUCKETS = 62
CHUNK_ROWS = 132
_BUCKETS = _ROW_BUCKETS * CHUNK_ROWS
_BITS_BYTES = CHUNK_BLOCKS // 8
# Their sum times 255 is less than 2**16, so no 16-bit lane carries into the next.
_FIRST, _SECOND, _THIRD = 1, 31, 225
# Arguments end with a space, as in the text that is searched.
_AS_SEARCHED = bytes.maketrans(b"\0", b" ")


class BucketBits(NamedTuple):
    """Where the bits of a bucket are, in every chunk."""

    row: int
    """Below CHUNK_ROWS."""
    offset: int
    """Bytes."""
    size: int


def _hashes(text: bytes) -> memoryview:
    """Returns a hash of each trigram: arithmetic on one number that has 16 bits for each byte of text."""
    wide = int.from_bytes(text.decode("latin-1").encode("utf-16-le"), "little")
    hashed = _FIRST * wide + _SECOND * (wide >> 16) + _THIRD * (wide >> 32)
    return memoryview(hashed.to_bytes(2 * len(text) + 2, "little")).cast("H")[: max(0, len(text) - 2)]


class Chunk:
    """The bitmaps of a chunk while they are made, half a megabyte."""

    def __init__(self) -> None:
        self._bits = [0] * _BUCKETS

    def add(self, block: int, lines: Iterable[bytes]) -> None:
        """Adds lines, each ended by a NUL, to one of the blocks."""
        bit = 1 << block
        bits = self._bits
        # Two hashes may fall into the same bucket: that does no harm.
        for hashed in set(_hashes(b"".join(lines).translate(_AS_SEARCHED))):
            bits[hashed % _BUCKETS] |= bit

    def add_anything(self, block: int) -> None:
        """Marks one of the blocks as one that may contain every text."""
        bit = 1 << block
        self._bits = [bits | bit for bits in self._bits]

    def rows(self) -> Iterator[bytes]:
        """Yields CHUNK_ROWS rows of bytes."""
        for start in range(0, _BUCKETS, _ROW_BUCKETS):
            yield b"".join(
                [bits.to_bytes(_BITS_BYTES, "little") for bits in self._bits[start : start + _ROW_BUCKETS]]
            )


def places(text: bytes) -> list[BucketBits]:
    """Returns where to look for a text; none for one of less than three bytes, which no bitmap knows.

    Adjacent trigrams correlate, so every third is tested first.
    """
    buckets = list(dict.fromkeys(hashed % _BUCKETS for hashed in _hashes(text)))
    return [
        BucketBits(bucket // _ROW_BUCKETS, bucket % _ROW_BUCKETS * _BITS_BYTES, _BITS_BYTES)
        for bucket in (*buckets[::3], *buckets[1::3], *buckets[2::3])
    ]


def blocks(bits: int) -> list[int]:
    """Returns the blocks whose bit is set, in order."""
    return [block for block in range(CHUNK_BLOCKS) if bits >> block & 1]
