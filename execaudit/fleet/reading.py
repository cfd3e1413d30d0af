"""Read what is wanted from a central database, page by page, in short statements."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from execaudit.central.tables import EXEC
from execaudit.fleet import answer_pages
from execaudit.fleet.answer_pages import SEQ, STREAM, Numbers, number_of
from execaudit.fleet.checks import check_of
from execaudit.fleet.conditions import Conditions
from execaudit.fleet.days import Days
from execaudit.fleet.engine import Select
from execaudit.fleet.kinship import Kinship
from execaudit.fleet.level_kinship import LevelKinship
from execaudit.fleet.question import AS_RECORDED, question
from execaudit.fleet.relatives import Looker
from execaudit.fleet.walk import PAGE_BYTES, PAGE_ROWS, Range, Walk, source_of, times_of
from execaudit.query.find import Page, found_of

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable, Iterator, Sequence

    from execaudit.event import ExecEvent
    from execaudit.fleet.checks import Check
    from execaudit.fleet.engine import Engine, Row
    from execaudit.fleet.question import Key, Question
    from execaudit.fleet.streams import Stream, Streams
    from execaudit.query.connection import Reading
    from execaudit.query.filter import Filter
    from execaudit.query.history import Likely
    from execaudit.query.rows import Found

_MOST_NUMBERS = 1000


class Reader:
    """Reads execs."""

    def __init__(self, engine: Engine, streams: Streams, reading: Reading | None = None) -> None:
        self.engine, self.streams, self.reading = engine, streams, reading
        # Without joins there is no recursion either.
        kinship = Kinship if engine.dialect.joins_ends else LevelKinship
        self.kinship = kinship(engine, streams)
        self._looker = Looker(engine)
        self._under: dict[tuple[int, ...], array[int]] = {}
        self._new: dict[int, frozenset[bytes]] = {}

    def question(self, wanted: Filter) -> Question:
        """Returns what is asked for a filter."""
        return question(wanted, self.streams, self.chosen(wanted), self.engine.dialect)

    def chosen(self, wanted: Filter) -> Sequence[Stream]:
        """Returns the streams of hosts that a filter names, whatever they were called before."""
        return self.streams.of_hosts(self.engine, wanted.hosts) if wanted.hosts else self.streams.all

    def descendants_of(self, roots: tuple[int, ...]) -> frozenset[int]:
        """Returns the numbers of all descendants of execs, without these."""
        return frozenset(self._descendants(roots))

    def _descendants(self, roots: tuple[int, ...]) -> array[int]:
        found = self._under.get(roots)
        if found is None:
            found = self._under[roots] = self.kinship.under(roots)
        return found

    def new_since(self, since_ns: int) -> frozenset[bytes]:
        """Returns the paths of the programs that are nowhere in the history before a time."""
        found = self._new.get(since_ns)
        if found is None:
            dialect = self.engine.dialect
            conditions = Conditions(dialect)
            since = conditions.bind(since_ns)
            sql = f'SELECT "exe" FROM {dialect.as_it_is("program")} GROUP BY "exe" HAVING min("first_ts") >= {since}'  # noqa: S608  # bound
            found = frozenset(row[0] for row in self.engine.rows(sql, conditions.parameters))
            self._new[since_ns] = found
        return found

    def pages(
        self, wanted: Filter, *, after: int | None = None, likely: Likely | None = None
    ) -> Iterator[Page]:
        """Yields the rows of what is wanted, in the filter's order; only what follows an exec.

        What has none of the texts in `likely` may be left out, where there is no limit.
        """
        asked, left = self.question(wanted), wanted.limit
        if left == 0 or not asked.chosen:
            return
        check = None if asked.is_exact else check_of(asked.left, self)
        within = Range()
        if after is not None:
            key = self._key_of(asked, after)
            if key is None:
                return
            within = Range(high=key) if wanted.reverse else Range(low=key)
        if left is not None and not wanted.reverse:
            oldest = self.oldest(asked, within, left, check)
            if oldest is None:
                return
            within = within._replace(least=oldest)
        upper = None if likely is None or left is not None else asked.with_some(likely)
        for page in self._checked(asked, within, check, backward=wanted.reverse, upper=upper):
            if left is None:
                yield page
                continue
            yield page._replace(rows=page.rows[:left])
            left -= len(page.rows)
            if left <= 0:
                return

    def find(self, wanted: Filter) -> Iterator[Found]:
        """Yields what is wanted, as pages() does."""
        for page in self.pages(wanted):
            yield from found_of(page)

    def _checked(
        self, asked: Question, within: Range, check: Check | None, *, backward: bool, upper: str | None = None
    ) -> Iterator[Page]:
        """Yields pages of what is asked; where `upper` is given, of what is on this condition."""
        numbers = Numbers()
        for rows in self._rows(asked, within, backward=backward, upper=upper):
            page = self._page(rows, numbers)
            if page is not None and check is not None:
                page = self._passing(page, check, parents=asked.is_about_parents)
            if page is not None and page.rows:
                yield page

    def _rows(
        self,
        asked: Question,
        within: Range = Range(),  # noqa: B008  # it cannot be changed
        *,
        backward: bool,
        columns: Sequence[str] = EXEC.names,
        upper: str | None = None,
    ) -> Iterator[list[Row]]:
        def watch(low: int, high: int, at: int) -> None:
            """Tells how far a search is."""
            far = self.reading
            if far is not None and not far.is_answered:
                far.low, far.high, far.at, far.is_backward = low, high, at, backward
                far.has_numbers = asked.order is AS_RECORDED
                far.look()

        walk = Walk(self.engine, asked, asked.bounds.upper if upper is None else upper, watch=watch)
        if asked.wanted.under:
            keys = self._keys_of(asked, self._descendants(asked.wanted.under))
            return walk.rows_of(_within(keys, within), backward=backward, columns=columns)
        return walk.rows(within, backward=backward, columns=columns)

    def _keys_of(self, asked: Question, numbers: Iterable[int]) -> list[Key]:
        """Returns the keys of execs, in order."""
        keys = self.kinship.keys(numbers)
        if asked.order is AS_RECORDED:
            return [(seq,) for stream, seq in keys if stream == asked.chosen[0].number]
        return sorted((ts, stream, seq) for (stream, seq), ts in self.kinship.times_of(keys).items())

    def _key_of(self, asked: Question, number: int) -> Key | None:
        found = self._keys_of(asked, [number])
        return found[0] if found else None

    def _page(self, rows: Sequence[Row], numbers: Numbers) -> Page | None:
        """Returns the page of some rows of EXEC; None if none is of a stream that was known at the start."""
        places = self.streams.places
        known = [row for row in rows if row[STREAM] in places]
        if not known:
            return None
        return answer_pages.page_of(known, self._looker.of(known), places, self.streams.live, numbers)

    def _passing(self, page: Page, check: Check, *, parents: bool) -> Page:
        """Returns the page of those execs that pass a check."""
        every = [*found_of(page)]
        events: dict[int, ExecEvent] = {}
        if parents:
            wanted = sorted({found.parent for found in every if found.parent is not None})
            events = {found.number: found.event for found in self.fetch(wanted)}
        passing = [
            row
            for row, found in zip(page.rows, every, strict=True)
            if check(found, None if found.parent is None else events.get(found.parent))
        ]
        return page._replace(rows=passing)

    def oldest(self, asked: Question, within: Range, limit: int, check: Check | None = None) -> Key | None:
        """Returns the key of the oldest among the newest so many; None if there is none."""
        oldest: Key | None = None
        if check is None:
            for rows in self._rows(asked, within, backward=True, columns=asked.order.columns):
                oldest = tuple(rows[min(limit, len(rows)) - 1])
                limit -= len(rows)
                if limit <= 0:
                    break
            return oldest
        numbers = Numbers()
        for rows in self._rows(asked, within, backward=True):
            page = self._page(rows, numbers)
            if page is None:
                continue
            passing = {row[0] for row in self._passing(page, check, parents=asked.is_about_parents).rows}
            for row in rows:
                if row[STREAM] in self.streams.places and self.number(row) in passing:
                    oldest = asked.order.key(row)
                    limit -= 1
                    if not limit:
                        return oldest
        return oldest

    def number(self, row: Row) -> int:
        """Returns the number of an exec's row."""
        return number_of(self.streams.places[row[STREAM]], row[SEQ])

    def count(self, wanted: Filter) -> int:
        """Returns how many execs there are of what is wanted."""
        asked = self.question(wanted)
        if wanted.limit == 0 or not asked.chosen:
            return 0
        found = self._count_certain(asked)
        if not asked.is_exact:
            found += sum(len(page.rows) for page in self.uncertain(asked))
        return found if wanted.limit is None else min(found, wanted.limit)

    def _count_certain(self, asked: Question) -> int:
        """Returns how many execs there are that need no check."""
        if asked.wanted.under:
            found = self._rows(asked, backward=False, columns=asked.order.columns, upper=asked.bounds.lower)
            return sum(map(len, found))
        conditions = asked.conditions.further()
        source = source_of(self.engine, [asked.bounds.lower], conditions, times_of(asked.wanted))
        return int(self.engine.rows(f"SELECT count(*) FROM {source}", conditions.parameters)[0][0])  # noqa: S608  # bound

    def uncertain(self, asked: Question) -> Iterator[Page]:
        """Yields what is wanted of what the engine could not decide."""
        upper = f"({asked.bounds.upper} AND {self.engine.dialect.negated(asked.bounds.lower)})"
        yield from self._checked(asked, Range(), check_of(asked.left, self), backward=False, upper=upper)

    def fetch(self, numbers: Sequence[int]) -> list[Found]:
        """Returns the execs of these numbers, in their order, but for those that are not there."""
        found: dict[int, Found] = {}
        for start in range(0, len(numbers), _MOST_NUMBERS):
            left = numbers[start : start + _MOST_NUMBERS]
            while left:
                keys = self.kinship.keys(left)
                rows = self._of_keys(keys) if keys else []
                page = self._page(rows, Numbers())
                if page is None:
                    break
                found.update((each.number, each) for each in found_of(page))
                # Large ones come in several pages.
                left = [number for number in left if number not in found]
        return [found[number] for number in numbers if number in found]

    def _of_keys(self, keys: Sequence[tuple[int, int]]) -> list[Row]:
        conditions = Conditions(self.engine.dialect)
        said = self.engine.dialect.keys(('e."stream"', 'e."seq"'), keys, conditions.bind)
        source = source_of(self.engine, [said], conditions, Days(self.engine).of_keys(keys))
        select = Select(source, 'e."stream", e."seq"', PAGE_ROWS)
        return self.engine.page(select, EXEC.names, PAGE_BYTES, conditions.parameters)


def _within(keys: list[Key], within: Range) -> list[Key]:
    """Returns the keys of a range, of some in order."""
    first = 0
    if within.low is not None:
        first = bisect_left(keys, (*within.low, 0))
    if within.least is not None:
        first = max(first, bisect_left(keys, within.least))
    last = len(keys) if within.high is None else bisect_left(keys, within.high)
    return keys[first:last]
