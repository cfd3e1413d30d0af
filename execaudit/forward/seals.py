"""Make pieces of a history's seals, whose rows are shipped: see seal.pieces.

A piece goes when a minute's entries are there, or a full segment's: so a busy host ships few, and what is
sealed at the centre is a minute old. An entry waits until its rows are shipped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.central.tables import SEAL, SEAL_ACT, SEAL_CHAIN, SEAL_CHANGE
from execaudit.database.sealed_streams import Stream
from execaudit.seal import chain, pieces, tree
from execaudit.seal.chain import Cursors, Entry
from execaudit.seal.codec import BYTES
from execaudit.seal.keys import CHAIN_BYTES
from execaudit.seal.pieces import Gone, Piece

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from execaudit.central.numbering import Shifts
    from execaudit.central.tables import Table
    from execaudit.forward.sealed_source import SealedSource, Upto
    from execaudit.forward.target import LastSeal, Row
    from execaudit.seal.chain import ChainRow
    from execaudit.seal.segments import Segment

HOLD_NS = 60_000_000_000
"""So long entries wait for more."""
# Of these at most the rows are hashed in a batch.
_MOST_SEGMENTS = 8
_Ends = dict[Stream, int]
# No epoch, and no time in microseconds, is greater: the centre has room for them in nanoseconds.
_MOST = 2**53
_LONGEST_REASON = 64


class State(NamedTuple):
    """What is shipped next."""

    id: int
    """Of the next piece."""
    number: int
    """Its segment's."""
    place: int = 0
    """How many entries of that are shipped."""
    digest: bytes = b""
    """The hash of the last of these."""
    made_ns: int | None = None
    """When the last piece was made; None: none was."""
    chains: frozenset[tuple[int, bytes]] = frozenset()
    """Which were shipped."""


class Made(NamedTuple):
    """What is shipped of seals, and what comes next when it has arrived."""

    rows: Mapping[Table, Sequence[Row]]
    state: State


class Seals:
    """Makes the pieces of one stream."""

    def __init__(self, stream: int, shifts: Shifts, last: LastSeal | None, hold_ns: int = HOLD_NS) -> None:
        """`last` is the piece that arrived last, None if none has."""
        self._stream, self._shifts, self._last, self._hold_ns = stream, shifts, last, hold_ns
        self._state: State | None = None

    def sent(self, state: State) -> None:
        """Notes that pieces have arrived."""
        self._state = state

    def make(self, source: SealedSource, upto: Upto, ends: _Ends, now_ns: int) -> Made | None:
        """Returns the next pieces: of entries up to `upto`, whose rows are shipped; None: there is none yet.

        `ends` has the numbers up to which rows are shipped; all are of a stream that it does not name.
        """
        state = self._state
        if state is not None and upto.number == state.number and self._is_early(state, now_ns):
            return None
        with source.moment():
            if state is None:
                state = self._state = self._begin(source, upto)
            return _Making(self._stream, self._shifts, source, upto, ends).made(state, now_ns)

    def _is_early(self, state: State, now_ns: int) -> bool:
        return state.made_ns is not None and abs(now_ns - state.made_ns) < self._hold_ns

    def _begin(self, source: SealedSource, upto: Upto) -> State:
        """Returns where the centre is."""
        last = self._last
        if last is None:
            return State(1, source.first())
        if last.shifts != self._shifts.to_json():
            # The history was put back since: what it seals anew.
            common = self._shifts.exec.shifts[-1].after if self._shifts.exec.shifts else 0
            return State(last.next_id, source.segment_of_exec(common))
        begun = State(last.next_id, max(min(last.number, upto.number), source.first()))
        if last.is_whole and begun.number == last.number:
            found = source.segments(last.number, 1)
            if found and (place := _place_of(source, found[0], last)) is not None:
                return begun._replace(place=place, digest=last.hash)
        # Again from the beginning of the segment.
        return begun


def _place_of(source: SealedSource, segment: Segment, last: LastSeal) -> int | None:
    """Returns how many entries of a segment are at the centre; None: other ones are."""
    row = source.chain(segment.chain)
    entries = _entries(segment)
    if row is None or entries is None:
        return None
    digest = chain.segment_hash(
        source.hash_of(segment.number - 1), segment.number, row, segment.begins, segment.start
    )
    gone = _parts(source.gone(segment.number))
    for at, (raw, entry, _) in enumerate(entries):
        roots = [source.root(each, gone.get(each.stream, {}).get(at, {})) for each in entry.added]
        digest = chain.entry_hash(digest, raw, roots)
        if entry.epoch == last.epoch:
            return at + 1 if digest == last.hash else None
    return None


def _entries(segment: Segment) -> list[tuple[bytes, Entry, Cursors]] | None:
    """Returns the entries of a segment, with their bytes and what was sealed before.

    None: some make no sense.
    """
    cursors, before = Cursors(segment.start), Cursors(segment.start)
    known = Cursors(segment.start)
    found = []
    try:
        for raw, entry in chain.entries(segment.entries, segment.begins, cursors):
            chain.check_order(entry, known)
            if max(abs(entry.epoch), abs(entry.at_us)) > _MOST:
                return None
            found.append((raw, entry, before))
            before = Cursors(cursors)
    except (IndexError, ValueError):
        return None
    return found


def _parts(rows: Sequence[Gone]) -> dict[int, dict[int, dict[tree.Place, bytes]]]:
    """Returns by stream and entry what prunings left of rows."""
    found = {}
    for row in rows:
        try:
            found[row.stream] = tree.from_bytes(row.parts)
        except (IndexError, ValueError):
            continue
    return found


class _Making:
    """Makes pieces at one moment."""

    def __init__(self, stream: int, shifts: Shifts, source: SealedSource, upto: Upto, ends: _Ends) -> None:
        self._stream, self._shifts = stream, shifts.to_json()
        self._source, self._upto, self._ends = source, upto, ends
        self._rows: dict[Table, list[Row]] = {SEAL_CHAIN: [], SEAL: [], SEAL_ACT: [], SEAL_CHANGE: []}

    def made(self, state: State, now_ns: int) -> Made | None:
        """Returns the next pieces, None if there is none."""
        for segment in self._source.segments(state.number, _MOST_SEGMENTS):
            if segment.number > self._upto.number:
                break
            if segment.number > state.number:
                state = state._replace(number=segment.number, place=0, digest=b"")
            row = self._source.chain(segment.chain)
            if row is None:
                # Somebody removed it, and a verification says so there.
                continue
            following = self._piece(segment, row, state)
            if following is None:
                break
            state, is_done = following
            if not is_done:
                break
        if not self._rows[SEAL]:
            return None
        return Made(
            {table: rows for table, rows in self._rows.items() if rows}, state._replace(made_ns=now_ns)
        )

    def _piece(self, segment: Segment, row: ChainRow, state: State) -> tuple[State, bool] | None:
        """Adds the next piece of a segment. Returns what comes next, and whether the segment is done.

        None: nothing of it can be shipped yet.
        """
        is_newest = segment.number == self._upto.number
        entries = _entries(segment) if segment.entries else []
        if not entries:
            # All that it sealed was pruned, or it makes no sense: as it is.
            if is_newest:
                return None
            return self._add(segment, row, state, [], raw=segment.entries[: pieces.MOST_BYTES]), True
        left = entries[state.place :]
        some = self._arrived(left, is_newest=is_newest)
        if some:
            state = self._add(segment, row, state, some, is_last=len(some) == len(left))
        is_done = len(some) == len(left) and not is_newest
        return None if not some and not is_done else (state, is_done)

    def _arrived(
        self, entries: Sequence[tuple[bytes, Entry, Cursors]], *, is_newest: bool
    ) -> list[tuple[bytes, Entry, Cursors]]:
        """Returns the next entries whose rows are shipped."""
        found = []
        for each in entries:
            entry = each[1]
            is_later = is_newest and entry.epoch > self._upto.epoch
            if is_later or any(
                added.stream in self._ends and added.last > self._ends[added.stream] for added in entry.added
            ):
                break
            found.append(each)
        return found

    def _add(  # noqa: PLR0913  # what a piece is made of
        self,
        segment: Segment,
        row: ChainRow,
        state: State,
        entries: Sequence[tuple[bytes, Entry, Cursors]],
        *,
        raw: bytes = b"",
        is_last: bool = True,
    ) -> State:
        """Adds a piece. Returns what comes next."""
        source, begins = self._source, segment.begins
        before = state.digest or source.hash_of(segment.number - 1)
        digest = before
        if not state.place:
            digest = chain.segment_hash(before, segment.number, row, begins, segment.start)
        gone = source.gone(segment.number)
        parts = _parts(gone)
        roots, runs, oldest, pruned = [], [], {}, set()
        for at, (entry_bytes, entry, _) in enumerate(entries):
            its = []
            for added in entry.added:
                left = parts.get(added.stream, {}).get(state.place + at, {})
                its.append(source.root(added, left))
                if left:
                    pruned.add(added.stream)
                if (day := source.oldest(added, entry.at_ns)) is not None:
                    oldest[at, int(added.stream)] = day
                if added.stream is Stream.GAP:
                    runs += source.runs(added)
                self._add_rows(added, state.id)
            digest = chain.entry_hash(digest, entry_bytes, its)
            roots += its
        last, start = begins, segment.start
        if entries:
            last, start = entries[-1][1], entries[0][2]
            if state.place:
                # The first one is written after the one before it.
                begins = _before(segment, state.place)
        digest, code = (segment.link.hash, segment.link.code) if is_last else (digest, None)
        piece = Piece(
            state.id, max(last.at_ns, 0), segment.number, state.place, _sized(row.id, CHAIN_BYTES), row.number, begins.epoch, begins.at_us,
            last.epoch, pieces.cursors_to_bytes(start), b"".join(each[0] for each in entries) or raw, b"".join(roots),
            pieces.numbers_to_bytes(runs), pieces.old_to_bytes(oldest),
            pieces.gone_to_bytes(each for each in gone if each.stream in pruned), self._shifts, _sized(before, BYTES),
            _sized(digest, BYTES), code and _sized(code, BYTES),
        )  # fmt: skip
        self._rows[SEAL].append((self._stream, *piece))
        if (row.number, row.id) not in state.chains:
            self._rows[SEAL_CHAIN].append(
                (
                    self._stream,
                    row.number,
                    piece.chain,
                    row.is_keyed,
                    _text(row.reason)[:_LONGEST_REASON],
                    row.begun_ns,
                )
            )
        return state._replace(
            id=state.id + 1,
            place=state.place + len(entries),
            digest=digest,
            chains=state.chains | {(row.number, row.id)},
        )

    def _add_rows(self, added: chain.Added, piece: int) -> None:
        """Adds what is sealed and stands in no other table."""
        if added.stream is Stream.ACT:
            self._rows[SEAL_ACT] += [
                (self._stream, piece, number, at_ns, _text(reason)[:_LONGEST_REASON], *rest)
                for number, at_ns, reason, *rest in self._source.acts(added)
            ]
        elif added.stream is Stream.CHANGE:
            self._rows[SEAL_CHANGE] += [(self._stream, piece, *row) for row in self._source.changes(added)]


def _before(segment: Segment, place: int) -> Entry:
    """Returns the entry before one of a segment's."""
    entries = _entries(segment) or []
    return entries[place - 1][1] if 0 < place <= len(entries) else segment.begins


def _sized(raw: bytes, size: int) -> bytes:
    """Returns bytes that the centre takes: somebody may have edited what the host has."""
    return raw[:size].ljust(size, b"\0")


def _text(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
