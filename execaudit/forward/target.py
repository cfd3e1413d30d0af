"""What ships batches into a central database, whatever its engine. Pure.

A batch arrives as a whole or not at all, and with it the numbers up to which all has arrived. So whoever asks
for these after a kill, or after an answer that was lost, goes on where the centre is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from execaudit.central.numbering import Shifts
from execaudit.central.tables import MOST_SEQ, STREAM
from execaudit.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from execaudit.central.tables import Table

    Row = tuple[Any, ...]


class MovedError(StoreError):
    """Somebody else shipped into the stream, or the database was put back: begin anew."""


class RefusedError(StoreError):
    """The database refuses a value of the batch, and will refuse it again."""


class Cursors(NamedTuple):
    """Up to which number what has arrived. All are numbers of the centre."""

    exec_seq: int = 0
    exit_id: int = 0
    hit_seq: int = 0
    """Hits of execs up to this one."""
    run_id: int = 0
    gap_id: int = 0
    rule_id: int = 0


_FIRST_CURSOR = STREAM.names.index(Cursors._fields[0])


class Stream(NamedTuple):
    """A row of STREAM."""

    number: int
    stream_id: bytes
    host: bytes
    version: bytes
    epoch: int
    first_ns: int
    contact_ns: int
    last_seq: int
    cursors: Cursors
    live_run: int | None
    lost_ns: int | None
    continued: bytes
    shifts: Shifts

    def row(self) -> Row:
        """Returns it as it stands in the table."""
        before, after = self[:_FIRST_CURSOR], self[_FIRST_CURSOR + 1 : -1]
        return (*before, *self.cursors, *after, self.shifts.to_json())

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> Stream:
        """Returns the same of a row. Raises StoreError if that makes no sense."""
        end = _FIRST_CURSOR + len(Cursors._fields)
        try:
            cursors, shifts = Cursors(*map(int, row[_FIRST_CURSOR:end])), Shifts.from_json(row[-1])
        except (OverflowError, ValueError) as exc:
            raise _nonsense(str(exc)) from exc
        if not all(0 <= each <= MOST_SEQ for each in cursors):
            raise _nonsense("a number is out of range")
        return cls._make((*row[:_FIRST_CURSOR], cursors, *row[end:-1], shifts))


class LastSeal(NamedTuple):
    """The piece of seals that arrived last: see seal.pieces."""

    next_id: int
    """The number for the next one."""
    number: int
    epoch: int
    """Of its last entry."""
    hash: bytes
    shifts: bytes
    is_whole: bool = True
    """All before it have arrived. Else what follows it is shipped again."""


def _nonsense(why: str) -> StoreError:
    return StoreError(
        f"what the central database has of this host makes no sense ({why})",
        fix="find out who wrote into its table `stream`",
    )


class Batch(NamedTuple):
    """What is shipped at once. All is of one stream."""

    stream: Stream
    """As it is when all of the batch has arrived."""
    before: Cursors | None
    """What must have arrived before; None: the stream is new."""
    rows: Mapping[Table, Sequence[Row]]
    """By table, without STREAM and PROGRAM. Rows of EXEC, EXIT and HIT are in the order of their numbers.

    Any may be there already. Then one of an append-only table stays as it is, and another is replaced.
    """


class Target(Protocol):
    """A central database that is written to. Every call may raise StoreError; then `close`, and try again."""

    def streams(self, stream_id: bytes) -> Sequence[Stream]:
        """Returns the streams that have this `stream_id`, of all epochs, and how far each has arrived."""
        ...

    def signatures(self, table: Table, stream: int, numbers: Sequence[int]) -> Mapping[int, tuple[int, ...]]:
        """Returns what tells rows apart, of those with these numbers that are there: see SIGNATURES."""
        ...

    def last_seal(self, stream: int) -> LastSeal | None:
        """Returns the piece of seals that arrived last; None: none has."""
        ...

    def send(self, batch: Batch) -> None:
        """Ships a batch; when it returns, that has arrived for good.

        Raises MovedError if something else has arrived than was said, RefusedError for a value.
        """
        ...

    def rest(self) -> None:
        """Closes the connection between two batches. The next call opens another. Raises nothing."""
        ...

    def close(self) -> None:
        """Closes the connection, whatever has happened, and forgets what was there. Raises nothing."""
        ...


SIGNATURES: dict[str, tuple[str, ...]] = {
    "exec": ("seq", "ts", "pid"),
    "gap": ("id", "ts_from", "ts_to"),
}
"""Of a table the column of the number, and those that tell its rows from others with the same number."""
