"""Sealed histories at a centre: what tests of their verification share."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from execaudit.fleet.central import open_engine
from execaudit.fleet.streams import Streams
from execaudit.fleet.verify import CentralResult, Wanted, verify
from execaudit.store.writer import Store
from tests.fleet.centre import central
from tests.fleet.recording import execs
from tests.histories import at, begin_run, make_event, make_exit, make_gap, make_hit
from tests.seal.histories import KEY, go_on

if TYPE_CHECKING:
    from pathlib import Path


def record(path: Path) -> None:
    """Execs with long lines, ends at once and later, gaps, rules that hit, and two runs."""
    with Store(path) as store:
        begin_run(store)
        store.begin_hunting()
        for first in (1, 21, 41):
            found = execs(first, first + 19)
            store.append(found, [make_gap(first, first + 1)])
            store.append((), (), [make_exit(each.key, 90) for each in found[::3]])
            store.append_hits([make_hit(first + 3), make_hit(first + 3, "two")], first + 19)
        store.end_run(at(70))
        begin_run(store)
        go_on(store, 30, size=2, after=100)
        store.append([make_event(b"x" * 4000, seconds=5000, pid=4000)])


def found_in(url: str, *, key: bool = True) -> CentralResult:
    """Verifies the first history in this process."""
    keys = {KEY.chain: KEY} if key else {}
    with open_engine(central(url)) as engine:
        (stream, *_) = Streams(engine).all
        return verify(engine, stream, Wanted(keys, (), None), time.time_ns(), lambda _: None)


def kinds(found: CentralResult) -> set[tuple[str, str]]:
    """Returns what is wrong with which tables."""
    return {(each.kind, each.table) for each in found.problems}


def record_more(path: Path) -> None:
    """Records a second time, with an earlier recorder that did not end."""
    with Store(path) as store:
        begin_run(store)
        go_on(store, 10, size=5, after=1800)
