"""As many execs as two jobs can start: none is lost, or each lost one is counted."""

from __future__ import annotations

import calendar
import os
import subprocess
import time
from collections import Counter
from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.live.recording import argv_of, boot_us, paused, recording
from tests.truth.kernel_trace import all_execs
from tests.truth.refusals import LINE as REFUSED_LINE
from tests.truth.refusals import refuse_many

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.live.recording import Recorded, Row
    from tests.truth.programs import Programs
    from tests.truth.starts import Attempt, Stage

_JOBS = ("first", "second")
# An emulated machine starts few programs in a second: it has a share of each storm.
_SHARE = int(os.environ.get("EXECAUDIT_TEST_STORM_SHARE", "1"))
_EXECS = 30_000 // _SHARE
# And its recorder keeps up with a ring of two pages.
_TINY_RINGS = (4096, 8192) if _SHARE == 1 else (4096,)
_SMALL_RING = 65_536  # too small only if nobody reads it
_FEWER = 5000 // _SHARE
_FEW, _PADDING = 500 // _SHARE, 200  # of 1000 bytes each


class Storm(NamedTuple):
    """One storm under one recorder."""

    recorded: Recorded
    rows: list[Row]
    traced_us: list[int]
    """When execs of the host took effect or were refused, as the kernel's own trace has it."""
    wall_offset_us: int
    """Wall clock minus boot clock."""
    span: tuple[str, str]
    """From the storm's begin to its end, as records write it."""
    refused: Attempt | None
    """What was refused at the same time."""

    def stored_us(self) -> list[int]:
        """Returns when what is stored took effect or was refused, by the same clock."""
        return [_utc_us(row["time"]) - self.wall_offset_us for row in self.rows]

    def accounted(self) -> int:
        """Returns how many execs are in the history, stored or counted by gaps."""
        missed: int = sum(gap["count"] for gap in self.recorded.gaps())
        return len(self.rows) + missed

    def due(self) -> tuple[int, int]:
        """Returns how many should be, at least and at most.

        The two are one number on a machine where nobody else starts anything while the recorder
        starts and stops: of what happens then it may have seen this and not that.
        """
        started, ready, told, stopped = self.recorded.moments_us
        surely = sum(ready <= at < told for at in self.traced_us)
        traced, stored = (
            sum(started <= at < ready or told <= at < stopped for at in times)
            for times in (self.traced_us, self.stored_us())
        )
        return surely + stored, surely + traced


def _utc_us(text: str) -> int:
    seconds = calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))
    return seconds * 1_000_000 + int(text[20:26])


def _wall_text() -> str:
    now = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9)) + f".{now % 10**9:09d}Z"


def _blow(stage: Stage, execs: int, padding: int, refusals: int) -> Attempt | None:
    """Runs the jobs side by side, to their end."""
    storm, noop = stage.programs.storm, stage.programs.noop
    jobs = [
        subprocess.Popen([storm, noop, str(execs // len(_JOBS)), name, str(padding)], stdout=subprocess.PIPE)
        for name in _JOBS
    ]
    refused = refuse_many(stage, refusals) if refusals else None
    assert [job.communicate()[0] for job in jobs] == [b"%d\n" % (execs // len(_JOBS))] * len(jobs)
    return refused


def _storm(  # noqa: PLR0913  # each is what makes one storm differ from another
    stage: Stage,
    folder: Path,
    *options: str,
    execs: int,
    padding: int = 0,
    refusals: int = 0,
    hold: Callable[[Recorded], AbstractContextManager[object]] = nullcontext,
) -> Storm:
    with all_execs() as trace:
        with recording(folder, *options) as recorded:
            offset = time.time_ns() // 1000 - boot_us()
            since = _wall_text()
            with hold(recorded):
                refused = _blow(stage, execs, padding, refusals)
            until = _wall_text()
        assert trace.lost() == 0
        traced = [one.boot_us for one in trace.execs()] + trace.refusals()
    rows = [row for row in recorded.rows() if row["kind"] != "snapshot"]
    return Storm(recorded, rows, traced, offset, (since, until), refused)


def _expected(execs: int) -> Counter[tuple[str, ...]]:
    numbers = range(execs // len(_JOBS))
    return Counter(("noop", f"{name}-{number}") for name in _JOBS for number in numbers)


def _of_the_storm(rows: list[Row], built: Programs) -> Counter[tuple[str, ...]]:
    return Counter(
        tuple(row["argv"]) for row in rows if row["exe"] == str(built.noop) and not row["truncated"]
    )


@pytest.fixture(scope="module")
def storm(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Storm:
    """30 000 execs under a recorder as it is by default."""
    return _storm(stage, tmp_path_factory.mktemp("storm"), execs=_EXECS)


def test_storm_is_stored_whole(storm: Storm, built: Programs) -> None:
    """Each of 30 000 execs is in the history once, with its own argument."""
    assert _expected(_EXECS) == _of_the_storm(storm.rows, built)


def test_storm_is_in_the_json_log_whole(storm: Storm, built: Programs) -> None:
    """Each of 30 000 execs is one line of the JSON log."""
    execs = [row for row in storm.recorded.logged() if row["kind"] == "exec"]

    assert _expected(_EXECS) == _of_the_storm(execs, built)


def test_storm_was_led_to_by_its_jobs(storm: Storm, built: Programs) -> None:
    """Each of 30 000 execs is a child of the job whose name it has."""
    jobs = {row["id"]: row["argv"][3] for row in storm.rows if row["exe"] == str(built.storm)}
    execs = [row for row in storm.rows if row["exe"] == str(built.noop)]

    assert sorted(jobs.values()) == sorted(_JOBS)
    assert all(row["argv"][1].partition("-")[0] == jobs[row["parent_id"]] for row in execs)


def test_ends_of_a_storm_are_all_recorded(storm: Storm, built: Programs) -> None:
    """Each of 30 000 execs exited with 0, having run for some time."""
    execs = [row for row in storm.rows if row["exe"] == str(built.noop)]

    assert {("exited", 0, None)} == {(row["ended"], row["exit_code"], row["exit_signal"]) for row in execs}
    assert min(row["duration_ns"] for row in execs) > 0


def test_storm_leaves_no_gap(storm: Storm) -> None:
    """Nothing was refused by the ring: no gap in the log, and a query tells of the silence after it alone."""
    assert storm.recorded.gaps() == []
    [said] = storm.recorded.query("--limit", "1").stderr.splitlines()
    assert said.startswith("gap: nobody has recorded since ")


def test_storm_was_as_strong_as_it_was_meant(storm: Storm) -> None:
    """The kernel's own trace has at least as many execs as the storm."""
    assert len(storm.traced_us) >= _EXECS


@pytest.fixture(scope="module", params=[*_TINY_RINGS, _SMALL_RING])
def overwhelmed(
    request: pytest.FixtureRequest, stage: Stage, tmp_path_factory: pytest.TempPathFactory
) -> Storm:
    """A storm of execs and refusals under a recorder whose ring is made too small on purpose."""
    folder = tmp_path_factory.mktemp("overwhelmed")
    hold = paused if request.param == _SMALL_RING else nullcontext
    ring = ("--ring-size", str(request.param))
    return _storm(stage, folder, *ring, execs=_FEWER, refusals=_FEWER, hold=hold)


def test_stored_and_missed_are_all(overwhelmed: Storm) -> None:
    """What is in the history and what the gaps count is together exactly what the kernel started."""
    at_least, at_most = overwhelmed.due()

    assert overwhelmed.recorded.gaps()
    assert at_least <= overwhelmed.accounted() <= at_most


def test_stored_of_a_lossy_storm_is_whole_and_true(overwhelmed: Storm, built: Programs) -> None:
    """Loss does not garble what is stored: each exec is one that was started, once."""
    stored = _of_the_storm(overwhelmed.rows, built)

    assert stored <= _expected(_FEWER)


def test_gaps_lie_within_the_storm_and_have_their_reason(overwhelmed: Storm) -> None:
    """A gap says when, why and how many, and lies between the recorder's start and stop."""
    gaps = overwhelmed.recorded.gaps()
    times = [(gap["from"], gap["to"]) for gap in gaps]

    assert {"ring_full"} == {gap["reason"] for gap in gaps}
    assert all(begin <= end for begin, end in times)
    assert min(times)[0] < overwhelmed.span[1]
    assert max(times)[1] > overwhelmed.span[0]


def test_query_warns_of_the_gaps_in_its_range(overwhelmed: Storm) -> None:
    """A query whose range has gaps says so on stderr, and still answers."""
    answer = overwhelmed.recorded.query("--limit", "1")

    assert answer.returncode == 0
    assert "gap" in answer.stderr


def test_stored_refusals_of_a_lossy_storm_are_true(overwhelmed: Storm) -> None:
    """Nor does it garble refusals: each has its errno and the caller's name and arguments."""
    assert overwhelmed.refused
    assert overwhelmed.refused.status == 0
    stored = [
        (row["errno"], row["filename"], argv_of(row), row["argc"])
        for row in overwhelmed.rows
        if row["pid"] == overwhelmed.refused.pid and row["kind"] == "failed" and not row["truncated"]
    ]

    assert len(stored) <= _FEWER
    assert set(stored) <= {
        ("ENOENT", str(overwhelmed.refused.program), REFUSED_LINE, REFUSED_LINE.count(b"\0"))
    }


@pytest.fixture(scope="module")
def long_storm(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Storm:
    """More bytes of arguments than any reader could take: a gigabyte in a second."""
    return _storm(
        stage, tmp_path_factory.mktemp("long"), "--ring-size", "4194304", execs=_FEW, padding=_PADDING
    )


def test_execs_with_long_argv_are_stored_or_missed(long_storm: Storm) -> None:
    """Nor is an exec of many records half counted: it is in the history once, or in a gap."""
    at_least, at_most = long_storm.due()

    assert at_least <= long_storm.accounted() <= at_most


def test_argv_of_a_storm_is_whole_or_said_to_be_lost(long_storm: Storm, built: Programs) -> None:
    """Records of execs on several CPUs do not mix: a whole argv is its own, another one is marked."""
    rows = [row for row in long_storm.rows if row["exe"] == str(built.noop)]
    whole = [row["argv"] for row in rows if row["truncated"] is None]
    padding = {name: [name[0] * 1000] * _PADDING for name in _JOBS}

    assert whole
    assert {row["truncated"] for row in rows} <= {None, "lost"}
    assert all(argv[2:] == padding[argv[1].partition("-")[0]] for argv in whole)
    assert {(row["argc"], row["argv_missing"] is None) for row in rows} <= {
        (2 + _PADDING, True),
        (2 + _PADDING, False),
    }
