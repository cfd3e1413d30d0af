"""What happened, in sentences: the top of a report. All texts are safe to show. Pure."""

from __future__ import annotations

from datetime import timezone
from typing import TYPE_CHECKING, NamedTuple

from execaudit.enums import GAINED_WORDS, errno_name
from execaudit.escaping import printable
from execaudit.output.cells import user_text
from execaudit.output.summary_line import bad_end_text
from execaudit.report.choose import Sort
from execaudit.times import zone_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from execaudit.report.choose import Kept
    from execaudit.report.gather import Gathered

_NAMED = 5
_TOP = 20
_SECOND = 1_000_000_000
_DATE = len("2026-11-22")
_SORTS = {
    Sort.NAMED: "that are marked or that rules hit",
    Sort.UNUSUAL: "that gained privileges, had no file any more, or were killed",
    Sort.RARE: "of programs that ran three times at most",
    Sort.FAILED: "that failed, or ended with a failure",
    Sort.OTHER: "others",
}


class Tile(NamedTuple):
    """A number that stands out."""

    number: str
    label: str
    is_bad: bool = False


class Scope(NamedTuple):
    """What a report is about."""

    span: tuple[int, int] | None
    hosts: Sequence[str]
    """Safe to show."""
    is_filtered: bool
    """The execs are not all of the range."""
    gaps: int
    is_pruned: bool
    """Execs of the range may have been deleted."""


class Summary(NamedTuple):
    """The top of the page."""

    tiles: list[Tile]
    sentences: list[str]


def utc(time_ns: int) -> str:
    """Returns a moment as the page shows it, to the millisecond."""
    return zone_text(time_ns, timezone.utc)


def span_text(from_ns: int, to_ns: int) -> str:
    """Returns a range of time to the second; a day that is the same is said once."""
    start, end = utc(from_ns)[:-4], utc(to_ns)[:-4]
    return f"{start} to {end[_DATE + 1 :] if end[:_DATE] == start[:_DATE] else end} UTC"


def counted(number: int, one: str, many: str | None = None) -> str:
    """Returns a number and what is counted: `1 exec`, `2 execs`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def listed(texts: Sequence[str]) -> str:
    """Returns `a, b and c`."""
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def _most(pairs: Iterable[tuple[str, int]]) -> str:
    """Returns what is most frequent: `root (12), alice (3)`."""
    found = [*pairs]
    shown = [f"{name} ({count:,})" for name, count in found[:_NAMED]]
    return listed(shown) if len(found) <= _NAMED else f"{', '.join(shown)} and others"


def _length(seconds: int) -> str:
    """Returns a round length of time: `30 minutes`."""
    for unit, name in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
        if seconds % unit == 0:
            return name if seconds == unit else f"{seconds // unit} {name}s"
    return f"{seconds} seconds"


def _exe(exe: bytes | None) -> str:
    return "a program without a name" if exe is None else printable(exe)


def summary(gathered: Gathered, scope: Scope) -> Summary:
    """Returns the top of the page."""
    stats = gathered.stats
    users = len(stats.users)
    many_users = f"{users}+" if users >= _TOP else str(users)
    tiles = [
        Tile(f"{stats.execs:,}", "exec" if stats.execs == 1 else "execs"),
        Tile(f"{stats.programs:,}", "program" if stats.programs == 1 else "programs"),
        Tile(many_users, "user" if users == 1 else "users"),
        Tile(f"{stats.failed:,}", "failed", is_bad=stats.failed > 0),
        Tile(f"{scope.gaps:,}", "gap" if scope.gaps == 1 else "gaps", is_bad=scope.gaps > 0),
    ]
    if gathered.hits:
        tiles.insert(4, Tile(f"{len(gathered.hits):,}", "rule hits", is_bad=True))
    return Summary(tiles, [*_sentences(gathered, scope), *_further(gathered), *_missing(scope)])


def _sentences(gathered: Gathered, scope: Scope) -> Iterable[str]:
    stats = gathered.stats
    when = "" if scope.span is None else f"From {span_text(*scope.span)}, "
    on = f" on {listed(scope.hosts)}" if scope.hosts else ""
    what = f"{counted(stats.execs, 'exec')} of {counted(stats.programs, 'program')}"
    matched = " matched the query" if scope.is_filtered else " happened"
    text = f"{when}{what}{matched}{on}."
    yield text[0].upper() + text[1:]
    if stats.already:
        yield f"{stats.already:,} of these {'is a program' if stats.already == 1 else 'are programs'} that ran already when recording began."
    if stats.users:
        yield f"They ran as {_most((user_text(user.name, user.uid), count) for user, count in stats.users)}."
    if stats.times is not None and len(stats.counts) > 1 and stats.execs:
        most = max(stats.counts)
        start = stats.times.start_ns + stats.counts.index(most) * stats.times.width_ns
        length = _length(stats.times.width_ns // _SECOND)
        yield f"The busiest {length} began at {utc(start)[:-4]}: {counted(most, 'exec')}."


def _further(gathered: Gathered) -> Iterable[str]:
    stats, new = gathered.stats, gathered.new
    if stats.failed:
        errors = _most((errno_name(number), count) for number, count in stats.errors)
        yield f"{counted(stats.failed, 'exec')} failed: {errors}."
    if stats.ends:
        ends = _most((bad_end_text(end), count) for end, count in stats.ends)
        yield f"Programs that ended with a failure: {ends}."
    if stats.privileged:
        gained = ((f"{_exe(exe)} [{GAINED_WORDS[bits]}]", count) for (exe, bits), count in stats.privileged)
        yield f"Programs that gained privileges from their file: {_most(gained)}."
    if stats.containers:
        inside = _most((printable(name)[:12], count) for name, count in stats.containers)
        yield f"Execs in containers: {inside}."
    if new and len(new) < stats.programs:
        names = [_exe(each.exe) for each in new[:_NAMED]]
        shown = listed(names) if len(new) <= _NAMED else f"{', '.join(names)} and others"
        yield f"{counted(len(new), 'program')} never ran before on record: {shown}."
    if gathered.hits:
        titles: dict[str, int] = {}
        for hit in gathered.hits:
            title = printable(str(hit["title"]))
            titles[title] = titles.get(title, 0) + 1
        ranked = sorted(titles.items(), key=lambda each: -each[1])
        yield f"Rules hit {counted(len(gathered.hits), 'time')}: {_most(ranked)}."


def _missing(scope: Scope) -> Iterable[str]:
    if scope.gaps:
        yield f"The record of this range is not complete: {counted(scope.gaps, 'gap')}, listed below."
    if scope.is_pruned:
        yield "Execs of this range may have been deleted, to keep the history within its limits: see below."
    if not scope.gaps and not scope.is_pruned:
        yield "Nothing is known to be missing."


def thinned_text(kept: Sequence[Kept], execs: int) -> str | None:
    """Returns what a report does not have; None: it has all execs."""
    if not kept:
        return None
    parts = [
        f"{'all ' if each.kept == each.of > 1 else ''}{each.kept:,}{'' if each.kept == each.of else f' of {each.of:,}'} {_SORTS[each.sort]}"
        for each in kept
    ]
    total = sum(each.kept for each in kept)
    return (
        f"This report has {total:,} of the {execs:,} execs, so that a browser can show it: {listed(parts)}."
        " What is left out is spread evenly. The timeline counts all; the tree, the table and the search have"
        " only what is here. A shorter range or more filters show the rest."
    )
