"""How much memory the execs take of which some records have not come, by account. Pure."""

from __future__ import annotations

# The largest command line has 6 MB; an account may have two, and not make others' be given up.
MOST_EACH = 16 * 1024 * 1024
MOST_IN_ALL = 64 * 1024 * 1024


class Unfinished:
    """Counts bytes of command lines that are not whole yet."""

    def __init__(self, most_each: int = MOST_EACH, most_in_all: int = MOST_IN_ALL) -> None:
        self._most_each, self._most_in_all = most_each, most_in_all
        self._held: dict[int | None, int] = {}
        self._all = 0

    def add(self, account: int | None, size: int) -> None:
        """Counts bytes that came; a negative size for bytes that are released."""
        self._all += size
        held = self._held.pop(account, 0) + size
        if held:
            self._held[account] = held

    def too_much(self, account: int | None) -> bool:
        """Says whether an account has more than it may have."""
        return self._held.get(account, 0) > self._most_each

    def largest(self) -> tuple[bool, int | None]:
        """Returns whether all have too much together, and the account that has most."""
        if self._all <= self._most_in_all:
            return False, None
        return True, max(self._held, key=self._held.__getitem__)
