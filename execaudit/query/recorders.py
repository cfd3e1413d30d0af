"""When nobody recorded, from what recorders noted of themselves, and until when the history is complete."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from execaudit.database import files, writer_lock
from execaudit.database.imports import IS_IMPORT
from execaudit.enums import GapReason
from execaudit.event import Gap, Nanoseconds
from execaudit.query import globs
from execaudit.query.rows import Recording
from execaudit.system import clock

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Container, Iterable, Iterator, Sequence

_Times = tuple[Nanoseconds, Nanoseconds]
# A recorder at rest notes once a minute that nothing happened (see daemon/recorder.py).
_STALLED_NS = 90_000_000_000
# The probe sends an exec so long after it happened, at most: it may lack in what was read just then.
_IN_FLIGHT_NS = 100_000_000


class Live(NamedTuple):
    """The recorder that writes the history now."""

    number: int
    """Of its row."""
    host: str
    started_ns: Nanoseconds
    seen_ns: Nanoseconds | None
    """Wall clock until which all that it captured is stored; None: nothing is."""


class Complete(NamedTuple):
    """Until when a history has all execs of hosts."""

    until_ns: Nanoseconds | None
    """Wall clock; None: nothing more comes."""
    held_by: tuple[str, ...] = ()
    """The hosts for which it is so long ago, if it is two minutes ago or more."""
    left_out: tuple[str, ...] = ()
    """The hosts that were not heard of for so long that they do not count: what they have comes later."""


class Silence(NamedTuple):
    """A time in which nobody recorded a host."""

    host: str | None
    """None: nobody ever recorded into this history, whatever host."""
    from_ns: Nanoseconds | None
    """None: always, before."""
    to_ns: Nanoseconds | None
    """None: it goes on."""
    is_stalled: bool = False
    """There is a recorder, which has written nothing since."""
    is_central: bool = False
    """It is known from what hosts shipped, or did not ship."""


def live(connection: sqlite3.Connection) -> Live | None:
    """Returns who records now: the newest run, if it has not stopped and a process holds its lock.

    If this user may not read the lock's file, and the kernel does not list the lock, the time of the last
    write decides.
    """
    row = connection.execute(
        "SELECT id, host, started_ns, seen_ns, stopped_ns FROM run ORDER BY id DESC LIMIT 1"
    ).fetchone()
    if row is None or row[4] is not None:
        return None
    recorder, path = Live(*row[:4]), database_of(connection)
    if not writer_lock.is_held(path) and (writer_lock.is_readable(path) or not _is_fresh(recorder)):
        return None
    return recorder


def recording(connection: sqlite3.Connection) -> Recording:
    """Returns what is being recorded now."""
    recorder = live(connection)
    if recorder is None:
        return Recording(None, 0)
    lost = connection.execute(
        "SELECT max(ts_to) FROM gap WHERE run_id = ? AND exits > 0", (recorder.number,)
    ).fetchone()
    if lost[0]:
        return Recording(recorder.number, lost[0])
    row = connection.execute("SELECT value FROM meta WHERE key = 'continued'").fetchone()
    return Recording(recorder.number, 0, frozenset() if row is None else _continued(row[0], recorder.number))


@lru_cache(1)
def _continued(value: bytes, run_id: int) -> frozenset[int]:
    """Returns the execs of earlier runs that ran when this one began, from what the writer noted."""
    try:
        noted, numbers = json.loads(value)
        return frozenset(numbers) if noted == run_id else frozenset()
    except (TypeError, ValueError) as exc:
        raise files.damaged(f"the history is damaged: what ran before makes no sense ({exc})") from exc


def _is_fresh(recorder: Live) -> bool:
    seen_ns = recorder.started_ns if recorder.seen_ns is None else recorder.seen_ns
    return abs(clock.wall_ns() - seen_ns) < _STALLED_NS


def database_of(connection: sqlite3.Connection) -> Path:
    """Returns the file that a connection has open."""
    # As bytes: a path need not be UTF-8.
    main = "SELECT CAST(file AS BLOB) FROM pragma_database_list WHERE name = 'main'"
    return Path(os.fsdecode(connection.execute(main).fetchone()[0]))


def newest_host(connection: sqlite3.Connection) -> str | None:
    """Returns the host whose history this is: the last one that was recorded, else imported."""
    row = connection.execute(f"SELECT host FROM run ORDER BY {IS_IMPORT}, id DESC LIMIT 1").fetchone()  # noqa: S608  # ours
    return None if row is None else str(row[0])


def complete_until(connection: sqlite3.Connection, hosts: Sequence[str] = ()) -> Nanoseconds | None:
    """Returns until when (wall clock) the history has all execs; None: nobody records, nothing comes."""
    recorder = live(connection)
    if recorder is None or (hosts and not globs.matching_names(hosts)(recorder.host)):
        return None
    return complete_of(recorder.started_ns, recorder.seen_ns)


def complete_of(started_ns: int, seen_ns: int | None) -> Nanoseconds:
    """Returns until when all that a recorder captured is stored, from what it noted of itself."""
    return Nanoseconds(started_ns if seen_ns is None else seen_ns - _IN_FLIGHT_NS)


def silences(
    connection: sqlite3.Connection, hosts: Sequence[str], stored: Iterable[Gap], *, now_ns: int
) -> list[Silence]:
    """Returns when nobody recorded these hosts (all, if none is named), without the times of stored gaps.

    Hosts are globs. One that no host is named by is a host that nobody recorded.
    """
    rows = connection.execute(
        f"SELECT host, started_ns, coalesce(stopped_ns, seen_ns, started_ns), {IS_IMPORT} FROM run ORDER BY id"  # noqa: S608  # ours
    ).fetchall()
    recorder = live(connection)
    return silences_of(
        rows, hosts, stored, recorded=() if recorder is None else (recorder.host,), now_ns=now_ns
    )


def silences_of(
    rows: Iterable[tuple[str, Nanoseconds, Nanoseconds, object]],
    hosts: Sequence[str],
    stored: Iterable[Gap],
    *,
    recorded: Container[str],
    now_ns: int,
) -> list[Silence]:
    """Returns the same from rows of runs: host, beginning, end, and whether it was an import.

    Those of a host are in the order in which they were begun. `recorded`: hosts that are recorded now.
    """
    runs: dict[str, list[_Times]] = {host: [] for host in hosts if not globs.is_wild(host)}
    imported: set[str] = set()
    is_wanted = globs.matching_names(hosts)
    for host, started, until, is_import in rows:
        if not hosts or is_wanted(host):
            runs.setdefault(host, []).append((started, until))
            imported |= {host} if is_import else set()
    for glob in filter(globs.is_wild, hosts):
        if not any(map(globs.matching_names([glob]), runs)):
            runs[glob] = []
    if not runs:
        return [Silence(None, None, None)]
    stops = [gap for gap in stored if gap.reason is GapReason.RECORDER_STOPPED]
    found: list[Silence] = []
    for host, times in runs.items():
        if host in imported:
            # It may be older than what was recorded before. Recorders alone stay in the order in which they
            # ran: where the clock was set back, nothing is silent.
            times.sort()
        said = sorted((gap.from_ns, gap.to_ns) for gap in stops if gap.host == host)
        found += _of_host(host, times, said, is_recorded=host in recorded, now_ns=now_ns)
    return found


def _of_host(
    host: str, runs: Sequence[_Times], said: Sequence[_Times], *, is_recorded: bool, now_ns: int
) -> Iterator[Silence]:
    if not runs:
        yield Silence(host, None, None)
        return
    end = runs[0][0]
    yield Silence(host, None, end)
    for started, until in runs:
        for part in _without((end, started), said):
            yield Silence(host, *part)
        end = max(end, until)
    if not is_recorded:
        yield Silence(host, end, None)
    elif now_ns - end > _STALLED_NS:
        yield Silence(host, end, None, is_stalled=True)


def _without(times: _Times, said: Sequence[_Times]) -> Iterator[_Times]:
    """Yields what of the time between two runs no stored gap covers; nothing where the clock was set back."""
    start, end = times
    for low, high in said:
        if high <= start or low >= end:
            continue
        if low > start:
            yield start, low
        start = max(start, high)
    if start < end:
        yield start, end


def overlaps(silence: Silence, since_ns: int | None, until_ns: int | None) -> bool:
    """Says whether a silence is to be told to somebody who asks for a range of times.

    Without a beginning of the range, the time before the first recorder does not count, unless the range has
    nothing else.
    """
    if silence.from_ns is None and silence.to_ns is not None and since_ns is None:
        return until_ns is not None and until_ns <= silence.to_ns
    return (silence.to_ns is None or since_ns is None or silence.to_ns > since_ns) and (
        silence.from_ns is None or until_ns is None or silence.from_ns < until_ns
    )
