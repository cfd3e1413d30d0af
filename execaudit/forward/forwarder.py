"""Ship a local history to a central database, batch after batch, and go on where that is.

Nothing is kept on this side but what is in memory: a forwarder that was killed asks the centre.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.central.tables import EXEC
from execaudit.errors import StoreError
from execaudit.forward import resume
from execaudit.forward.batches import Batches
from execaudit.forward.seals import HOLD_NS, Seals
from execaudit.forward.target import RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from execaudit.forward.batches import Next
    from execaudit.forward.source import Source
    from execaudit.forward.target import Target

# After a refused batch, so many times fewer rows are tried, down to the one that is refused.
_FEWER = 8


class Waiting(NamedTuple):
    """What has not arrived yet."""

    execs: int
    since_ns: int | None
    """Wall clock of the oldest of these; None: there is none."""


class Forwarder:
    """Ships one history."""

    def __init__(self, target: Target, *, most: int, hold_ns: int = HOLD_NS) -> None:
        """Ships up to `most` rows of a table at once; of seals what came in `hold_ns` together."""
        self._hold_ns = hold_ns
        self._target, self._most = target, most
        self._next_most = most
        self._batches: Batches | None = None
        """None: what has arrived is not known."""
        self._last: tuple[int, Sequence[int]] | None = None
        """The local number and the signature of the exec that was shipped last."""
        self._reached: tuple[bytes, int] | None = None
        """As `arrived`, when that was known last."""
        self._refused: set[int] = set()
        """Local numbers of execs that the centre does not take."""

    @property
    def arrived(self) -> tuple[bytes, int] | None:
        """The identity of the history, and the local number up to which its execs have arrived."""
        return None if self._batches is None else self._batches.arrived

    def forget(self) -> None:
        """Forgets what the centre has: after anything that failed."""
        self._reached = self.arrived or self._reached
        self._batches = self._last = None
        self._target.close()

    def rest(self) -> None:
        """Closes the connection until something is shipped again."""
        self._target.rest()

    def ship(self, source: Source, now_ns: int) -> Next | None:
        """Ships what comes next of an open history. Returns None if there was nothing.

        Raises StoreError; then call `forget`.
        """
        if self._batches is None or not resume.is_same(source, self._last):
            self._last = None
            stream, arrived = resume.resumed(source, self._target, now_ns)
            seq = stream.cursors.exec_seq
            signature = self._target.signatures(EXEC, stream.number, [seq]).get(seq)
            last_ts = None if signature is None else signature[0]
            last = None if arrived is None else self._target.last_seal(stream.number)
            seals = Seals(stream.number, stream.shifts, last, self._hold_ns)
            self._batches = Batches(stream, arrived, self._refused, last_ts, seals=seals)
        following = self._batches.next(source, now_ns, self._next_most)
        source.check()
        if following is None:
            return None
        try:
            self._target.send(following.batch)
        except RefusedError as exc:
            if self._next_most == 1:
                if following.only_exec is None or following.only_exec in self._refused:
                    # There is nothing more to leave out.
                    raise StoreError(exc.what, fix=exc.fix) from exc
                self._refused.add(following.only_exec)
            self._next_most = max(self._next_most // _FEWER, 1)
            raise
        self._next_most = min(self._next_most * 2, self._most)
        self._last = following.last or self._last
        self._batches.sent(following)
        return following

    def waiting(self, source: Source) -> Waiting:
        """Returns what has not arrived yet of an open history, as far as the centre was ever asked."""
        reached = self.arrived or self._reached
        is_its = reached is not None and reached[0] == source.stream_id().hex().encode()
        after = reached[1] if reached is not None and is_its else 0
        return Waiting(max(source.last() - after, 0), source.time_of_next(after))
