"""Follow the chain through the pieces of a host's seals that have arrived. Pure.

They arrive in order. A history that was put back seals something else from some segment on, and that comes as
more pieces, which follow an earlier one: so what was sealed before stays proved, and what took its place too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.database.sealed_streams import Stream
from execaudit.seal import chain, links
from execaudit.seal.chain import BEFORE_ALL, NOTHING, ChainRow, Cursors, Entry, Head, Link
from execaudit.seal.pieces import cursors
from execaudit.seal.segment_check import Problem
from execaudit.seal.verify import Stripped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from execaudit.seal.keys import VerificationKey
    from execaudit.seal.pieces import Piece


class Stand(NamedTuple):
    """Where the chain stands after a piece."""

    number: int
    """Its segment's."""
    place: int
    """How many entries of the segment come before what follows."""
    chain: tuple[int, bytes] | None
    """Number and id; None: nothing was sealed before."""
    last: Entry | None
    """None: it is not known, because it was pruned or makes no sense."""
    cursors: Cursors | None
    hash: bytes
    code: bytes | None
    knows_code: bool
    """False: what follows cannot be checked with the key, until a piece has a code."""
    lacks_code: bool
    """The chain has a key, and the piece no code: it must not be the last of its segment."""
    head: Head | None


_BEGIN = Stand(
    0, 0, None, BEFORE_ALL, Cursors(), NOTHING, NOTHING, knows_code=True, lacks_code=False, head=None
)


def _unknown(piece: Piece) -> Stand:
    """Returns what a piece says that it follows."""
    return Stand(
        piece.number, piece.place, None, None, None, piece.before, None, knows_code=False, lacks_code=False,
        head=None,
    )  # fmt: skip


def _again(piece: Piece) -> Stand:
    """Returns where the chain stood after an earlier piece, which was looked at then."""
    return Stand(
        piece.number, 0, (piece.chain_id, piece.chain), None, None, piece.hash, piece.code,
        knows_code=piece.code is not None, lacks_code=False, head=None,
    )  # fmt: skip


def _after(
    piece: Piece,
    name: tuple[int, bytes],
    entries: Sequence[tuple[bytes, Entry]] | None,
    ends: Cursors | None,
) -> Stand:
    """Returns where the chain stands after a piece, as that says."""
    return Stand(
        piece.number, piece.place + len(entries or ()), name, entries[-1][1] if entries else None, ends, piece.hash,
        piece.code, knows_code=piece.code is not None, lacks_code=False, head=piece.head if entries else None,
    )  # fmt: skip


class Asked(NamedTuple):
    """What is asked of a chain."""

    chains: Mapping[tuple[int, bytes], ChainRow]
    keys: Mapping[bytes, VerificationKey]
    """By the id of their chain."""
    heads: Sequence[Head]
    find: Callable[[bytes, int], Piece | None]
    """Returns the last piece before a number that ends with a hash."""
    is_dropped: Callable[[int], bool]
    """Says whether what was sealed until a time was deleted at the centre by its owner."""
    is_stripped: Callable[[int], bool]
    """Says whether a pruning on the host says that it left nothing of a segment."""
    boot_before: Callable[[int], bool]
    """Says whether a run is of another boot than the one before it, given its number on the host."""


class ChainWalk:
    """Follows one chain of pieces."""

    def __init__(self, asked: Asked, *, is_whole: bool) -> None:
        """`is_whole`: it begins with the first piece that there must be."""
        self._asked, self._is_whole = asked, is_whole
        self._stand: Stand | None = None
        self._heads: dict[str, dict[int, list[Head]]] = {}
        for head in asked.heads:
            self._look_for(head)
        self._superseded: dict[Head, bool | None] = {}
        self.agree: dict[Head, bool] = {}
        """The heads whose epoch is here: whether one of its entries has that hash."""
        self.problems: list[Problem] = []
        self.is_authentic: bool | None = None
        self.unkeyed = self.unchecked = 0
        self.lost: list[tuple[int, int, int]] = []
        self._holes: list[tuple[bytes, int, int]] = []
        self.stripped: list[Stripped] = []
        self._bare: tuple[int, int] | None = None
        self.seen: dict[tuple[int, bytes], None] = {}
        """The chains, in order."""
        self.last: Piece | None = None

    def _look_for(self, head: Head) -> None:
        self._heads.setdefault(head.chain, {}).setdefault(head.epoch, []).append(head)

    def follows(self, piece: Piece) -> bool:
        """Says whether a piece comes after the last one: else its rows were given their numbers anew."""
        return self._stand is not None and piece.before == self._stand.hash

    def take(
        self,
        piece: Piece,
        entries: Sequence[tuple[bytes, Entry]],
        ends: Cursors,
        roots: Sequence[list[bytes]],
    ) -> None:
        """Takes the next piece, with its entries, and the hashes of their rows."""
        stand = self._before(piece)
        self.last = piece
        name = piece.chain_id, piece.chain
        row = self._asked.chains.get(name)
        if name not in self.seen:
            self.seen[name] = None
        if self._bare is not None and piece.entries:
            self.stripped.append(Stripped(piece.epoch - self._bare[0], self._bare[1], piece.at_us * 1000))
            self._bare = None
        if not piece.entries:
            self._none_left(piece, name)
            return
        if not entries:
            self._add("changed", piece)
            self._stand = _after(piece, name, None, None)
            return
        self._check_begin(piece, stand, name, entries[0][1])
        if row is None:
            self.problems.append(Problem("missing", "seal_chain", name[0], name[0], None, piece.ts))
            self._stand = _after(piece, name, entries, ends)
            return
        self._check_epochs(piece, entries, is_first=stand.chain != name)
        self._stand = self._linked(piece, stand, row, entries, ends, roots)

    def _before(self, piece: Piece) -> Stand:
        """Returns what a piece follows."""
        stand = self._stand
        if stand is None:
            if piece.before == NOTHING and not piece.place:
                return _BEGIN
            if self._is_whole and not self._asked.is_dropped(piece.at_us * 1000):
                self._add("missing", piece, first=1)
            return _unknown(piece)
        if piece.before == stand.hash:
            if stand.lacks_code and piece.number != stand.number:
                self._add("changed", piece, first=stand.number)
            return stand
        other = self._asked.find(piece.before, piece.id)
        if other is not None or (piece.before == NOTHING and not piece.place):
            if stand.head is not None:
                self._superseded[stand.head] = None
                self._look_for(stand.head)
            return _BEGIN if other is None else _again(other)
        if not self._asked.is_dropped(piece.at_us * 1000):
            self._add("missing", piece, first=stand.number)
        return _unknown(piece)

    def _none_left(self, piece: Piece, name: tuple[int, bytes]) -> None:
        if not self._asked.is_stripped(piece.number):
            self._add("cut", piece)
        self._bare = self._bare or (piece.epoch, piece.at_us * 1000)
        self._stand = _after(piece, name, None, None)

    def _check_begin(self, piece: Piece, stand: Stand, name: tuple[int, bytes], first: Entry) -> None:
        """Looks whether a piece begins where the one before it ends."""
        same = stand.chain == name
        number, place = (stand.number, stand.place) if piece.place else (stand.number + 1, 0)
        is_next = stand.head is None or (piece.number, piece.place) == (number, place)
        if stand.last is not None and stand.chain is not None:
            is_next &= stand.last.at_us == piece.at_us and (not same or stand.last.epoch == piece.epoch)
        if stand.cursors is not None:
            start = cursors(piece.start)
            is_next &= all(start[stream] == stand.cursors[stream] for stream in Stream)
        if not is_next:
            self._add("reordered", piece)
        row = self._asked.chains.get(name)
        is_known = stand.chain is not None or stand == _BEGIN
        if is_known and not same and row is not None and row.is_keyed and (piece.epoch >= 0 or first.epoch):
            self._add("cut", piece)

    def _check_epochs(self, piece: Piece, entries: Sequence[tuple[bytes, Entry]], *, is_first: bool) -> None:
        """Looks for epochs that are not here: after a power cut there may be some, else never."""
        begins, number = piece.begins, piece.number
        for lost, before, entry in links.missing_epochs(begins, entries):
            runs = [added.first for added in entry.added if added.stream is Stream.RUN]
            may_be = lost <= links.MOST_LOST and not (is_first and before is begins)
            if may_be and any(map(self._asked.boot_before, runs)):
                self.lost.append((lost, before.at_ns, entry.at_ns))
                self._holes.append((piece.chain, before.epoch, entry.epoch))
            else:
                self.problems.append(Problem("cut", "seal", number, number, before.at_ns, entry.at_ns))

    def _linked(  # noqa: PLR0913, PLR0917  # what a piece is made of
        self,
        piece: Piece,
        stand: Stand,
        row: ChainRow,
        entries: Sequence[tuple[bytes, Entry]],
        ends: Cursors,
        roots: Sequence[list[bytes]],
    ) -> Stand:
        """Computes the chain through the entries. Returns where it stands then."""
        name = row.number, row.id
        digest = piece.before
        if not piece.place:
            digest = chain.segment_hash(piece.before, piece.number, row, piece.begins, cursors(piece.start))
        # A chain's codes begin anew.
        is_new = stand == _BEGIN or (stand.chain is not None and stand.chain != name)
        code = NOTHING if is_new else stand.code
        knows = is_new or stand.knows_code
        key = self._asked.keys.get(row.id) if row.is_keyed else None
        prefix = chain.short_id(row.id)
        steps = ((raw, entry.epoch, its) for (raw, entry), its in zip(entries, roots, strict=True))
        made = links.through(Link(digest, code), steps, key if knows else None, self._heads.get(prefix, {}))
        self._take_heads(made.heads)
        following = _after(piece, name, entries, ends)
        if made.link.hash != piece.hash:
            self._add("changed", piece)
            return following
        if not row.is_keyed:
            self.unkeyed += 1
            if piece.code is not None:
                self._add("changed", piece)
            return following
        if key is None:
            self.unchecked += 1
        elif piece.code is not None and knows:
            is_right = made.link.code == piece.code
            self.is_authentic = is_right and self.is_authentic is not False
            if not is_right:
                self._add("forged", piece)
        if piece.code is None:
            known = made.link.code if key is not None and knows else None
            return following._replace(code=known, knows_code=known is not None, lacks_code=True)
        return following

    def _take_heads(self, found: Mapping[str, bool]) -> None:
        for text, is_right in found.items():
            head = Head.from_text(text)
            self.agree[head] = is_right or self.agree.get(head, False)
            if head in self._superseded:
                self._superseded[head] = is_right

    def finish(self) -> None:
        """Looks whether what was sealed before the history was put back is in what came then."""
        last = self.last
        for head, is_right in self._superseded.items():
            is_lost = any(
                head.chain == chain.short_id(name) and low < head.epoch < high
                for name, low, high in self._holes
            )
            if is_right is None and not is_lost:
                self.problems.append(
                    Problem("cut", "seal", None, None, None, None if last is None else last.ts)
                )
            elif is_right is False:
                self.problems.append(Problem("forged", "seal", None, None, None, None))

    def _add(self, kind: str, piece: Piece, *, first: int | None = None) -> None:
        number = piece.number if first is None else min(first, piece.number)
        self.problems.append(
            Problem(kind, "seal", number, piece.number, piece.at_us * 1000 or None, piece.ts or None)
        )
