"""Questions about a few execs are planned for a few days, however many there are: that is counted."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

from execaudit.central import postgresql
from execaudit.central.postgresql_functions import DAY_NS
from execaudit.central.tables import EXEC
from execaudit.event import ExecEvent, Nanoseconds
from execaudit.fleet.central_history import CentralHistory
from execaudit.fleet.postgresql_reader import PostgresReader
from execaudit.forward.postgresql_target import PostgresTarget
from execaudit.query.filter import Filter
from execaudit.store.writer import Run, Store
from tests.fleet.centre import Centre, central, ship
from tests.histories import BOOT_ID, make_ran

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from execaudit.fleet.engine import Row

DAYS = 40
_PARTITION = re.compile(r"\b(?:exec|exit|hit)_(\d{8}|default)\b")


class _Planned(PostgresReader):
    """Notes how many days each statement is planned for."""

    most = 0
    widest = ""

    def rows(self, sql: str, parameters: Mapping[str, object]) -> list[Row]:
        """Asks for the plan first."""
        plan = super().rows(f"EXPLAIN {sql}", parameters)
        days = {day for (line,) in plan for day in _PARTITION.findall(line)}
        if len(days) > self.most:
            self.most, self.widest = len(days), sql
        return super().rows(sql, parameters)


@pytest.fixture
def planned(centre: Centre, tmp_path: Path) -> Iterator[tuple[_Planned, CentralHistory]]:
    """Returns a central database with two hosts, each with a program that executes others each day."""
    start = (time.time_ns() // DAY_NS - DAYS) * DAY_NS
    for place, host in enumerate(("web1", "db1")):
        path = tmp_path / f"{host}.db"
        events: list[ExecEvent] = []
        parent = None
        for day in range(DAYS):
            for number in range(3):
                at = Nanoseconds(day * DAY_NS + number * 10**9 + place)
                event = make_ran(
                    b"sh" if parent is None else b"ls",
                    host=host,
                    time_ns=Nanoseconds(start + at),
                    boot_ns=Nanoseconds(10**9 + at),
                    pid=1 + len(events),
                    parent=parent,
                )
                events.append(event)
                parent = events[0].key if number else event.key
        with Store(path) as store:
            store.begin_run(Run(boot_id=BOOT_ID, host=host, version="0", started_ns=Nanoseconds(start)))
            store.append(events)
        ship(path, centre.url)
    location = central(centre.url)
    with postgresql.connected(location, reads=True) as connection:
        engine = _Planned(connection, location)
        yield engine, CentralHistory(engine)


def _newest(history: CentralHistory, wanted: Filter) -> list[int]:
    return [found.number for found in history.find(wanted)]


_ASKED: dict[str, Callable[[CentralHistory], object]] = {
    "the newest of all hosts": lambda history: _newest(history, Filter(limit=3)),
    "a day of a host": lambda history: _newest(
        history, Filter(since_ns=Nanoseconds(time.time_ns() - DAY_NS), hosts=("web1",))
    ),
    "when it began and ended": lambda history: history.times(Filter()),
    "who is somebody": lambda history: history.has_user(b"nobody") or history.uids_of(b"root"),
}


@pytest.mark.parametrize("name", _ASKED)
def test_a_question_about_few_execs_is_planned_for_few_days(
    planned: tuple[_Planned, CentralHistory], name: str
) -> None:
    """Without a range of time, too."""
    engine, history = planned
    engine.most = 0
    assert _ASKED[name](history) is not None
    assert engine.most <= 4, engine.widest


def test_an_exec_and_its_relatives_are_planned_for_their_days(
    planned: tuple[_Planned, CentralHistory],
) -> None:
    """To show one: by its id, with its ancestors, its siblings and its children."""
    engine, history = planned
    (number,) = _newest(history, Filter(limit=1, hosts=("web1",)))
    engine.most = 0
    (found,) = history.fetch([number])
    assert number == history.locate(found.event.key)
    kin = [*history.lineage([number])]
    assert 2 == len(kin)
    assert [] == history.children(number, most=20)
    assert 0 == history.count_children(number, most=20)
    assert {} == history.hits_of([number])
    assert [number] == [*history.descendants([number])]
    assert [number] == [*history.users_of([number])]
    assert engine.most <= 4, engine.widest


def test_a_forwarder_that_begins_asks_for_the_day_of_its_last_exec(
    planned: tuple[_Planned, CentralHistory], centre: Centre
) -> None:
    """A thousand of them may begin at once: its statements take the locks of one day."""
    del planned
    ((stream, last),) = centre.rows("SELECT stream, exec_seq FROM stream LIMIT 1")
    ((ts, pid),) = centre.rows("SELECT ts, pid FROM exec WHERE stream = %s AND seq = %s", stream, last)
    target = PostgresTarget(central(centre.url), lambda: None)
    with target._cursor() as cursor, cursor.connection.transaction():  # to see its locks
        assert {last: (ts, pid)} == target.signatures(EXEC, stream, [last])
        locked = cursor.execute(
            "SELECT relation::regclass::text FROM pg_locks WHERE pid = pg_backend_pid() AND relation IS NOT NULL"
        ).fetchall()
    target.close()
    assert 1 == len({name for (name,) in locked if re.fullmatch(r"exec_(\d{8}|default)", name)})
