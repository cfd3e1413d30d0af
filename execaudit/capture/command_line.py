"""Join the pieces of a command line, and find what is missing. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.capture.wire import UNKNOWN, RecordFlag
from execaudit.enums import Truncated
from execaudit.event import Hole

if TYPE_CHECKING:
    from execaudit.capture.wire import ArgvPiece


class CommandLine(NamedTuple):
    """A command line as far as it is known."""

    argv: bytes
    holes: tuple[Hole, ...]
    truncated: Truncated | None
    argc: int | None
    total: int | None


class Joint:
    """Joins the pieces of a command line."""

    def __init__(self, cut: tuple[int, int]) -> None:
        self._cut = cut
        self._lost = self._faulted = self._limited = False
        self._bytes: list[bytes] = []
        self._captured = 0
        self._position = 0
        self._next_seq = 0
        self._holes: list[Hole] = []

    def add(self, piece: ArgvPiece) -> None:
        """Adds a piece. The pieces come in their order, but some may be missing."""
        before = self._position
        self._go_to(piece.offset)
        if piece.seq != self._next_seq:
            self._lost = True
            # In a failed exec, an argument of unknown length may be among the lost ones.
            if piece.failed or before == self._position:
                self._hole(None)
        self._next_seq = piece.seq + 1
        self._bytes.append(piece.argv)
        self._captured += len(piece.argv)
        self._position += len(piece.argv)
        if piece.flags & RecordFlag.FAULT:
            self._faulted = True
            if piece.missing == UNKNOWN:
                self._hole(None)
            else:
                self._hole(piece.missing)
                self._position += piece.missing
        if piece.flags & RecordFlag.LIMIT:
            self._limited = True
            self._hole(None)

    def finish(self, *, total: int, argc: int, whole: bool) -> CommandLine:
        """Adds the hole at the end, if there is one. Returns the result. `whole`: the last record came."""
        if total != UNKNOWN:
            self._go_to(total)
        if not whole:
            self._lost = True
            if total == UNKNOWN:
                self._hole(None)
        unknowable = any(hole.missing is None for hole in self._holes)
        return CommandLine(
            b"".join(self._bytes),
            tuple(self._holes),
            self._reason(),
            None if argc == UNKNOWN else argc,
            None if unknowable or total == UNKNOWN else total,
        )

    def _go_to(self, offset: int) -> None:
        """Moves to `offset`. The bytes before it did not come: they were cut on purpose, or are lost."""
        cut_from, cut_to = self._cut
        if cut_from < cut_to and self._position <= cut_from and offset >= cut_to:
            self._lose(cut_from - self._position)
            self._hole(cut_to - cut_from)
            self._limited = True
            self._position = cut_to
        self._lose(offset - self._position)
        self._position = max(self._position, offset)

    def _lose(self, missing: int) -> None:
        if missing > 0:
            self._hole(missing)
            self._lost = True

    def _hole(self, missing: int | None) -> None:
        if self._holes and self._holes[-1].at == self._captured:
            before = self._holes.pop().missing
            missing = None if missing is None or before is None else before + missing
        self._holes.append(Hole(self._captured, missing))

    def _reason(self) -> Truncated | None:
        """Returns the most important of the reasons why the command line is not whole."""
        if self._lost:
            return Truncated.LOST
        if self._faulted:
            return Truncated.FAULT
        return Truncated.LIMIT if self._limited else None
