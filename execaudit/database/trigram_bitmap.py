"""Find the blocks of command lines that may contain a text, by bitmaps of hashed trigrams. Pure.

A chunk is 8192 lines with adjacent ids, in 128 blocks of 64 lines. The hash of a trigram names a bucket. For
each bucket a chunk has 128 bits, one for each block: it is set if the block has a trigram of that bucket. If
a block lacks one of a text's buckets, it does not contain the text. If it has all of them it may contain the
text, so its lines are read. The bitmaps take 16 bytes for each line.

Measured on command lines of 80 bytes: for a text of 8 characters that no line has, 1 block in 500 is read;
for one of 4 characters, 1 in 8. SQLite's own index of trigrams (FTS5) takes 1.3 times the size of the text,
and 45 us for each line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit import native

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CHUNK_LINES = 8192
BLOCK_LINES = 64
CHUNK_BLOCKS = CHUNK_LINES // BLOCK_LINES
# Four rows fill a page of SQLite.
_ROW_BUCKETS = 62
CHUNK_ROWS = 132
_BUCKETS = _ROW_BUCKETS * CHUNK_ROWS
_BITS_BYTES = CHUNK_BLOCKS // 8
# Their sum times 255 is less than 2**16, so no 16-bit lane carries into the next.
_FIRST, _SECOND, _THIRD = 1, 31, 225
# A search sees a space at the end of each argument, in place of the NUL.
_AS_SEARCHED = bytes.maketrans(b"\0", b" ")


class BucketBits(NamedTuple):
    """The position of a bucket's bits, the same in every chunk."""

    row: int
    """Below CHUNK_ROWS."""
    offset: int
    """In bytes, within the row."""
    size: int
    """In bytes."""


def _hashes(text: bytes) -> memoryview:
    """Returns a hash of each trigram, computed with one large number that has 16 bits for each byte."""
    wide = int.from_bytes(text.decode("latin-1").encode("utf-16-le"), "little")
    hashed = _FIRST * wide + _SECOND * (wide >> 16) + _THIRD * (wide >> 32)
    return memoryview(hashed.to_bytes(2 * len(text) + 2, "little")).cast("H")[: max(0, len(text) - 2)]


class Chunk:
    """The bitmaps of a chunk that is being indexed: 131 KB."""

    def __init__(self) -> None:
        self._bits = bytearray(_BUCKETS * _BITS_BYTES)

    def add(self, block: int, lines: Iterable[bytes]) -> None:
        """Adds lines, each ended by a NUL, to one of the blocks."""
        text = b"".join(lines)
        if native.fast is not None:
            native.fast.set_buckets(self._bits, block, text)
            return
        bits, byte, bit = self._bits, block // 8, 1 << block % 8
        # Two hashes may name the same bucket. Then more blocks are read, but none is missed.
        for hashed in set(_hashes(text.translate(_AS_SEARCHED))):
            bits[hashed % _BUCKETS * _BITS_BYTES + byte] |= bit

    def add_anything(self, block: int) -> None:
        """Sets all bits of one of the blocks, so that it may contain every text."""
        bit = 1 << block % 8
        for at in range(block // 8, len(self._bits), _BITS_BYTES):
            self._bits[at] |= bit

    def rows(self) -> Iterator[bytes]:
        """Yields CHUNK_ROWS rows of bytes."""
        for start in range(0, len(self._bits), _ROW_BUCKETS * _BITS_BYTES):
            yield bytes(self._bits[start : start + _ROW_BUCKETS * _BITS_BYTES])


def places(text: bytes) -> list[BucketBits]:
    """Returns the positions of a text's buckets; none for a text of less than three bytes.

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
