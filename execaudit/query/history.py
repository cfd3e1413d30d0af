"""A history, whatever keeps it: all that the commands that read ask of one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Protocol

from execaudit.query.find import found_of

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable, Iterator, Sequence

    from execaudit.event import Gap
    from execaudit.exec_id import ExecKey
    from execaudit.query.connection import Reading
    from execaudit.query.filter import Filter
    from execaudit.query.find import Page
    from execaudit.query.hits import OfRule
    from execaudit.query.lineage import Kin
    from execaudit.query.new_programs import NewProgram
    from execaudit.query.recorders import Complete, Silence
    from execaudit.query.rows import Found
    from execaudit.query.stats import HostCount, Stats
    from execaudit.query.summary import Pruned


Likely = Mapping[str, Collection[bytes]]
"""Texts by the name of a field, or LINE: printable ASCII in lower case, of which an exec has one.

Upper case is the same, and what is missing of a command line may have any.
"""


class History(Protocol):
    """Answers questions about execs, each of which has a number there.

    A parent's number is smaller than those of its children. What is asked with a filter raises FilterError,
    and any question StoreError; DamagedStoreError for what makes no sense.
    """

    @property
    def reading(self) -> Reading | None:
        """Is told how far a search is, if somebody wants to know."""
        ...

    def pages(
        self, wanted: Filter, *, after: int | None = None, keys: bool = False, likely: Likely | None = None
    ) -> Iterator[Page]:
        """Yields the rows of what is wanted, in constant memory and in the filter's order.

        Only what follows the exec `after`, in the direction of reading. With `keys`, no more of relatives
        need be known than their keys. What has none of the texts in `likely` may be left out.
        """
        ...

    def find(self, wanted: Filter, *, after: int | None = None) -> Iterator[Found]:
        """Yields what is wanted, as pages() does."""
        for page in self.pages(wanted, after=after):
            yield from found_of(page)

    def fetch(self, numbers: Sequence[int]) -> list[Found]:
        """Returns the execs of these numbers, in their order, but for those that are not there."""
        ...

    def count(self, wanted: Filter) -> int:
        """Returns how many execs there are of what is wanted."""
        ...

    def times(self, wanted: Filter) -> tuple[int, int] | None:
        """Returns two times between which everything is that can be wanted; None: that is nothing.

        Of the filter, the range of time counts, and the hosts if that is as quick.
        """
        ...

    def about_how_many(self) -> int:
        """Returns about how many execs the whole history has."""
        ...

    def size(self) -> int:
        """Returns how many bytes the history has on the disk."""
        ...

    def schema(self) -> str:
        """Returns the revision of its schema."""
        ...

    def locate(self, key: ExecKey) -> int | None:
        """Returns the number of the exec with this id, or None if it is not in the history."""
        ...

    def beginning(self, text: str, first: ExecKey, last: ExecKey) -> Iterable[int]:
        """Returns numbers of execs whose ids begin with a text, and are between two; some of very many."""
        ...

    def has_user(self, name: bytes) -> bool:
        """Says whether somebody in the history has this name."""
        ...

    def uids_of(self, name: bytes) -> set[int]:
        """Returns the uids that a name has in the history."""
        ...

    def has_setuid(self, uids: Iterable[int]) -> bool:
        """Says whether the history has programs that ran as one of the users, and were started by another."""
        ...

    def gaps(self, wanted: Filter) -> list[Gap]:
        """Returns when execs were missed, in the filter's range or overlapping it, on its hosts."""
        ...

    def silences(self, hosts: Sequence[str], stored: Iterable[Gap], *, now_ns: int) -> list[Silence]:
        """Returns when nobody recorded these hosts, without the times of stored gaps.

        Hosts are as in a filter: all, if none is named.
        """
        ...

    def complete_until(self, hosts: Sequence[str], *, now_ns: int, patience_ns: int) -> Complete:
        """Returns until when the history has all execs of hosts.

        Of several, those that were not heard of for `patience_ns` do not count.
        """
        ...

    def pruned(self) -> Pruned | None:
        """Returns what was deleted to keep the history within its limits; None if nothing was."""
        ...

    def hosts(self, given: Sequence[str]) -> list[str]:
        """Returns the names of the hosts that were recorded; with globs, of those that one of them names."""
        ...

    def versions(self, hosts: Sequence[str]) -> list[str]:
        """Returns which versions recorded these hosts, in the order in which they first did.

        Hosts are as in a filter.
        """
        ...

    def lineage(self, numbers: Sequence[int], *, most: int | None = None) -> Iterator[Kin]:
        """Yields the execs of these numbers and all of their ancestors, each once, by number.

        Only `most`, if that is given: ancestors that are near first.
        """
        ...

    def descendants(self, numbers: Sequence[int], *, newest: int | None = None) -> array[int]:
        """Returns the numbers of these execs and all of their descendants, each once, in order.

        Only the `newest` so many, if that is given.
        """
        ...

    def below(
        self, tops: Sequence[int], *, drawn: Sequence[int], until_ns: int | None, most: int
    ) -> dict[int, int]:
        """Returns descendants of `tops` that happened before a time, and of which of these; at most so many.

        Not those in `drawn`, nor what is below them alone.
        """
        ...

    def users_of(self, numbers: Sequence[int]) -> dict[int, tuple[str | None, int | None]]:
        """Returns the name and the uid of who ran each of these execs."""
        ...

    def children(self, number: int, *, most: int | None) -> list[int]:
        """Returns the numbers of an exec's first `most` children; None: of all of them."""
        ...

    def count_children(self, number: int, *, most: int) -> int:
        """Returns how many children an exec has, or `most` if it has more."""
        ...

    def siblings(self, number: int, *, most: int) -> list[int]:
        """Returns the numbers of the last `most` siblings before an exec, then of the first after it."""
        ...

    def stats(self, wanted: Filter, *, now_ns: int, top: int, offset_ns: int = 0) -> Stats:
        """Counts what is wanted, and returns the `top` most frequent of each kind.

        What was asked for from some time on goes until `now_ns`. `offset_ns`: see stats.divide().
        """
        ...

    def by_host(self, wanted: Filter) -> list[HostCount]:
        """Counts what is wanted for each host that has some of it: the most first, equal ones by name."""
        ...

    def hits_of(self, numbers: Iterable[int]) -> dict[int, list[OfRule]]:
        """Returns what rules hit each of some execs while they were recorded; of one without hits nothing."""
        ...

    def count_hits(self, wanted: Filter) -> list[OfRule]:
        """Returns the rules that hit what is wanted: those of the highest level first, then by their hits."""
        ...

    def sightings(self, since_ns: int) -> list[NewProgram]:
        """Returns the programs that ran since this time, and not before on any host. The first first."""
        ...
