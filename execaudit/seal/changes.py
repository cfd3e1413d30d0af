"""What prunings changed in an exec that they left. Pure."""

from __future__ import annotations

from itertools import pairwise

from execaudit.database.enum_codes import TRUNCATIONS
from execaudit.enums import Truncated
from execaudit.seal import codec

_LIMIT = TRUNCATIONS.index(Truncated.LIMIT)


class Change:
    """What prunings made of an exec: first it was so, now it is so."""

    def __init__(self) -> None:
        self._parents: list[tuple[int | None, int | None]] = []
        self._lines: list[tuple[bytes, bytes]] = []

    def add(
        self, parent_was: int | None, parent_now: int | None, line_was: bytes | None, line_now: bytes | None
    ) -> None:
        """Adds the next one: the columns of a row of seal_change."""
        if line_was is not None and line_now is not None:
            self._lines.append((line_was, line_now))
        else:
            self._parents.append((parent_was, parent_now))

    @property
    def parents(self) -> list[int | None]:
        """The parents that were replaced."""
        return [was for was, _ in self._parents]

    def fits(self, parent: int, line: bytes, truncated: int | None) -> bool:
        """Says whether each change follows the last, and what stands there the last one.

        And whether each is one that a pruning makes: a parent is replaced by an older one or by none, and
        only a long line is shortened, which is then marked.
        """
        if any(was is None or (now is not None and now >= was) for was, now in self._parents):
            return False
        if self._lines and not (codec.is_by_hash(self._lines[0][0]) and truncated == _LIMIT):
            return False
        ends = [(or_null(was), or_null(now)) for was, now in self._parents] + [(parent, parent)]
        lines = [*self._lines, (line, line)]
        return all(a[1] == b[0] for chain in (ends, lines) for a, b in pairwise(chain))

    def parent(self, parent: int) -> int:
        """Returns the parent that was sealed, given the one that it has now."""
        return or_null(self._parents[0][0]) if self._parents else parent

    def line(self, line: bytes) -> bytes:
        """Returns the line that was sealed, given the one that it has now."""
        return self._lines[0][0] if self._lines else line


def or_null(number: int | None) -> int:
    """Returns a number or NULL, as one number. NULL's own number is none that a column has."""
    return codec.NULL if number is None else max(number, codec.NULL + 1)
