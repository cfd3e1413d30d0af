"""Which execs a history has to give up so that its limits are kept. Reads the history, changes nothing.

The wall clock may be wrong, and may be stepped. So each segment is judged by itself; for execs of the
running boot the boot clock decides; and what was recorded later than now is of unknown age: it does not go
for its age.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.enums import GapReason
from execaudit.event import Nanoseconds

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from execaudit.store.limits import Limits

# Below the limit by so much, so that it is not reached again at once.
_TARGET = 0.9
# A pruning reads the whole history, so it must delete at least this part of it: one in so many execs.
_LEAST_PART = 50
# Execs differ in size, so one pruning may not be enough. Not many more than this should be needed.
_STEPS = 8
# So few are looked at one by one.
_FEW = 20_000
_EXEC_BYTES = 100  # with its indexes
# Above the age by this part of it, for the same reason.
_SLACK_PART = 100
NEARLY_ALL = 0.9
"""A plan by age that deletes so much of what it judges first is more likely a wrong clock."""
_DAY_NS = 86_400 * 1_000_000_000
# NTP corrects by less: ages do not depend on it.
_STEP_NS = 60 * 1_000_000_000


class Now(NamedTuple):
    """The moment at which ages are judged."""

    boot_id: str
    wall_ns: int
    boot_ns: int
    started_of: Callable[[int], int | None] | None = None
    """When the process that has a pid was started, see procfs.start_lookup(). None: only the history is asked
    whether a program still runs."""


class Plan(NamedTuple):
    """Which execs are to be deleted."""

    top: int
    """The highest number of an exec that may go."""
    until_ns: Nanoseconds
    """Wall clock: what is older than this may be gone."""
    reason: str
    """`age`: of these only what is too old. `size`: all of them."""
    share: float = 0.0
    """By age: how much of what is judged for the first time goes."""


class Segment(NamedTuple):
    """A row of `seg`, and the clocks of its first and its last exec."""

    low: int
    high: int
    ts_min: int
    ts_max: int
    first_clock: int | None
    last_clock: int | None


class Ages:
    """How old execs are, whatever was done to the wall clock."""

    def __init__(self, connection: sqlite3.Connection, now: Now) -> None:
        self._now = now
        self._clocks: dict[int, int | None] = {
            number: offset if boot_id == now.boot_id else None
            for number, offset, boot_id in connection.execute(
                "SELECT k.id, k.offset_ns, r.boot_id FROM clock AS k JOIN run AS r ON r.id = k.run_id"
            )
        }

    def of(self, clock_id: int | None, ts: int) -> int | None:
        """Returns nanoseconds, given two columns of an exec; None: later than now, so not known."""
        offset = None if clock_id is None else self._clocks.get(clock_id)
        if offset is not None:
            return self._now.boot_ns - (ts - offset)
        return self._now.wall_ns - ts if ts <= self._now.wall_ns else None

    def at_least(self, clock_id: int | None, ts: int) -> int:
        """Returns how old it is for certain: of another boot, it is older than the running one."""
        age = self.of(clock_id, ts)
        known = clock_id is not None and self._clocks.get(clock_id) is not None
        return age if known and age is not None else max(age or 0, self._now.boot_ns)

    def is_older(self, clock_id: int | None, ts: int, than_ns: int) -> bool:
        """Says whether it is known to be older."""
        age = self.of(clock_id, ts)
        return age is not None and age > than_ns


def plan(connection: sqlite3.Connection, limits: Limits, now: Now, *, lazily: bool = False) -> Plan | None:
    """Returns what is to go so that the limits are kept; None if they are, or nothing may go.

    `lazily`: only when there is enough of it.
    """
    plans = [unfinished(connection)]
    if limits.max_age_ns is not None:
        plans.append(by_age(connection, limits.max_age_ns, now, lazily=lazily))
    if limits.max_bytes is not None:
        plans.append(by_size(connection, limits.max_bytes, limits.min_age_ns, now, lazily=lazily))
    return next((each for each in plans if each is not None), None)


def unfinished(connection: sqlite3.Connection) -> Plan | None:
    """Returns the plan of a pruning that was killed: rows that nothing needs may still be there."""
    row = connection.execute(
        "SELECT top, ts_to, reason FROM pruned WHERE NOT finished ORDER BY top DESC LIMIT 1"
    ).fetchone()
    return None if row is None else Plan(*row)


def by_age(connection: sqlite3.Connection, max_age_ns: int, now: Now, *, lazily: bool = False) -> Plan | None:
    """Returns what is to go because it is too old."""
    ages, done = Ages(connection, now), _done(connection)
    until_ns = Nanoseconds(max(now.wall_ns - max_age_ns, 0))
    judged_ns = _number(connection, "SELECT max(ts_to) FROM pruned WHERE finished AND reason = 'age'")
    top = gone = fresh = oldest = 0
    for segment in _segments(connection):
        span = segment.high - segment.low + 1
        is_new = segment.low > done
        fresh += span if is_new else 0
        if segment.first_clock is None or (not is_new and segment.ts_max < judged_ns):
            continue  # all that could go of it has gone
        found = _too_old(connection, ages, segment, max_age_ns, (done, judged_ns))
        if found is not None:
            top = max(top, found.high)
            gone += found.execs if is_new else 0
            oldest = max(oldest, found.age_ns)
    if not top or (lazily and oldest < max_age_ns + max_age_ns // _SLACK_PART):
        return None
    return Plan(max(top, done), until_ns, "age", gone / fresh if fresh else 0.0)


class _Old(NamedTuple):
    """The execs of a segment that are too old, and were not judged before."""

    high: int
    execs: int
    age_ns: int
    """Of the oldest."""


def _too_old(
    connection: sqlite3.Connection, ages: Ages, segment: Segment, max_age_ns: int, judged: tuple[int, int]
) -> _Old | None:
    done, judged_ns = judged
    if segment.first_clock == segment.last_clock:
        clock_id = segment.first_clock
        if not ages.is_older(clock_id, segment.ts_min, max_age_ns):
            return None
        if segment.low > done and ages.is_older(clock_id, segment.ts_max, max_age_ns):
            oldest = ages.of(clock_id, segment.ts_min) or 0
            return _Old(segment.high, segment.high - segment.low + 1, oldest)
    found = [
        (number, ages.of(clock_id, ts) or 0)
        for number, clock_id, ts in connection.execute(
            "SELECT id, clock_id, ts FROM exec WHERE id BETWEEN ? AND ?", (segment.low, segment.high)
        )
        if ages.is_older(clock_id, ts, max_age_ns) and (number > done or ts >= judged_ns)
    ]
    return _Old(found[-1][0], len(found), max(age for _, age in found)) if found else None


def by_size(
    connection: sqlite3.Connection, max_bytes: int, min_age_ns: int, now: Now, *, lazily: bool = False
) -> Plan | None:
    """Returns what is to go because there is too much; nothing of it is younger than `min_age_ns`."""
    size = used_bytes(connection)
    if size <= max_bytes:
        return None
    done, before = _done(connection), _first_young(connection, min_age_ns, now)
    within = {"done": done, "before": before}
    may_go = _number(connection, "SELECT count(*) FROM exec WHERE id > :done AND id < :before", within)
    whole = _number(connection, "SELECT count(*) FROM exec")
    least = max(whole // _LEAST_PART, 1) if lazily else 1
    if may_go < least:
        return None
    # Assumes that all have one size; if the history is still too large afterwards, the next plan goes on.
    gone = min(max(int(whole * (size - _TARGET * max_bytes) / size), least, may_go // _STEPS), may_go)
    if may_go <= _FEW:
        gone = max(_enough(connection, within, size - _TARGET * max_bytes), least)
    within["offset"] = gone - 1
    top = _number(
        connection,
        "SELECT id FROM exec WHERE id > :done AND id < :before ORDER BY id LIMIT 1 OFFSET :offset",
        within,
    )
    # A time later than now says nothing of how far it is pruned.
    until = _number(
        connection,
        "SELECT max(CASE WHEN ts_max > :now THEN ts_min ELSE ts_max END) FROM seg WHERE id_lo <= :top"
        " AND ts_min <= :now",
        {"top": top, "now": now.wall_ns},
    )
    return Plan(top, Nanoseconds(until), "size")


def _enough(connection: sqlite3.Connection, within: dict[str, int], wanted_bytes: float) -> int:
    """Returns how many of the oldest execs take so many bytes; all, if they do not."""
    number, size = 0, 0.0
    seen = set()
    for argv_id, length in connection.execute(
        "SELECT e.argv_id, length(a.v) FROM exec AS e JOIN argv AS a ON a.id = e.argv_id"
        " WHERE e.id > :done AND e.id < :before ORDER BY e.id",
        within,
    ):
        number += 1
        size += _EXEC_BYTES + (0 if argv_id in seen else length)
        seen.add(argv_id)
        if size >= wanted_bytes:
            break
    return number


def used_bytes(connection: sqlite3.Connection) -> int:
    """Returns the bytes of the pages that have something in them."""
    pages = _number(connection, "PRAGMA page_count") - _number(connection, "PRAGMA freelist_count")
    return pages * _number(connection, "PRAGMA page_size")


def free_bytes(connection: sqlite3.Connection) -> int:
    """Returns the bytes of the pages that have nothing in them."""
    return _number(connection, "PRAGMA freelist_count") * _number(connection, "PRAGMA page_size")


def is_time_doubtful(connection: sqlite3.Connection, now: Now) -> bool:
    """Says whether the wall clock was stepped, and has not held for a day since."""
    stepped = [
        # Back: `to` is what the clock said before, and may be later than now.
        ts_to if ts_to <= now.wall_ns else ts_from
        for ts_from, ts_to in connection.execute(
            "SELECT ts_from, ts_to FROM gap WHERE reason = ? AND ts_to - ts_from >= ? ORDER BY id DESC LIMIT 100",
            (GapReason.CLOCK.value, _STEP_NS),
        )
    ]
    before: int | None = None
    for offset, started_ns in connection.execute(
        "SELECT k.offset_ns, r.started_ns FROM clock AS k JOIN run AS r ON r.id = k.run_id"
        " WHERE r.boot_id = ? ORDER BY k.id",
        (now.boot_id,),
    ):
        # A step while nobody recorded is in no gap.
        if before is not None and abs(offset - before) >= _STEP_NS:
            stepped.append(started_ns)
        before = offset
    if before is not None and abs(now.wall_ns - now.boot_ns - before) >= _STEP_NS:
        return True
    return any(now.wall_ns - at_ns < _DAY_NS for at_ns in stepped)


def _segments(connection: sqlite3.Connection) -> Iterator[Segment]:
    """Yields them in the order of recording."""
    for row in connection.execute(
        "SELECT id_lo, id_hi, ts_min, ts_max,"
        " (SELECT clock_id FROM exec WHERE id BETWEEN id_lo AND id_hi ORDER BY id LIMIT 1),"
        " (SELECT clock_id FROM exec WHERE id BETWEEN id_lo AND id_hi ORDER BY id DESC LIMIT 1)"
        " FROM seg ORDER BY id_lo"
    ).fetchall():
        yield Segment(*row)


def _first_young(connection: sqlite3.Connection, min_age_ns: int, now: Now) -> int:
    """Returns the lowest number of an exec that may be younger, given that they are in order."""
    ages = Ages(connection, now)
    lowest = _number(connection, "SELECT max(id) FROM exec") + 1
    if min_age_ns <= 0:
        return lowest
    for low, high in connection.execute("SELECT id_lo, id_hi FROM seg ORDER BY id_lo DESC"):
        row = connection.execute(
            "SELECT id, clock_id, ts FROM exec WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 1", (low, high)
        ).fetchone()
        if row is None:
            continue
        if ages.at_least(*row[1:]) <= min_age_ns:
            lowest = row[0]
            continue
        for number, clock_id, ts in connection.execute(
            "SELECT id, clock_id, ts FROM exec WHERE id BETWEEN ? AND ? ORDER BY id DESC", (low, high)
        ):
            if ages.at_least(clock_id, ts) > min_age_ns:
                break
            lowest = number
        break
    return lowest


def is_more(connection: sqlite3.Connection, top: int) -> bool:
    """Says whether a pruning up to a number looks at any that earlier ones did not."""
    return top > _done(connection)


def _done(connection: sqlite3.Connection) -> int:
    return _number(connection, "SELECT max(top) FROM pruned WHERE finished")


def _number(connection: sqlite3.Connection, sql: str, given: dict[str, int] | None = None) -> int:
    """Returns a number, 0 for NULL or no row."""
    row = connection.execute(sql, given or {}).fetchone()
    return int((row and row[0]) or 0)


class Preview(NamedTuple):
    """The most that a plan would delete."""

    execs: int
    first_ns: int | None
    last_ns: int | None
    share: float
    """Of all execs."""


def preview(connection: sqlite3.Connection, wanted: Plan, limits: Limits, now: Now) -> Preview:
    """Returns what would be deleted at most: programs that run, and ancestors that stay, are counted too."""
    ages = Ages(connection, now)
    by_clock = connection.execute("SELECT id, clock_id, ts FROM exec WHERE id <= ?", (wanted.top,))
    times = [
        ts
        for _, clock_id, ts in by_clock
        if wanted.reason == "size" or ages.is_older(clock_id, ts, limits.max_age_ns or 0)
    ]
    every = _number(connection, "SELECT count(*) FROM exec")
    if not times:
        return Preview(0, None, None, 0.0)
    return Preview(len(times), min(times), max(times), len(times) / every if every else 0.0)
