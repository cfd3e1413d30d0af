"""Verify at the centre what hosts sealed and shipped: piece after piece, against the rows that are there."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from execaudit.central.numbering import Shifts
from execaudit.database.imports import VERSION_BEGINNING
from execaudit.database.sealed_streams import Stream
from execaudit.fleet import sealed_reader
from execaudit.fleet.heads import heads_of_stream
from execaudit.fleet.sealed_chain import Asked, ChainWalk
from execaudit.fleet.sealed_check import Read, RowCheck
from execaudit.fleet.sealed_reader import LATEST_US, SealedReader
from execaudit.fleet.sealed_rows import numbers_of
from execaudit.seal import acts, pieces
from execaudit.seal.chain import Cursors, RunState
from execaudit.seal.segment_check import Problem, table_of
from execaudit.seal.verify import Pruning, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from execaudit.fleet.engine import Engine
    from execaudit.fleet.sealed_reader import Dropped, Run
    from execaudit.fleet.streams import Stream as HostStream
    from execaudit.seal.chain import Head
    from execaudit.seal.keys import VerificationKey
    from execaudit.seal.pieces import Piece

# So many pieces are read at once, and so many rows of theirs; one entry may have more.
_PIECES, _ROWS = 16, 16_000
# A forwarder holds seals back for a minute, so later heads may have come before them.
_LATE_NS = 900_000_000_000
_AGAIN_SECONDS = 2.0
_CURSORS = (Stream.EXEC, Stream.EXIT, Stream.HIT, Stream.RUN, Stream.GAP, Stream.RULE)


class Wanted(NamedTuple):
    """What is asked of each history."""

    keys: Mapping[bytes, VerificationKey]
    """By the id of their chain."""
    heads: Sequence[Head]
    """That must be in the chain, if it is theirs."""
    since_ns: int | None


@dataclass
class CentralResult(Result):
    """What a verification of one history found."""

    host: str = ""
    history: int = 0
    """Its number at the centre: a host may have had several."""
    unsealed: int = 0
    """Execs that have arrived, and their seals have not."""
    unproved: int = 0
    """Rows that cannot be proved any more, because others that were sealed together were deleted."""
    is_shipped: bool = True
    """False: its forwarder ships no seals."""


def verify(
    engine: Engine, stream: HostStream, wanted: Wanted, now_ns: int, progress: Callable[[int], object]
) -> CentralResult:
    """Verifies one history. `progress` is told how many more pieces were looked at. Raises StoreError."""
    return _Verification(engine, stream, wanted, now_ns).run(progress)


class _Verification:
    def __init__(self, engine: Engine, stream: HostStream, wanted: Wanted, now_ns: int) -> None:
        self._engine, self._stream, self._wanted = engine, stream, wanted
        self._reader = SealedReader(engine, stream.number)
        self._dropped: Dropped = sealed_reader.dropped(engine, now_ns)
        self._runs = self._reader.runs()
        self._states: dict[int, RunState] = {}
        self._stripped: frozenset[int] | None = None
        self._last = self._reader.last()
        self._ends = Cursors()
        self._shifts = Shifts()
        self.result = CentralResult(
            host=stream.host.decode("utf-8", "backslashreplace"), history=stream.number
        )

    def run(self, progress: Callable[[int], object]) -> CentralResult:
        result, last, wanted = self.result, self._last, self._wanted
        if last is None:
            result.is_shipped = False
            result.unsealed = self._reader.above(Stream.EXEC, 0)[0]
            return result
        result.is_sealed = True
        after = 0
        # A head may be older.
        if wanted.since_ns is not None and not wanted.heads:
            after = max(self._reader.first_since(wanted.since_ns) - 1, 0)
        walk = self._walk(is_whole=after == 0)
        rows = RowCheck(self._reader, self._runs, self._dropped, self._last_act(last))
        while some := self._reader.pieces(after, _PIECES):
            after = some[-1].id
            for together in self._together(some, walk):
                rows.check(together)
            progress(len(some))
        self._finish(walk, rows)
        return result

    def _walk(self, *, is_whole: bool) -> ChainWalk:
        shipped = heads_of_stream(self._engine, self._stream.number, self._wanted.since_ns)
        self._heads = dict(shipped)
        asked = Asked(
            self._reader.chains(), self._wanted.keys, [*self._heads, *self._wanted.heads], self._reader.piece_with,
            self._dropped.has, self._is_stripped, self._boot_before,
        )  # fmt: skip
        self._chains = asked.chains
        return ChainWalk(asked, is_whole=is_whole)

    def _together(self, some: Sequence[Piece], walk: ChainWalk) -> Iterator[list[Read]]:
        """Takes pieces into the chain. Yields those whose rows are read together."""
        found: list[Read] = []
        rows = 0
        for piece in some:
            read = _read(piece)
            is_next = walk.follows(piece) and read is not None and bool(found)
            if is_next and read is not None:
                is_next = found[-1].piece.shifts == piece.shifts
            if found and (not is_next or rows > _ROWS):
                yield found
                found, rows = [], 0
            if read is None:
                walk.take(piece, (), Cursors(), ())
                continue
            self._take(read)
            walk.take(piece, read.entries, read.ends, read.roots)
            if not read.entries:
                continue
            found.append(read)
            rows += sum(added.rows for _, entry in read.entries for added in entry.added)
        if found:
            yield found

    def _take(self, read: Read) -> None:
        self._ends, self._shifts = read.ends, Shifts.from_json(read.piece.shifts)
        for _, entry in read.entries:
            for state in entry.runs:
                self._states[self._shifts.run.at_centre(state.run_id)] = state
            self.result.sealed_until_ns = entry.at_ns

    def _last_act(self, last: Piece) -> int:
        read = _read(last)
        return 0 if read is None else read.ends[Stream.ACT]

    def _is_stripped(self, number: int) -> bool:
        """Says whether a pruning on the host says that it left nothing of a segment."""
        if self._stripped is None:
            found: set[tuple[int, int]] = set()
            for row in self._reader.rows(Stream.ACT, [(1, 2**62)]):
                if row[4] == b"stripped":
                    try:
                        found.update(acts.read(row[-1])[1])
                    except (IndexError, ValueError):
                        continue
            self._ranges = sorted(found)
            self._stripped = frozenset()
        return any(first <= number <= last for first, last in self._ranges)

    def _boot_before(self, number: int) -> bool:
        """Says whether a run is of another boot than the one before it."""
        its, before = self._run(number), self._run(number - 1)
        return its is not None and before is not None and its.boot_id != before.boot_id

    def _run(self, number: int) -> Run | None:
        return self._runs.get(self._shifts.run.at_centre(number))

    def _finish(self, walk: ChainWalk, rows: RowCheck) -> None:
        """Looks at what is about all of the history."""
        result, found = self.result, rows.found
        walk.finish()
        result.problems = [*walk.problems, *found.problems, *self._check_runs(), *self._unsealed(walk)]
        result.problems += self._check_heads(walk)
        result.problems = list(dict.fromkeys(result.problems))
        result.execs, result.unproved = found.execs, found.unproved
        result.unkeyed, result.lost, result.stripped = walk.unkeyed, walk.lost, walk.stripped
        result.chains = [self._chains[name] for name in walk.seen if name in self._chains]
        if walk.last is not None and walk.last.entries:
            result.head = str(walk.last.head)
        if found.dropped:
            result.pruned = [Pruning(self._dropped.at_ns, "centre", found.dropped, *found.dropped_ns)]
        result.is_authentic = walk.is_authentic
        keyed = result.chains and result.chains[-1].is_keyed
        if not self._wanted.keys:
            result.is_authentic = None
        elif not keyed or walk.unchecked:
            # Nobody whose key was given vouches for all of it.
            result.is_authentic = False

    def _check_runs(self) -> Iterator[Problem]:
        """Yields runs whose times are not those that were sealed: they may only have gone on."""
        for number, state in self._states.items():
            run = self._runs.get(number)
            if run is None:
                continue  # RowCheck says so
            if run.version.startswith(VERSION_BEGINNING.encode()):
                is_right = run.started_ns <= state.started_ns
            else:
                is_right = run.started_ns == state.started_ns
            if state.stopped_ns is not None and not run.version.startswith(VERSION_BEGINNING.encode()):
                is_right &= (run.stopped_ns, run.seen_ns) == (state.stopped_ns, state.seen_ns)
            elif state.seen_ns is not None:
                is_right &= run.seen_ns is not None and run.seen_ns >= state.seen_ns
            if not is_right:
                yield Problem("changed", "run", state.run_id, state.run_id, None, None)

    def _unsealed(self, walk: ChainWalk) -> Iterator[Problem]:
        """Yields rows that no forwarder shipped; counts those whose seals come next."""
        for stream in _CURSORS:
            count, low, high = self._reader.below_first(stream)
            if count:
                yield Problem("added", table_of(stream), low, high, None, None)
        for stream in _CURSORS:
            numbers = numbers_of(stream, self._shifts)
            end = self._ends[stream] if numbers is None else numbers.at_centre(self._ends[stream])
            count, low, high = self._reader.above(stream, end)
            if stream is Stream.EXEC:
                self.result.unsealed = count
            if count and high > self._cursor(stream, high):
                yield Problem(
                    "added", table_of(stream), max(low, self._cursors[stream] + 1), high, None, None
                )
        del walk

    def _cursor(self, stream: Stream, high: int) -> int:
        """Returns up to which number rows have arrived."""
        self._cursors = self._reader.cursors()
        is_torn = not self._engine.dialect.plans_by_day
        if is_torn and high > self._cursors.get(stream, 0):
            # Without transactions they come before what says so.
            time.sleep(_AGAIN_SECONDS)
            self._cursors = self._reader.cursors()
        return self._cursors.get(stream, 0)

    def _check_heads(self, walk: ChainWalk) -> Iterator[Problem]:
        """Yields heads that arrived, or were given, and are not in the chain."""
        last = walk.last
        until = self.result.sealed_until_ns
        if last is None:
            return
        newest: dict[str, int] = {}
        for _, name in walk.seen:
            newest[name.hex()[:16]] = -1
        ours = {name.hex()[:16] for _, name in walk.seen}
        for head, at_ns in self._heads.items():
            if walk.agree.get(head) is False:
                yield Problem("forged", "seal", None, None, None, at_ns)
        later = [at_ns for head, at_ns in self._heads.items() if head not in walk.agree]
        if until is not None and later and max(later) > until + _LATE_NS and not self._is_behind():
            yield Problem("cut", "seal", None, None, until, None)
        for head in self._wanted.heads:
            if head.chain in ours and not walk.agree.get(head):
                yield Problem("forged" if head in walk.agree else "cut", "seal", None, None, until, None)

    def _is_behind(self) -> bool:
        """Says whether the host has execs that have not arrived: seals wait for them."""
        rows = self._engine.rows(
            f'SELECT "last_seq", "exec_seq" FROM {self._engine.dialect.table("stream")}'  # noqa: S608  # ours
            f' WHERE "stream" = {int(self._stream.number)}',
            {},
        )
        return bool(rows) and rows[0][0] > rows[0][1]


def _read(piece: Piece) -> Read | None:
    """Returns what stands in a piece, None if that makes no sense."""
    try:
        entries, ends = pieces.entries_of(piece)
        times = [piece.at_us, *(entry.at_us for _, entry in entries)]
        if max(map(abs, times)) > LATEST_US or piece.chain_id < 0:
            return None
        Shifts.from_json(piece.shifts)
        return Read(piece, entries, pieces.cursors(piece.start), ends, pieces.roots_of(piece, entries))
    except (IndexError, ValueError):
        return None
