"""Seals: an entry for each transaction, in segments. Pure; docs/seals.md has the same as text.

An entry says which rows a transaction added to each stream of rows. Its hash covers the last entry's, its own
bytes, and the hashes of the rows. Its code (MAC), with the key of its epoch, covers that and the last code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.database.sealed_streams import Stream
from execaudit.errors import StoreError
from execaudit.seal.codec import BYTES, Numbers, either, hasher, unsigned, values
from execaudit.seal.keys import authenticated

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from execaudit.seal.codec import Value

NOTHING = bytes(BYTES)
"""The hash and the code before the first entry."""
_hash_entry, _hash_segment, _hash_stream = map(
    hasher, (b"execaudit.entry", b"execaudit.segm", b"execaudit.stream")
)
BEFORE_FIRST = {Stream.ARGV_GRAMS: -1}
"""Numbers begin with 1, but in this stream with 0."""
_MICROSECOND_NS = 1000
# An entry with more rows is none of ours. Who edits a seal could else have a verifier take all memory.
_MOST_ROWS = 1 << 22


class Added(NamedTuple):
    """The rows that a transaction added to a stream: `rows` of them, with numbers from `first` to `last`."""

    stream: Stream
    first: int
    last: int
    rows: int


class RunState(NamedTuple):
    """What of a recorder's row changes, as it was then."""

    run_id: int
    started_ns: int
    stopped_ns: int | None
    seen_ns: int | None


class Entry(NamedTuple):
    """What one transaction added."""

    epoch: int
    at_us: int
    """Wall clock of the seal, microseconds since 1970."""
    runs: tuple[RunState, ...]
    added: tuple[Added, ...]

    @property
    def at_ns(self) -> int:
        """Wall clock of the seal."""
        return self.at_us * _MICROSECOND_NS


BEFORE_ALL = Entry(-1, 0, (), ())
"""What the first entry of a history follows."""


class Cursors(dict[Stream, int]):
    """The last number that is sealed of each stream. What is before the first: see BEFORE_FIRST."""

    def __missing__(self, key: Stream) -> int:
        return BEFORE_FIRST.get(key, 0)


class ChainRow(NamedTuple):
    """A row of seal_chain."""

    number: int
    id: bytes
    is_keyed: int
    reason: str
    begun_ns: int


class Link(NamedTuple):
    """Where a chain stands after an entry."""

    hash: bytes
    code: bytes | None
    """None: this chain has no key."""


class Head(NamedTuple):
    """An entry, in the words that leave the host."""

    chain: str
    """The first 16 characters of the chain's id."""
    epoch: int
    hash: str

    def __str__(self) -> str:
        return f"{self.chain}-{self.epoch}-{self.hash}"

    @classmethod
    def from_text(cls, text: str) -> Head:
        """Returns what a text says. Raises StoreError."""
        chain, _, rest = text.strip().lower().partition("-")
        epoch, _, digest = rest.partition("-")
        is_right = len(chain) == _CHAIN_CHARACTERS and len(digest) == 2 * BYTES
        is_right &= epoch.isdecimal() and len(epoch) <= _EPOCH_DIGITS
        if not is_right or set(chain + digest) - set("0123456789abcdef"):
            raise StoreError(
                f"this is no head: {text.strip()!r}", fix="give what `seal status` printed, whole"
            )
        return cls(chain, int(epoch), digest)


_CHAIN_CHARACTERS, _EPOCH_DIGITS = 16, 13


def short_id(chain: bytes) -> str:
    """Returns the beginning of a chain's id, as heads have it."""
    return chain.hex()[:_CHAIN_CHARACTERS]


def head(chain: bytes, epoch: int, digest: bytes) -> Head:
    """Returns the head after an entry."""
    return Head(short_id(chain), epoch, digest.hex())


def to_bytes(entry: Entry, before: Entry, cursors: Cursors) -> bytes:
    """Returns an entry as bytes, given the one before it and what was sealed before."""
    parts = [
        unsigned(entry.epoch - before.epoch - 1),
        either(entry.at_us - before.at_us),
        unsigned(len(entry.runs)),
    ]
    at_ns = entry.at_ns
    for run in entry.runs:
        times = [run.stopped_ns, run.seen_ns]
        parts += [unsigned(run.run_id), either(run.started_ns - at_ns)]
        parts += [b"\0" if time_ns is None else b"\1" + either(time_ns - at_ns) for time_ns in times]
    parts.append(unsigned(len(entry.added)))
    for stream, first, last, rows in entry.added:
        span = last - first + 1
        parts += [unsigned(stream), either(first - cursors[stream] - 1), unsigned(span), either(span - rows)]
    return b"".join(parts)


def read_entry(numbers: Numbers, before: Entry, cursors: Cursors) -> Entry:
    """Returns the next entry. Raises IndexError or ValueError for bytes that are none."""
    epoch, at_us = before.epoch + 1 + numbers.unsigned(), before.at_us + numbers.either()
    at_ns = at_us * _MICROSECOND_NS
    runs = []
    for _ in range(numbers.unsigned()):
        run_id, started_ns = numbers.unsigned(), at_ns + numbers.either()
        stopped_ns, seen_ns = (at_ns + numbers.either() if numbers.unsigned() else None for _ in range(2))
        runs.append(RunState(run_id, started_ns, stopped_ns, seen_ns))
    added = []
    for _ in range(numbers.unsigned()):
        stream = Stream(numbers.unsigned())
        first = cursors[stream] + 1 + numbers.either()
        span = numbers.unsigned()
        added.append(Added(stream, first, first + span - 1, span - numbers.either()))
    return Entry(epoch, at_us, tuple(runs), tuple(added))


def check_order(entry: Entry, cursors: Cursors) -> None:
    """Moves the cursors to after an entry.

    Raises ValueError if its rows do not come after all that was sealed before, or are too many.
    """
    for stream, first, last, rows in entry.added:
        # Of an exec there may be several hits.
        most = _MOST_ROWS if stream is Stream.HIT else min(last - first + 1, _MOST_ROWS)
        if not (cursors[stream] < first <= last and 0 <= rows <= most):
            raise ValueError("an entry is out of order")
        cursors[stream] = last


def advance(cursors: Cursors, entry: Entry) -> None:
    """Moves the cursors to after an entry."""
    for each in entry.added:
        cursors[each.stream] = each.last


def entries(raw: bytes, before: Entry, cursors: Cursors) -> Iterator[tuple[bytes, Entry]]:
    """Yields the entries of a segment, each with its bytes; moves the cursors. Raises as read_entry()."""
    numbers = Numbers(raw)
    while numbers:
        begin = numbers.at
        before = read_entry(numbers, before, cursors)
        advance(cursors, before)
        yield raw[begin : numbers.at], before


def segment_hash(before: bytes, number: int, chain: ChainRow, begins: Entry, cursors: Cursors) -> bytes:
    """Returns the hash of a segment's beginning: what its first entry follows."""
    row: list[Value] = [number, *chain, begins.epoch, begins.at_us, *(cursors[stream] for stream in Stream)]
    return _hash_segment(before + values(row))


def entry_hash(before: bytes, raw: bytes, roots: Iterable[bytes]) -> bytes:
    """Returns the hash of an entry: of the one before, its bytes, and the rows of each stream."""
    return _hash_entry(before + values([raw]) + b"".join(roots))


def entry_code(key: bytes, before: bytes, digest: bytes) -> bytes:
    """Returns the code of an entry, given the one before and its hash."""
    return authenticated(key, before + digest)


def stream_hash(before: bytes, root: bytes) -> bytes:
    """Returns the hash of a segment's rows of one stream, which tells in which stream something changed."""
    return _hash_stream(before + root)


def streams_to_bytes(hashes: dict[Stream, bytes]) -> bytes:
    """Returns the hashes of a segment's streams as bytes."""
    return b"".join(unsigned(stream) + digest for stream, digest in sorted(hashes.items()))


def streams_from_bytes(raw: bytes) -> dict[Stream, bytes]:
    """Returns what streams_to_bytes() made bytes of. Raises IndexError or ValueError for other bytes."""
    numbers, found = Numbers(raw), {}
    while numbers:
        stream = Stream(numbers.unsigned())
        found[stream] = numbers.take(BYTES)
    return found


def cursors_of(row: Sequence[int]) -> Cursors:
    """Returns the cursors in the columns of a row, in the order of Stream."""
    return Cursors(zip(Stream, row, strict=True))
