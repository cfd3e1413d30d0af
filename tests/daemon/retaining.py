"""Fill a history, prune it as a recorder or a user does, and look at it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from execaudit.daemon.retention import Retention
from execaudit.enums import Kind
from execaudit.event import ExecEvent, Gap, Nanoseconds
from execaudit.store import prune, prune_plan
from execaudit.store.sealing import Sealer
from execaudit.store.writer import Store
from tests.histories import BOOT_ID, HOST, begin_run, make_event, make_exit, now_at

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from execaudit.daemon.wait_for import WaitFor
    from execaudit.store.limits import Limits

DAY = 86_400
HOUR = 3600


def opened(path: Path) -> closing[sqlite3.Connection]:
    """Opens the database, in autocommit mode."""
    return closing(sqlite3.connect(path, isolation_level=None))


def ended(numbers: Iterable[int], *, text: bytes = b"", step: float = 1, **values: Any) -> list[ExecEvent]:  # noqa: ANN401  # any field
    """Returns an exec for each number. The number is its pid; times are `step` seconds apart."""
    return [make_event(b"%d" % n, text, seconds=n * step, **{"pid": n, **values}) for n in numbers]


def stored(path: Path, events: list[ExecEvent], gaps: Iterable[Gap] = ()) -> None:
    """Adds execs that have all ended."""
    with Store(path) as store:
        begin_run(store)
        store.append(
            events, list(gaps), [make_exit(e.key, 10**6) for e in events if e.kind is not Kind.FAILED]
        )


def pids(path: Path) -> list[int]:
    """Returns the pids in the order of recording."""
    with opened(path) as connection:
        return [row[0] for row in connection.execute("SELECT pid FROM exec ORDER BY id")]


def prunings(path: Path) -> int:
    """Returns how often the history was pruned."""
    with opened(path) as connection:
        return int(connection.execute("SELECT count(*) FROM pruned").fetchone()[0])


def pruned(path: Path, wanted: Limits, seconds: float) -> None:
    """Prunes at a moment, as `db prune` does, until nothing more may be deleted."""
    with opened(path) as connection:
        now = now_at(seconds)
        while (plan := prune_plan.plan(connection, wanted, now)) is not None:
            list(prune.prune(connection, plan, now, Sealer(path)))


def worked(path: Path, wanted: Limits, turns: int = 20, *, waits: WaitFor | None = None) -> Retention:
    """Has a recorder's retention check the history so many times, without waiting."""
    with Store(path) as store:
        begin_run(store)
        kept = Retention(path, BOOT_ID, wanted, host=HOST)
        kept.wait_for = waits
        for _ in range(turns):
            kept._next_look = 0
            kept.work(store)
    return kept


def days(number: float) -> Nanoseconds:
    """Returns a length of time."""
    return Nanoseconds(round(number * DAY * 10**9))


def chain(count: int, size: int) -> list[ExecEvent]:
    """Returns execs of one process; each replaced the previous one."""
    events: list[ExecEvent] = []
    for n in range(count):
        argv = b"head%d\0" % n + b"%d," % n * (size // 4) + b"\0tail%d\0" % n
        before = events[-1] if events else None
        events.append(
            make_event(seconds=n, pid=66, uid=65_534)._replace(
                argv=argv, argc=3, argv_bytes=len(argv),
                parent=None if before is None else before.key, replaces=before is not None,
            )
        )  # fmt: skip
    return events
