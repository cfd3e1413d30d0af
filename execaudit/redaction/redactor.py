"""Replace the secrets of a command line. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.redaction.finder import MOST_PLACES, Finder, Found, settled
from execaudit.redaction.marks import mark

if TYPE_CHECKING:
    from collections.abc import Iterable

    from execaudit.redaction.ruleset import RuleSet

# RE2 reads arguments as lines, so that no match goes beyond one; a new line in an argument is a blank.
_AS_LINES = bytes.maketrans(b"\0\n", b"\n ")


class Move(NamedTuple):
    """What became of a secret: so many bytes at a place are now a mark at another."""

    old_at: int
    old_size: int
    new_at: int
    new_size: int


class Redactor:
    """Replaces secrets by marks."""

    def __init__(self, rules: RuleSet, key: bytes) -> None:
        """`key` makes the marks: with another key they are others."""
        self._rules, self._key = rules, key

    def find(self, argv: bytes) -> list[Found]:
        """Returns the secrets of a command line in order, without overlaps.

        After MOST_PLACES of them, one more goes to the end.
        """
        lines = argv.translate(_AS_LINES)
        if self._rules.trigger.search(lines) is None:
            return []
        finder = Finder(self._rules, argv, lines)
        finder.find()
        places = settled(finder.found)
        if len(places) > MOST_PLACES:
            rest = Found(places[MOST_PLACES].start, len(argv) - argv.endswith(b"\0"), None)
            places = [*places[:MOST_PLACES], rest]
        return places

    def redact(self, argv: bytes) -> tuple[bytes, tuple[Move, ...]] | None:
        """Returns argv without its secrets, and what became of each; None: there are no secrets.

        `argv` has a NUL at the end of each argument; the last may be cut and lack it. The number of arguments
        stays, unless there are more than MOST_PLACES secrets, or more words than are looked at: then the last
        mark stands for all the rest.
        """
        places = self.find(argv)
        if not places:
            return None
        pieces: list[bytes] = []
        moves: list[Move] = []
        at = size = 0
        for start, end, _ in places:
            kept, new = argv[at:start], mark(argv[start:end], self._key)
            pieces += (kept, new)
            moves.append(Move(start, end - start, size + len(kept), len(new)))
            size += len(kept) + len(new)
            at = end
        pieces.append(argv[at:])
        return b"".join(pieces), tuple(moves)


def shifted(at: int, moves: Iterable[Move]) -> int:
    """Returns where a place of the old argv is in the new one: that in a secret is at the end of its mark."""
    shift = 0
    for move in moves:
        if at <= move.old_at:
            break
        if at < move.old_at + move.old_size:
            return move.new_at + move.new_size
        shift = move.new_at + move.new_size - move.old_at - move.old_size
    return at + shift
