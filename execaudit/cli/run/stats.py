"""The counts that `execaudit stats` writes."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit.cli.run import pager, proof_text
from execaudit.cli.run.build_filter import build_filter
from execaudit.cli.run.details import (
    Size,
    forecast,
    hits_lines,
    hits_record,
    hosts_lines,
    hosts_record,
    lines_of,
    record_of,
    table_of,
)
from execaudit.cli.run.missing import Bounded, Missed, Missing, bounded, say
from execaudit.database.url import Central
from execaudit.enums import GAINED_WORDS
from execaudit.escaping import exact, printable
from execaudit.event import Gap
from execaudit.output import notices
from execaudit.output.cells import UNKNOWN, user_text
from execaudit.output.json_lines import json_text
from execaudit.output.record import decoded
from execaudit.output.summary_line import local_text
from execaudit.output.timecolumn import TimeColumn
from execaudit.query import stats
from execaudit.query.filter import Filter
from execaudit.sizes import parse_size
from execaudit.store import limits
from execaudit.system import clock
from execaudit.times import utc_text, zone_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from execaudit.cli.context import State
    from execaudit.cli.run.proof import Verifier
    from execaudit.cli.run.proof_text import Vouched
    from execaudit.event import Nanoseconds
    from execaudit.query.history import History
    from execaudit.query.hits import OfRule
    from execaudit.query.new_programs import NewProgram
    from execaudit.query.stats import HostCount, Stats
    from execaudit.query.summary import Pruned
    from execaudit.store.limits import Limits

_SECOND = 1_000_000_000
_DAY = 86_400 * _SECOND
_NAME_WIDTH, _BAR_WIDTH = 24, 40
# Eighths of a column.
_BLOCKS = " ▏▎▍▌▋▊▉█"
_PLAIN = " #"


class Wanted(NamedTuple):
    """What is wanted besides the filters."""

    top: int
    """So many of each."""
    new_since_ns: Nanoseconds | None
    """Also the programs that never ran before; None: not."""
    is_by_host: bool


class Answer(NamedTuple):
    """The counts of the execs that were asked for, and what is missing of them."""

    gathered: Stats
    missed: list[Missed]
    gaps: list[dict[str, object]]
    """Records of these."""
    gone: Pruned | None
    bounded: Bounded
    new: list[NewProgram] | None
    """None: nobody asked since when."""
    hits: list[OfRule]
    """What detection rules hit while it was recorded."""
    hosts: list[HostCount] | None
    """None: nobody asked."""
    size: int
    """What the whole history takes on the disk, in bytes."""
    stored: int
    """About how many execs the whole history has."""
    is_of_all: bool
    """All execs of the range were asked for."""
    seals: list[Vouched]


def count(history: History, values: dict[str, Any], more: Wanted, verifier: Verifier) -> Answer:
    """Counts what the options ask for. Raises FilterError, StoreError."""
    wanted = build_filter(values, history)
    asked = bounded(history, wanted)
    seals = verifier.look(history, asked.wanted)
    now_ns = clock.wall_ns()
    gathered = history.stats(asked.wanted, now_ns=now_ns, top=more.top, offset_ns=_offset_ns())
    counted = asked.wanted if gathered.times is None else stats.within(asked.wanted, gathered.times)
    new = None if more.new_since_ns is None else history.sightings(more.new_since_ns)
    missing = Missing(history, wanted)
    missed = missing.news()
    return Answer(
        gathered,
        missed,
        [*missing.records(missed)],
        history.pruned(),
        asked,
        new,
        history.count_hits(counted),
        history.by_host(counted)[: more.top] if more.is_by_host else None,
        history.size(),
        history.about_how_many(),
        is_of_all=replace(wanted, since_ns=None, until_ns=None, reverse=False) == Filter(),
        seals=seals,
    )


def write(answer: Answer, state: State, *, as_json: bool) -> None:
    """Writes them to standard output, with the history's size, and how it will grow."""
    look = state.look
    size = _size(answer, _limits(state))
    say([missed for missed in answer.missed if not isinstance(missed, Gap)])
    if as_json:
        sys.stdout.write(json_text(_record(answer, size)) + "\n")
    elif not pager.show((f"{line}\n" for line in _lines(answer, size)), look):
        return
    answer.bounded.say()


def _offset_ns() -> int:
    """Returns how far the system's clock is before UTC now; pieces of time begin at its round times."""
    offset = datetime.now(timezone.utc).astimezone().utcoffset()
    return 0 if offset is None else int(offset.total_seconds()) * _SECOND


def _limits(state: State) -> Limits:
    """Returns how large the history may be. Of a central database nothing is known."""
    location = state.location()
    if isinstance(location, Central):
        return limits.Limits()
    configured = limits.Limits(max_bytes=state.settings().parsed("retention", "max_size", parse_size))
    return limits.effective(location, configured)


def _size(answer: Answer, kept: Limits) -> Size:
    """Returns what the history takes, and will take at the rate of the range."""
    size, times = answer.size, answer.gathered.times
    # A part of the execs says nothing about the rate of all.
    if times is None or not answer.stored or not answer.is_of_all:
        return Size(size, kept.max_bytes, None)
    execs_a_day = answer.gathered.execs * _DAY / (times.end_ns - times.start_ns)
    return Size(size, kept.max_bytes, round(execs_a_day * size / answer.stored))


def _record(answer: Answer, size: Size) -> dict[str, object]:
    gathered, _, gaps, gone, *_ = answer
    return {
        "execs": gathered.execs,
        "failed": gathered.failed,
        "already_running": gathered.already,
        "programs": gathered.programs,
        "commands": [{"comm": _text(comm), "count": count} for comm, count in gathered.commands],
        "users": [{"user": user.name, "uid": user.uid, "count": count} for user, count in gathered.users],
        "parents": [{"parent_comm": _text(comm), "count": count} for comm, count in gathered.parents],
        "privileged": [
            {"exe": None if exe is None else exact(exe), "privileged": GAINED_WORDS[gained], "count": count}
            for (exe, gained), count in gathered.privileged
        ],
        "over_time": [
            {"from": utc_text(start), "seconds": width // _SECOND, "count": count}
            for start, width, count in _pieces(gathered)
        ],
        "gaps": gaps,
        "pruned": None
        if gone is None
        else {"execs": gone.execs, "until": utc_text(gone.until_ns), "at": utc_text(gone.at_ns)},
        "bytes": size.now,
        "max_bytes": size.most,
        "bytes_a_day": size.a_day,
        **record_of(gathered, answer.new),
        "hits": hits_record(answer.hits),
        "hosts": hosts_record(answer.hosts),
        "seals": [proof_text.record(each) for each in answer.seals],
    }


def _text(comm: bytes | None) -> str | None:
    return None if comm is None else decoded((comm,))[0][0]


def _pieces(gathered: Stats) -> Iterator[tuple[Nanoseconds, Nanoseconds, int]]:
    if gathered.times is not None:
        start_ns, width_ns, _ = gathered.times
        for number, count in enumerate(gathered.counts):
            yield type(start_ns)(start_ns + number * width_ns), width_ns, count


def _lines(answer: Answer, size: Size) -> Iterator[str]:
    gathered, missed, _, gone, *_ = answer
    yield (
        f"{gathered.execs} execs of {gathered.programs} programs; {gathered.failed} failed,"
        f" {gathered.already} ran when recording began"
    )
    yield f"The history takes {size.now} bytes on the disk."
    yield from forecast(size)
    times = TimeColumn(None, now_ns=clock.wall_ns())
    yield from hosts_lines(answer.hosts, times)
    for title, counted in (
        ("COMMAND", [(_shown(comm), count) for comm, count in gathered.commands]),
        ("USER", [(user_text(user.name, user.uid), count) for user, count in gathered.users]),
        ("STARTED BY", [(_shown(comm), count) for comm, count in gathered.parents]),
    ):
        yield ""
        yield from table_of(title, counted, gathered.execs)
    yield from lines_of(gathered, answer.new, times)
    yield from hits_lines(answer.hits)
    if gathered.times is not None:
        yield ""
        yield from _chart(gathered)
    gaps = [each for each in missed if isinstance(each, Gap)]
    yield ""
    for gap in gaps:
        yield notices.missing_line(gap, None)
    if gone is not None:
        yield notices.pruned_line(*gone, None)
    yield from proof_text.lines(answer.seals, local_text)


def _shown(comm: bytes | None) -> str:
    return UNKNOWN if comm is None else printable(comm)


def _chart(gathered: Stats) -> Iterator[str]:
    blocks = _blocks()
    most = max(gathered.counts, default=0)
    times = TimeColumn(None, now_ns=clock.wall_ns())
    yield f"{f'FROM {times.zone_name}':<{_NAME_WIDTH}} {'EXECS':>10}"
    for start, _, count in _pieces(gathered):
        bar = _bar(count, most, blocks)
        when = zone_text(start, None)[:-4] + times.suffix(start)
        yield f"{when:<{_NAME_WIDTH}} {count:>10} {bar}".rstrip()


def _bar(count: int, most: int, blocks: str) -> str:
    steps = len(blocks) - 1
    # Every count above 0 has a bar.
    length = -(-count * _BAR_WIDTH * steps // most) if most else 0
    whole, part = divmod(length, steps)
    return blocks[-1] * whole + (blocks[part] if part else "")


def _blocks() -> str:
    try:
        _BLOCKS.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return _PLAIN
    return _BLOCKS
