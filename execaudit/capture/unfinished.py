"""Count, by account, the memory of execs that wait for records. Pure."""

from __future__ import annotations

# The largest command line has 6 MB. Two of them fit for each account, and no account can use up the room of
# all others.
MOST_EACH = 16 * 1024 * 1024
MOST_IN_ALL = 64 * 1024 * 1024


class Unfinished:
    """Counts bytes of execs that wait for records."""

    def __init__(self, most_each: int = MOST_EACH, most_in_all: int = MOST_IN_ALL) -> None:
        self._most_each, self._most_in_all = most_each, most_in_all
        self._held: dict[int | None, int] = {}
        self._all = 0

    def add(self, account: int | None, size: int) -> None:
        """Adds bytes to an account; a negative size removes them."""
        self._all += size
        held = self._held.pop(account, 0) + size
        if held:
            self._held[account] = held

    def too_much(self, account: int | None) -> bool:
        """Says whether an account has more than it may have."""
        return self._held.get(account, 0) > self._most_each

    def largest(self) -> tuple[bool, int | None]:
        """Returns whether all accounts together have too much, and then the account that has most."""
        if self._all <= self._most_in_all:
            return False, None
        return True, max(self._held, key=self._held.__getitem__)
