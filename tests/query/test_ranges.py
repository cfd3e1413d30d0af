"""Ranges of time over a wall clock that was stepped: every edge, beside every other filter."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from execaudit.enums import Ended
from execaudit.event import End, Nanoseconds
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.store import inserts
from execaudit.store.writer import Store
from tests.examples import examples
from tests.histories import begin_run, make_event
from tests.query.filter_model import alone, filter_of, found, reference

if TYPE_CHECKING:
    from execaudit.event import ExecEvent

_LAST = 2**63 - 1
_HOUR = 3600


class Step(NamedTuple):
    """Somebody sets the clock, after so many more execs."""

    execs: int
    by: int
    restarted: bool
    """The recorder is started anew then; else the run goes on."""


steps = st.lists(
    st.builds(Step, st.integers(1, 9), st.sampled_from((-_HOUR, -6, -1, 0, 1, 5, _HOUR)), st.booleans()),
    min_size=1,
    max_size=5,
)


def stepped(clock_steps: list[Step]) -> list[list[list[ExecEvent]]]:
    """Returns what is stored of each run, batch by batch: an exec each tick of the boot clock."""
    runs: list[list[list[ExecEvent]]] = [[]]
    boot_ns, offset = 0, 2 * _HOUR
    for step in clock_steps:
        batch = []
        for _ in range(step.execs):
            boot_ns += 1
            name = (b"a", b"b", b"ab")[boot_ns % 3]
            batch.append(
                make_event(
                    name, b"-l",
                    comm=name,
                    pid=boot_ns % 4,
                    ppid=boot_ns % 3,
                    boot_ns=Nanoseconds(boot_ns),
                    time_ns=Nanoseconds(boot_ns + offset),
                )
            )  # fmt: skip
        runs[-1].append(batch)
        offset += step.by
        if step.restarted:
            runs.append([])
    return runs


def edges(events: list[ExecEvent]) -> list[Nanoseconds]:
    """Returns each moment at which an answer can change, those beside it, and the ends of time."""
    moments = {event.time_ns + beside for event in events for beside in (-1, 0, 1)}
    return [Nanoseconds(moment) for moment in sorted(moments | {0, _LAST})]


@examples(15)
@given(
    steps,
    st.lists(
        st.tuples(st.randoms(use_true_random=False), st.lists(alone, max_size=2)), min_size=1, max_size=12
    ),
)
@example([Step(9, -_HOUR, restarted=False), Step(9, _HOUR, restarted=False), Step(9, 0, restarted=False)], [])
def test_a_range_has_what_happened_in_it(
    tmp_path_factory: pytest.TempPathFactory, clock_steps: list[Step], asked: list[tuple[Any, list[Any]]]
) -> None:
    """From any edge, until any, and between any two: what the wall clock says, in the order of recording."""
    path = tmp_path_factory.mktemp("history") / "history.db"
    runs = stepped(clock_steps)
    with pytest.MonkeyPatch.context() as patched, Store(path) as store:
        patched.setattr(inserts, "BATCH_EVENTS", 4)
        for run in runs:
            begin_run(store)
            for batch in run:
                store.append(batch)
    unknown = End(Ended.UNKNOWN)
    everything = [event._replace(end=unknown) for run in runs for batch in run for event in batch]
    moments = edges(everything)
    wanted = [Filter(since_ns=moment) for moment in moments]
    wanted += [Filter(until_ns=moment) for moment in moments]
    for random, chosen in asked:
        since, until = random.choice(moments), random.choice(moments)
        wanted.append(replace(filter_of(chosen), since_ns=since, until_ns=until))
    with open_history(path) as connection:
        for each in wanted:
            expected = reference(everything, each)
            assert expected == found(connection, each)
            assert len(expected) == find.count(connection, each)
