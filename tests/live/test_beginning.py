"""The race between what is there and what is being started, while a recorder begins."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.live.lineage import by_id, end_of
from tests.live.recording import recording
from tests.truth.churning import churning
from tests.truth.processes import await_true

if TYPE_CHECKING:
    from tests.live.recording import Recorded, Row
    from tests.truth.churning import Born
    from tests.truth.programs import Programs

# `make faults` has more of them.
_STARTS = int(os.environ.get("EXECAUDIT_TEST_STARTS", "1"))


class Churned(NamedTuple):
    """What was born and died while a recorder was started."""

    recorded: Recorded
    born: dict[tuple[str, int], Born]
    rows: list[Row]
    """Those of it."""
    everything: dict[str, Row]

    def name(self, row: Row) -> tuple[str, int]:
        """Returns the line of descent and the number in it."""
        return row["argv"][2], int(row["argv"][3])

    def execs(self) -> dict[tuple[str, int], Row]:
        """Returns what was recorded as it happened."""
        return {self.name(row): row for row in self.rows if row["kind"] == "exec"}

    def execs_since_ready(self) -> dict[tuple[str, int], Row]:
        """Returns those after the recorder has said that it records."""
        ready_us = self.recorded.moments_us[1]
        return {name: row for name, row in self.execs().items() if self.born[name].boot_ns // 1000 > ready_us}

    def first(self, line: str) -> int:
        """Returns the number of the first exec of a line that was recorded as it happened."""
        return min(n for one, n in self.execs() if one == line)


@pytest.fixture(scope="module", params=range(_STARTS))
def churned(
    request: pytest.FixtureRequest, built: Programs, tmp_path_factory: pytest.TempPathFactory
) -> Churned:
    """Processes are born and die before, while and after a recorder starts, and end before it stops."""
    folder = tmp_path_factory.mktemp(f"churned-{request.param}")
    with churning(built, folder) as churn:
        await_true(churn.born)
        with recording(folder) as recorded:
            seen = len(churn.born())
            await_true(lambda: len(churn.born()) > seen + 200)
            churn.stop()
    rows = recorded.rows()
    ours = [row for row in rows if row["exe"] == str(built.churn) and len(row["argv"]) == 4]
    born = {(one.line, one.n): one for one in churn.born()}
    return Churned(recorded, born, ours, by_id(rows))


def test_no_exec_after_the_start_is_missing(churned: Churned) -> None:
    """From the first recorded exec of a line on, which is not later than the recorder was ready, all are."""
    ready_us = churned.recorded.moments_us[1]
    for line in {line for line, _ in churned.born}:
        first = churned.first(line)

        assert churned.born[line, first - 1].boot_ns // 1000 < ready_us
        assert [n for one, n in sorted(churned.born) if one == line and n >= first] == [
            n for one, n in sorted(churned.execs()) if one == line
        ]


def test_nothing_is_there_twice(churned: Churned) -> None:
    """What a process ran is a snapshot or an exec, and not both; what was forked from it is another one."""
    seen = Counter((churned.name(row), row["pid"]) for row in churned.rows)

    assert set(seen.values()) == {1}


def test_what_led_to_an_exec_is_there(churned: Churned) -> None:
    """Before the first recorded exec of a line something ran, and has a row, if only one that says so."""
    wrong = {}
    for (line, n), row in churned.execs().items():
        parent = churned.everything.get(row["parent_id"])
        if parent is None or not (parent["kind"] == "snapshot" or churned.name(parent) == (line, n - 1)):
            wrong[line, n] = parent and (parent["kind"], parent["argv"][2:])

    assert not wrong


def test_lines_of_descent_are_whole(churned: Churned) -> None:
    """Once the recorder has said that it records, what led to the Nth exec of a line is the one before."""
    for (line, n), row in churned.execs_since_ready().items():
        parent = churned.everything[row["parent_id"]]

        assert parent["kind"] == "exec" or (line, n - 1) not in churned.execs()
        assert parent["kind"] == "snapshot" or churned.name(parent) == (line, n - 1)


def test_all_that_was_there_has_an_end(churned: Churned) -> None:
    """All of it had ended when the recorder was told to stop; while it was being started, unseen at times."""
    execs = {end_of(row)[0] for row in churned.execs_since_ready().values()}
    others = {end_of(row)[0] for row in churned.rows}

    assert execs == {"exited", "replaced"}
    assert others <= {"exited", "replaced", "unknown"}


def test_snapshot_rows_are_linked_too(churned: Churned) -> None:
    """Each stands below a row that is there, but for those of which no more than the pid is known."""
    snapshots = [
        row for row in churned.everything.values() if row["kind"] == "snapshot" and row["comm"] is not None
    ]

    assert [row for row in snapshots if row["parent_id"] not in churned.everything] == [
        row for row in snapshots if row["pid"] in (1, 2)
    ]
