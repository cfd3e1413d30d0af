"""The further counts that `execaudit stats` writes: errors, statuses, containers, privileges, the longest."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.enums import GAINED_WORDS, errno_name
from execaudit.escaping import exact, printable
from execaudit.output.cells import LEVEL_WIDTH, UNKNOWN, level_text
from execaudit.output.record import rule_record, to_record
from execaudit.output.summary_line import bad_end_text, brief_duration, command_text
from execaudit.output.widths import padded
from execaudit.sizes import size_text
from execaudit.times import utc_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from execaudit.output.timecolumn import TimeColumn
    from execaudit.query.hits import OfRule
    from execaudit.query.new_programs import NewProgram
    from execaudit.query.stats import HostCount, Stats

NAME_WIDTH = 24
# Of the commands that took longest, in 80 columns.
_ROOM = 70
_CUT = "…"
_MOST_DAYS = 730
_FEW_HOURS = 48
_TIME_WIDTH = 23


class Size(NamedTuple):
    """What the history takes on the disk, in bytes."""

    now: int
    most: int | None
    """The limit; None: there is none."""
    a_day: int | None
    """What it grows by in a day at the rate of the range; None: not known."""


def forecast(size: Size) -> Iterator[str]:
    """Yields a sentence about how the history will grow; nothing if that is not known."""
    if not size.a_day:
        return
    grows = f"At the rate of this range it grows by {size_text(size.a_day)} a day"
    if size.most is None:
        yield f"{grows}."
    elif size.now >= size.most:
        yield f"{grows}, and is at its limit of {size_text(size.most)}: the oldest is deleted."
    else:
        hours = (size.most - size.now) * 24 // size.a_day
        days = hours // 24
        if hours < _FEW_HOURS:
            when = f"in {hours} hours" if hours > 1 else "within two hours"
        else:
            when = f"in {days} days" if days <= _MOST_DAYS else "in years"
        yield f"{grows}: its limit of {size_text(size.most)} comes {when}."


def record_of(gathered: Stats, new: list[NewProgram] | None) -> dict[str, object]:
    """Returns the counts with the names of the JSON object."""
    return {
        "errors": [{"errno": errno_name(error), "count": count} for error, count in gathered.errors],
        "exits": [
            {"exit_code": end.code, "exit_signal": end.signal, "count": count} for end, count in gathered.ends
        ],
        "containers": [{"container_id": name, "count": count} for name, count in gathered.containers],
        "longest": [to_record(event) for event in gathered.longest],
        "new_programs": None
        if new is None
        else [
            {"exe": exact(each.exe), "first": utc_text(each.first_ns), "count": each.execs} for each in new
        ],
    }


def hits_record(hits: Iterable[OfRule]) -> list[dict[str, object]]:
    """Returns the hits of rules with the names of the JSON object."""
    return [{**rule_record(each.rule), "count": each.hits, "left_out": each.left_out} for each in hits]


def hits_lines(hits: Sequence[OfRule]) -> Iterator[str]:
    """Yields the table of the hits of rules after an empty line; nothing if there are none."""
    if hits:
        yield ""
        yield f"{'HITS':>7}  {'LEVEL':<{LEVEL_WIDTH}}  RULE"
    for rule, count, _ in hits:
        yield f"{count:>7}  {level_text(rule.level):<{LEVEL_WIDTH}}  {printable(rule.title)}"


def hosts_record(hosts: Sequence[HostCount] | None) -> list[dict[str, object]] | None:
    """Returns the counts of hosts with the names of the JSON object."""
    if hosts is None:
        return None
    return [
        {
            "host": each.host,
            "count": each.execs,
            "failed": each.failed,
            "first": utc_text(each.first_ns),
            "last": utc_text(each.last_ns),
        }
        for each in hosts
    ]


def hosts_lines(hosts: Sequence[HostCount] | None, times: TimeColumn) -> Iterator[str]:
    """Yields the table of hosts after an empty line; nothing if nobody asked."""
    if hosts is not None:
        yield ""
        yield f"{'HOST':<{NAME_WIDTH}} {'EXECS':>10} {'FAILED':>10}  LAST {times.zone_name}"
    for each in hosts or ():
        name = padded(printable(each.host), NAME_WIDTH)
        yield f"{name} {each.execs:>10} {each.failed:>10}  {times.text(each.last_ns)}"


def lines_of(gathered: Stats, new: list[NewProgram] | None, times: TimeColumn) -> Iterator[str]:
    """Yields the tables of the counts, each after an empty line; none of what there is not."""
    for title, counted in (
        ("FAILED WITH", [(errno_name(error), count) for error, count in gathered.errors]),
        ("ENDED WITH", [(bad_end_text(end), count) for end, count in gathered.ends]),
    ):
        if counted:
            yield ""
            yield from table_of(title, counted, gathered.execs)
    gained_by = [
        (f"{UNKNOWN if exe is None else printable(exe)} [{GAINED_WORDS[gained]}]", count)
        for (exe, gained), count in gathered.privileged
    ]
    containers = [(printable(name), count) for name, count in gathered.containers]
    for title, counted in (("CONTAINER", containers), ("PRIVILEGED PROGRAM", gained_by)):
        if counted:
            yield ""
            yield f"{'EXECS':>7}  {title}"
            yield from (f"{count:>7}  {name}" for name, count in counted)
    if gathered.longest:
        yield ""
        yield f"{'TOOK':>7}  LONGEST"
        for event in gathered.longest:
            took = None if event.end is None else event.end.duration_ns
            shown = UNKNOWN if took is None else brief_duration(took)
            yield f"{shown:>7}  {command_text(event, '', _ROOM, _CUT)}"
    if new is not None:
        yield ""
        yield f"{'EXECS':>7}  {f'FIRST {times.zone_name}':<{_TIME_WIDTH}}  NEW PROGRAM"
        for each in new:
            yield f"{each.execs:>7}  {times.text(each.first_ns):<{_TIME_WIDTH}}  {printable(each.exe)}"
        if not new:
            yield f"{'none':>7}"


def table_of(title: str, counted: Iterable[tuple[str, int]], whole: int) -> Iterator[str]:
    """Yields a header, and a line for each count with its share of the whole."""
    counted = list(counted)
    yield f"{title:<{NAME_WIDTH}} {'EXECS':>10} {'%':>6}"
    for name, count in counted:
        yield f"{padded(name, NAME_WIDTH)} {count:>10} {100 * count / whole:>6.1f}"
