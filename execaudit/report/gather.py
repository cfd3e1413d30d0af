"""Read what a report has: the execs, what led to them, and how many there are of each kind."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from execaudit.event import Nanoseconds
from execaudit.query import stats
from execaudit.report.choose import Chooser
from execaudit.report.columns import Columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from execaudit.event import ExecEvent
    from execaudit.query.filter import Filter
    from execaudit.query.history import History
    from execaudit.query.lineage import Kin
    from execaudit.query.new_programs import NewProgram
    from execaudit.query.stats import Stats
    from execaudit.report.choose import Chosen

MOST = 20_000
"""A page with so many execs stays fluid in a browser."""
_MOST_ANCESTORS = 5_000
_PAGE = 64
# How long command lines may be: the longest size with which all together are no larger than this.
_SIZES, _MOST_BYTES = (65_536, 16_384, 4_096, 1_024, 512), 12_000_000
_LONGEST_MARKED = 262_144
_TOP = 20
MOST_HITS = 5_000
_LOOKED_UP = 10_000
_PIECES = 1_000


class Hit(NamedTuple):
    """A rule that an exec is a case of."""

    number: int
    """The exec's place in the history."""
    title: str
    level: str | None
    tags: tuple[str, ...] = ()


class Asked(NamedTuple):
    """What a report is to have besides what the filter finds."""

    marks: Sequence[int]
    """Numbers of execs."""
    hits: Sequence[Hit]
    now_ns: int
    new_since_ns: int | None = None
    """Programs that never ran before are listed; None: they are not."""


class Density(NamedTuple):
    """How many execs there are over time, where a report does not have all of them."""

    from_ns: Nanoseconds
    width_ns: int
    execs: list[int]
    failed: list[int]


class Gathered(NamedTuple):
    """What a report is made from."""

    stats: Stats
    new: list[NewProgram]
    """Programs that never ran before, if somebody asked since when."""
    chosen: Chosen
    columns: Columns
    context: list[int]
    """The places of execs that are there only because they led to others, or were marked."""
    onward: list[int]
    """The places of execs that the process of their parent executed."""
    marked: list[int]
    """The places of marked execs."""
    events: list[ExecEvent]
    """The marked execs."""
    hits: list[dict[str, object]]
    more_hits: bool
    """Rules hit more often; the rest is not here."""
    density: Density | None
    longest: int
    """Command lines that have more bytes are cut."""


def gather(history: History, wanted: Filter, asked: Asked, advance: Callable[[int], None]) -> Gathered:
    """Reads all of it. Calls `advance` with how many execs were read. Raises FilterError."""
    counted = history.stats(wanted, now_ns=asked.now_ns, top=_TOP)
    of_time = wanted if counted.times is None else stats.within(wanted, counted.times)
    new = [] if asked.new_since_ns is None else history.sightings(asked.new_since_ns)
    if wanted.until_ns is not None:
        new = [each for each in new if each.first_ns < wanted.until_ns]
    chooser, density, sizes = _look(history, of_time, advance)
    every = dict.fromkeys((*asked.hits, *islice(_recorded(history, of_time, chooser.numbers), MOST_HITS + 1)))
    hits = [*every][:MOST_HITS]
    named = {*asked.marks, *(hit.number for hit in hits)}
    chosen = chooser.choose(MOST, named)
    if chosen.kept:
        # Of the execs that are chosen, about the same.
        total = sum(sizes.values())
        sizes = Counter({size: -(-count * MOST // total) for size, count in sizes.items()})
    longest = next((size for size in _SIZES if _sum(sizes, size) <= _MOST_BYTES), _SIZES[-1])
    numbers = sorted({*chosen.numbers, *named})
    kin = [*history.lineage(numbers, most=len(numbers) + _MOST_ANCESTORS)]
    found = {*chosen.numbers}
    columns, places, events = _read(history, kin, found, {*asked.marks}, longest)
    return Gathered(
        counted,
        new,
        chosen,
        columns,
        context=[place for number, place in places.items() if number not in found],
        onward=[places[each.number] for each in kin if each.replaces and each.number in places],
        marked=[places[number] for number in sorted({*asked.marks}) if number in places],
        events=events,
        hits=[_hit(hit, places[hit.number]) for hit in hits if hit.number in places],
        more_hits=len(every) > len(hits),
        density=density if chosen.kept else None,
        longest=longest,
    )


def _read(
    history: History, kin: Sequence[Kin], chosen: set[int], marks: set[int], longest: int
) -> tuple[Columns, dict[int, int], list[ExecEvent]]:
    """Returns the records, the place of each exec by its number, and the marked execs."""
    columns = Columns()
    places: dict[int, int] = {}
    events: list[ExecEvent] = []
    for start in range(0, len(kin), _PAGE):
        for found in history.fetch([each.number for each in kin[start : start + _PAGE]]):
            places[found.number] = len(places)
            is_marked = found.number in marks
            if is_marked:
                events.append(found.event)
            columns.add(
                found.event,
                _LONGEST_MARKED if is_marked else longest,
                is_context=found.number not in chosen,
            )
    return columns, places, events


def _sum(sizes: Mapping[int, int], longest: int) -> int:
    return sum(min(size, longest) * count for size, count in sizes.items())


def _recorded(history: History, wanted: Filter, numbers: Sequence[int]) -> Iterator[Hit]:
    """Yields what rules hit while it was recorded."""
    if not history.count_hits(wanted):
        return
    for start in range(0, len(numbers), _LOOKED_UP):
        found = history.hits_of(numbers[start : start + _LOOKED_UP])
        for number, hits in sorted(found.items()):
            yield from (Hit(number, each.rule.title, each.rule.level, each.rule.tags) for each in hits)


def _look(
    history: History, wanted: Filter, advance: Callable[[int], None]
) -> tuple[Chooser, Density, Counter[int]]:
    """Returns what can be chosen from, how many execs there are over time, and sizes of command lines."""
    chooser = Chooser()
    times = history.times(wanted)
    start, last = times or (0, 0)
    width = max(1, -(-(last + 1 - start) // _PIECES))
    density = Density(Nanoseconds(start), width, [0] * _PIECES, [0] * _PIECES)
    sizes: Counter[int] = Counter()
    # As recorded: numbers only grow.
    for found in history.find(replace(wanted, reverse=False)):
        event = found.event
        chooser.add(found.number, event)
        sizes[len(event.argv)] += 1
        piece = min(max(0, (event.time_ns - start) // width), _PIECES - 1)
        density.execs[piece] += 1
        if event.errno is not None:
            density.failed[piece] += 1
        advance(1)
    return chooser, density, sizes


def _hit(hit: Hit, place: int) -> dict[str, object]:
    return {"row": place, "title": hit.title, "level": hit.level, "tags": [*hit.tags]}
