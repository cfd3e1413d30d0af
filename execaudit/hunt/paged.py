"""Run rules over a history of whichever kind: over its pages, which have all of an exec."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from execaudit.hunt.search import Hunt, in_order, rules_of
from execaudit.query.find import found_of
from execaudit.query.local_history import LocalHistory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from execaudit.event import ExecEvent
    from execaudit.hunt.search import Correlations, Hit
    from execaudit.hunt.sieve import Sieve
    from execaudit.query.filter import Filter
    from execaudit.query.history import History
    from execaudit.query.rows import Found

# So many execs are checked with their parents at a time: command lines can have megabytes.
_TOGETHER = 64


def hunt_of(
    history: History, sieve: Sieve, wanted: Filter, correlations: Correlations | None = None
) -> Hunt | PagedHunt:
    """Returns what runs rules over what is wanted of a history; the filter's limit is that of hits."""
    if isinstance(history, LocalHistory):
        return Hunt(history.connection, sieve, wanted, correlations)
    return PagedHunt(history, sieve, wanted, correlations)


class PagedHunt:
    """Runs rules over a history. Its hits are those of Hunt."""

    def __init__(
        self, history: History, sieve: Sieve, wanted: Filter, correlations: Correlations | None = None
    ) -> None:
        """`wanted` is what is hunted; its limit is that of hits."""
        self._history, self._sieve = history, sieve
        self._wanted, self._correlations = wanted, correlations
        self.looked_at = 0
        """So many execs."""

    def hits(self, *, advance: Callable[[int], None] = lambda _execs: None) -> Iterator[Hit]:
        """Yields the hits, in the order wanted. Calls `advance` with how many execs were looked at.

        Raises FilterError.
        """

        def found(*, backward: bool) -> Iterator[Hit]:
            return self._found(advance, backward=backward)

        return in_order(found, self._wanted, self._correlations)

    def _found(self, advance: Callable[[int], None], *, backward: bool) -> Iterator[Hit]:
        wanted = replace(self._wanted, limit=None, reverse=backward)
        for page in self._history.pages(wanted, likely=self._sieve.texts):
            every = ((found, self._likely(found.event)) for found in found_of(page))
            likely = [(found, bits) for found, bits in every if bits]
            self.looked_at += len(page.rows)
            advance(len(page.rows))
            for start in range(0, len(likely), _TOGETHER):
                yield from self._checked(likely[start : start + _TOGETHER], backward=backward)

    def _likely(self, event: ExecEvent) -> int:
        """Returns the bits of the rules that may hit an exec, for all that its own values say."""
        own = self._sieve.own
        bits = self._sieve.left & own.of_launch(event.launch)
        if bits and own.has_origin:
            bits &= own.of_origin(event.origin)
        # What is missing could have been anything.
        if bits and own.has_lines and event.truncated is None and not event.holes:
            bits &= own.of_line(event.argv, bits)
        return bits

    def _checked(self, likely: Sequence[tuple[Found, int]], *, backward: bool) -> Iterator[Hit]:
        of_parents = self._sieve.of_parents
        wanted = {found.parent for found, bits in likely if found.parent is not None and bits & of_parents}
        fetched = self._history.fetch(sorted(wanted)) if wanted else []
        parents = {found.number: found.event for found in fetched}
        for found, bits in likely:
            parent = None if found.parent is None else parents.get(found.parent)
            hits = [*rules_of(self._sieve, found, parent, bits)]
            yield from reversed(hits) if backward else hits
