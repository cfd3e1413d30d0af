"""Record into a history that is forwarded, and prune it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from execaudit.database import files
from execaudit.event import ExecEvent, Nanoseconds
from execaudit.store import prune, prune_plan
from execaudit.store.limits import Limits
from execaudit.store.sealing import Sealer
from execaudit.store.writer import Store
from tests.histories import at, begin_run, make_event, make_exit, make_gap, make_hit, now_at

if TYPE_CHECKING:
    from pathlib import Path


def execs(first: int, last: int) -> list[ExecEvent]:
    """Returns execs of which each has its number as pid, and happens that many seconds after the start."""
    return [make_event(b"a", b"%d" % n, seconds=n, pid=n, tid=n) for n in range(first, last + 1)]


def appended(path: Path, first: int, last: int) -> None:
    """Appends execs to a history, and ends of some that are there."""
    with Store(path) as store:
        begin_run(store)
        found = execs(first, last)
        store.append(found, [make_gap(first, last)])
        store.append((), (), [make_exit(each.key, last + 1) for each in found[::3]])
        store.append_hits([make_hit(last)], last)
        store.end_run(at(last))


def pruned(path: Path, keep_seconds: float, now: float) -> None:
    """Deletes what is older at a moment of a later boot: then nothing runs any more."""
    moment = now_at(now, "99999999-2222-4333-8444-555555555555")
    limits = Limits(max_age_ns=Nanoseconds(int(keep_seconds * 1e9)))
    with closing(files.open_to_write(path, busy_seconds=5)) as connection:
        while (wanted := prune_plan.plan(connection, limits, moment)) is not None:
            for _ in prune.prune(connection, wanted, moment, Sealer(path)):
                pass
