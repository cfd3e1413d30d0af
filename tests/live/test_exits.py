"""How programs end, against what their parents' wait returned, and how long they had run."""

from __future__ import annotations

import subprocess
from collections import Counter, defaultdict
from subprocess import DEVNULL
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.commands import NO_FAILED
from tests.live.lineage import by_id, end_by_status, end_of, execs_of
from tests.live.recording import paused, recording
from tests.truth import lives
from tests.truth.acts import Playing
from tests.truth.lives import LIVES, Image
from tests.truth.processes import await_true
from tests.truth.sizes import sized

if TYPE_CHECKING:
    from tests.live.conftest import History
    from tests.live.recording import Row
    from tests.truth.programs import Programs

_STORM = sized(3000)

each_life = pytest.mark.parametrize("name", LIVES)


class Lived(NamedTuple):
    """What has ended under one recorder."""

    images: dict[str, list[Image]]
    """What was run in each life."""
    rows: list[Row]
    of_pid: dict[int, list[Row]]
    """The successful execs of a pid, in their order."""
    while_running: Row
    """The record of a program that had not ended."""
    afterwards: Row
    """The same, when the recorder had stopped before the program."""

    def pairs(self, name: str) -> list[tuple[Image, Row]]:
        """Returns what was run in a life, each with its record."""
        rows = {pid: iter(self.of_pid[pid]) for pid in {image.pid for image in self.images[name]}}
        return [(image, next(rows[image.pid])) for image in self.images[name]]


@pytest.fixture(scope="module")
def lived(built: Programs, tmp_path_factory: pytest.TempPathFactory) -> Lived:
    """Every life once, under one recorder, and a program that outlives it."""
    folder = tmp_path_factory.mktemp("lives")
    stop = folder / "stop"
    with recording(folder) as recorded:
        images = {name: lives.images(lives.live(built, folder, name)) for name in LIVES}
        staying = Playing([built.acts, "await", stop])
        await_true(lambda: recorded.rows("--pid", str(staying.pid)))
        (while_running,) = recorded.rows("--pid", str(staying.pid))
    stop.touch()
    staying.end()
    rows = recorded.rows()
    of_pid = defaultdict(list)
    for row in execs_of(rows, built.acts):
        of_pid[row["pid"]].append(row)
    (afterwards,) = of_pid[staying.pid]
    return Lived(images, rows, of_pid, while_running, afterwards)


@each_life
def test_each_image_of_a_life_is_recorded(lived: Lived, name: str) -> None:
    """An exec each: what was only forked is no program of its own."""
    images = Counter(image.pid for image in lived.images[name])

    assert images
    assert images == {pid: len(lived.of_pid[pid]) for pid in images}


@each_life
def test_end_is_what_wait_returned(lived: Lived, name: str) -> None:
    """Exit status or signal are the process's, whichever of its threads was the last."""
    expected = [
        ("replaced", None, None) if image.status is None else end_by_status(image.status)
        for image, _ in lived.pairs(name)
    ]

    assert expected == [end_of(row) for _, row in lived.pairs(name)]


@each_life
def test_replaced_program_names_what_came_next(lived: Lived, name: str) -> None:
    """It is the next exec of the same process, which names it as its parent."""
    rows = by_id(lived.rows)
    for image, row in lived.pairs(name):
        if image.status is None:
            successor = rows[row["replaced_by"]]

            assert (row["pid"], row["id"]) == (successor["pid"], successor["parent_id"])
        else:
            assert row["replaced_by"] is None


@each_life
def test_duration_is_between_what_both_sides_saw(lived: Lived, name: str) -> None:
    """Not less than from main to the last call, and not more than from execve to the return of wait."""
    for image, row in lived.pairs(name):
        assert image.shortest_ns <= row["duration_ns"]
        assert image.longest_ns is None or row["duration_ns"] <= image.longest_ns


def test_failed_exec_has_no_end(lived: Lived) -> None:
    """It never was a program."""
    failed = [row for row in lived.rows if row["filename"] == "/nonexistent/execaudit-life"]

    assert [(None, None, None, None, None)] == [
        (*end_of(row), row["duration_ns"], row["replaced_by"]) for row in failed
    ]


def test_program_that_has_not_ended_is_running(lived: Lived) -> None:
    """As long as its end would be recorded."""
    assert ("running", None, None) == end_of(lived.while_running)
    assert lived.while_running["duration_ns"] is None


def test_end_that_nobody_recorded_is_unknown(lived: Lived) -> None:
    """The program outlived the recorder."""
    assert ("unknown", None, None) == end_of(lived.afterwards)
    assert lived.afterwards["duration_ns"] is None


def test_starts_and_refusals_end_as_their_parent_was_told(history: History) -> None:
    """Every process of the other tests: its last image ends with its status, the ones before are replaced."""
    attempts = [*(one for many in history.starts.values() for one in many), *history.refused.values()]
    for attempt in attempts:
        execs = [row for row in history.by_pid[attempt.pid] if row["kind"] == "exec"]
        status = attempt.status << 8 if attempt.status >= 0 else -attempt.status

        assert [end_of(row) for row in execs] == [
            *[("replaced", None, None)] * (len(execs) - 1),
            end_by_status(status),
        ]
        assert [row["replaced_by"] for row in execs] == [*(row["id"] for row in execs[1:]), None]


# ---- ends that are missed


class Missed(NamedTuple):
    """A recorder that misses ends, and another one after it, with the same history."""

    ended: list[int]
    """Pids of programs whose ends were missed."""
    staying: int
    """That of one which outlives the first recorder and ends under the second."""
    during: list[Row]
    """What the history says while the first one records."""
    between: list[Row]
    after: list[Row]

    def staying_rows(self, rows: list[Row]) -> list[tuple[object, object, object]]:
        """Returns kind and end of the records of the one that stays."""
        return [(row["kind"], *end_of(row)[:2]) for row in rows if row["pid"] == self.staying]


@pytest.fixture(scope="module")
def missed(built: Programs, tmp_path_factory: pytest.TempPathFactory) -> Missed:
    """Programs end while a storm fills a ring that nobody reads, and one stays."""
    folder = tmp_path_factory.mktemp("missed")
    go, stop = folder / "go", folder / "stop"

    def stored(count: int) -> bool:
        return len(recorded.rows("--exe", str(built.acts))) == count

    with recording(folder, NO_FAILED, "--ring-size", "65536") as recorded:
        ending = [Playing([built.acts, "await", go, "exit", "3"]) for _ in range(5)]
        await_true(lambda: stored(len(ending)))
        with paused(recorded):
            subprocess.run([built.storm, built.noop, str(_STORM), "x", "0"], stdout=DEVNULL, check=True)
            go.touch()
            for playing in ending:
                playing.end()
        await_true(recorded.gaps)
        staying = Playing([built.acts, "await", stop, "exit", "6"])
        await_true(lambda: stored(len(ending) + 1))
        during = recorded.rows()
    between = recorded.rows()
    with recording(folder, NO_FAILED) as recorded:
        stop.touch()
        staying.end()
    return Missed([playing.pid for playing in ending], staying.pid, during, between, recorded.rows())


def test_missed_end_is_unknown(missed: Missed, built: Programs) -> None:
    """Not running, though the recorder goes on: it is known until when ends were missed."""
    for rows in (missed.during, missed.between, missed.after):
        ends = {row["pid"]: end_of(row) for row in execs_of(rows, built.acts)}

        assert {("unknown", None, None)} == {ends[pid] for pid in missed.ended}


def test_program_started_after_missed_ends_is_running(missed: Missed) -> None:
    """What was missed before says nothing of it."""
    assert [("exec", "running", None)] == missed.staying_rows(missed.during)


def test_storm_of_missed_ends_has_no_running_program(missed: Missed, built: Programs) -> None:
    """All of them have ended."""
    assert {row["ended"] for row in execs_of(missed.during, built.noop)} <= {"exited", "unknown"}


def test_program_that_outlives_a_recorder_is_there_once(missed: Missed) -> None:
    """While nobody records, its end is unknown; the next recorder sees the true one."""
    assert [("exec", "unknown", None)] == missed.staying_rows(missed.between)
    assert [("exec", "exited", 6)] == missed.staying_rows(missed.after)
