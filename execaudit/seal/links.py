"""Compute the chain through a segment, from what was sealed in it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.seal import chain
from execaudit.seal.chain import NOTHING, Head, Link

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from execaudit.database.sealed_streams import Stream
    from execaudit.seal.chain import ChainRow, Entry
    from execaudit.seal.keys import VerificationKey
    from execaudit.seal.segments import Segment

# A power cut takes what is not on the disk. SQLite syncs its log at each checkpoint, which is after 1000
# pages, and a seal writes one or more.
MOST_LOST = 1000
Roots = dict["Stream", dict[int, bytes]]
"""The hash of the rows of each entry, by stream and by the entry's place in the segment."""


class Computed(NamedTuple):
    """Where the chain stands after a segment."""

    link: Link
    """Without the key, or where the chain has none, the code is None."""
    heads: dict[str, bool]
    """The heads whose entry is in the segment: whether they agree."""


def link_before(before: Link, number: int | None, segment: Segment) -> Link:
    """Returns what a segment's first entry follows, given the segment before and the number of its chain.

    A chain's codes begin anew.
    """
    return Link(before.hash, before.code if number == segment.chain and before.code is not None else NOTHING)


def missing_epochs(
    begins: Entry, entries: Iterable[tuple[bytes, Entry]]
) -> Iterator[tuple[int, Entry, Entry]]:
    """Yields where epochs are missing: how many, and the entries before and after. `begins` comes first."""
    before = begins
    for _, entry in entries:
        if lost := entry.epoch - before.epoch - 1:
            yield lost, before, entry
        before = entry


def follow(  # noqa: PLR0913, PLR0917  # what a segment is made of
    segment: Segment,
    row: ChainRow,
    before: Link,
    entries: Sequence[tuple[bytes, Entry]],
    roots: Roots,
    key: VerificationKey | None,
    heads: Iterable[Head],
) -> Computed:
    """Returns where the chain stands after a segment's entries, each given with its bytes.

    `before` is what link_before() returns, and `row` the segment's chain.
    """
    digest = chain.segment_hash(before.hash, segment.number, row, segment.begins, segment.start)
    steps = (
        (raw, entry.epoch, [roots[each.stream][at] for each in entry.added])
        for at, (raw, entry) in enumerate(entries)
    )
    return through(before._replace(hash=digest), steps, key, _by_epoch(heads, row))


def through(
    before: Link,
    steps: Iterable[tuple[bytes, int, Sequence[bytes]]],
    key: VerificationKey | None,
    heads: Mapping[int, Sequence[Head]],
) -> Computed:
    """Returns where the chain stands after entries, each given with its bytes, its epoch and its roots.

    `before` is what the first one follows, after the hash of the segment's beginning. `heads` are the
    chain's, by their epochs.
    """
    found: dict[str, bool] = {}
    digest, code = before.hash, before.code if before.code is not None else NOTHING
    for raw, epoch, roots in steps:
        digest = chain.entry_hash(digest, raw, roots)
        if key is not None:
            code = chain.entry_code(key.key_of(epoch), code, digest)
        for head in heads.get(epoch, ()):
            found[str(head)] = head.hash == digest.hex()
    return Computed(Link(digest, None if key is None else code), found)


def _by_epoch(heads: Iterable[Head], row: ChainRow) -> Mapping[int, list[Head]]:
    found: dict[int, list[Head]] = {}
    for head in heads:
        if head.chain == chain.short_id(row.id):
            found.setdefault(head.epoch, []).append(head)
    return found
