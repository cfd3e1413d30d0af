"""Pieces of segments, as they leave the host: entries, with the hashes of their rows. Pure.

What is sealed of a row is in what a central database has of it, so whoever reads there can hash it anew. A
piece has what is not there: see docs/seals.md, "At the centre".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.database.sealed_streams import Stream
from execaudit.seal import chain
from execaudit.seal.chain import Cursors, Entry, cursors_of
from execaudit.seal.codec import BYTES, Numbers, either, unsigned

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from execaudit.seal.chain import Head

DAY_NS = 86_400 * 1_000_000_000
MOST_BYTES = 64 * 1024
"""Of entries that a piece has. Ours have less than 2000."""
SHIPPED = frozenset(set(Stream) - {Stream.STRAY_EXIT, Stream.ARGV_GRAMS})
"""The streams whose rows are shipped as well."""


class Piece(NamedTuple):
    """A row of central.tables.SEAL, without its stream."""

    id: int
    ts: int
    """Wall clock of the last entry."""
    number: int
    """The segment's, on the host."""
    place: int
    """How many entries of the segment come before."""
    chain: bytes
    chain_id: int
    """The number of the row of seal_chain."""
    epoch: int
    """Of the entry before the first."""
    at_us: int
    """Its wall clock."""
    last_epoch: int
    start: bytes
    """Up to which numbers was sealed before: see cursors()."""
    entries: bytes
    """Empty: what it sealed was pruned on the host as a whole before it was shipped."""
    roots: bytes
    """The hash of the rows of each stream of each entry, in their order."""
    runs: bytes
    """Of each gap the number of its run, which the central table does not have."""
    oldest: bytes
    """See old_days()."""
    gone: bytes
    """See gone()."""
    shifts: bytes
    """Which numbers the rows have at the centre: central.numbering.Shifts."""
    before: bytes
    """The hash of the entry before the first; of a segment's first entry, that of the segment before."""
    hash: bytes
    """Of the last entry."""
    code: bytes | None
    """None: the chain has no key, or the host's file has no code of this entry but of a later one."""

    @property
    def begins(self) -> Entry:
        """The entry before the first."""
        return Entry(self.epoch, self.at_us, (), ())

    @property
    def head(self) -> Head:
        """The head after the last entry."""
        return chain.head(self.chain, self.last_epoch, self.hash)


class Gone(NamedTuple):
    """What a pruning left of a segment's rows of a stream: as in the host's seal_gone."""

    stream: int
    act: int
    parts: bytes


def cursors_to_bytes(cursors: Cursors) -> bytes:
    """Returns the column `start`."""
    return b"".join(either(cursors[stream]) for stream in Stream)


def cursors(raw: bytes) -> Cursors:
    """Returns what cursors_to_bytes() made bytes of. Raises IndexError or ValueError for other bytes."""
    numbers = Numbers(raw)
    found = cursors_of([numbers.either() for _ in Stream])
    if numbers:
        raise ValueError("there are more numbers than streams")
    return found


def entries_of(piece: Piece) -> tuple[list[tuple[bytes, Entry]], Cursors]:
    """Returns the entries of a piece, each with its bytes, and what is sealed after them.

    Raises IndexError or ValueError for what makes no sense.
    """
    known, moved = cursors(piece.start), cursors(piece.start)
    found: list[tuple[bytes, Entry]] = []
    for raw, entry in chain.entries(piece.entries, piece.begins, moved):
        chain.check_order(entry, known)
        found.append((raw, entry))
    return found, moved


def roots_of(piece: Piece, entries: Sequence[tuple[bytes, Entry]]) -> list[list[bytes]]:
    """Returns for each entry the hash of the rows of each of its streams. Raises ValueError."""
    if len(piece.roots) != BYTES * sum(len(entry.added) for _, entry in entries):
        raise ValueError("there are not as many hashes as streams")
    found, at = [], 0
    for _, entry in entries:
        end = at + BYTES * len(entry.added)
        found.append([piece.roots[begin : begin + BYTES] for begin in range(at, end, BYTES)])
        at = end
    return found


def numbers_to_bytes(numbers: Iterable[int]) -> bytes:
    """Returns numbers from 0 on as bytes."""
    return b"".join(map(unsigned, numbers))


def numbers_of(raw: bytes) -> list[int]:
    """Returns what numbers_to_bytes() made bytes of. Raises IndexError or ValueError for other bytes."""
    numbers, found = Numbers(raw), []
    while numbers:
        found.append(numbers.unsigned())
    return found


def old_to_bytes(days: dict[tuple[int, int], int]) -> bytes:
    """Returns the column `oldest`."""
    return numbers_to_bytes(each for (at, stream), day in sorted(days.items()) for each in (at, stream, day))


def old_days(raw: bytes) -> dict[tuple[int, int], int]:
    """Returns by the place of an entry in the piece and by stream the day (since 1970) of the oldest row.

    Only where it is before the day before the entry's: such a row is dropped earlier at the centre. Raises
    IndexError or ValueError.
    """
    numbers = Numbers(raw)
    found: dict[tuple[int, int], int] = {}
    while numbers:
        where = numbers.unsigned(), numbers.unsigned()
        found[where] = numbers.unsigned()
    return found


def gone_to_bytes(rows: Iterable[Gone]) -> bytes:
    """Returns the column `gone`."""
    return b"".join(
        unsigned(row.stream) + unsigned(row.act) + unsigned(len(row.parts)) + row.parts for row in rows
    )


def gone(raw: bytes) -> list[Gone]:
    """Returns what gone_to_bytes() made bytes of. Raises IndexError or ValueError for other bytes."""
    numbers, found = Numbers(raw), []
    while numbers:
        stream, act = numbers.unsigned(), numbers.unsigned()
        found.append(Gone(stream, act, numbers.take(numbers.unsigned())))
    return found
