"""Fixtures for the live tests: many programs start under one recorder, because a start is slow."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.live.load import Load
from tests.live.recording import Recorded, Row, recording
from tests.truth import programs, witnessed
from tests.truth.processes import await_true
from tests.truth.refusals import (
    REFUSALS,
    check_only,
    filter_with_success,
    refuse_32_bits,
    refuse_at_random,
    refuse_with_cold_pages,
)
from tests.truth.starts import (
    STARTS,
    Attempt,
    Stage,
    start_as_core_helper,
    start_through_32_bits,
    start_through_binfmt_misc,
)
from tests.truth.witnessed import Witnessed, start_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.truth.programs import Programs

AT_RANDOM, COLD, FILTERED = "at-random", "cold-pages", "filtered-with-success"
_TAIL_BYTES = 1_000_000


class History(NamedTuple):
    """All programs that were started and refused under one recorder, and what it recorded."""

    recorded: Recorded
    rows: list[Row]
    logged: list[Row]
    span: tuple[str, str]
    """The second before the first start, and the second of the end, in the form of records."""
    starts: dict[str, list[Attempt]]
    refused: dict[str, Attempt]
    checks: list[Attempt]
    """Runs of check_only."""
    through_32_bits: int
    """The pid of the program that a 32-bit program started."""
    refused_32_bits: int
    """The pid of the 32-bit program whose execs were refused."""
    by_start: dict[str, list[Row]]
    """Successful execs of witnesses."""
    by_pid: dict[int, list[Row]]
    witnessed: dict[str, list[Witnessed]]

    def failed(self, pid: int) -> list[Row]:
        """Returns the failed execs of a process."""
        return [row for row in self.by_pid[pid] if row["kind"] == "failed"]


@pytest.fixture(scope="session")
def public_folder() -> Iterator[Path]:
    """A folder that other users can enter; they cannot enter pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="execaudit-live-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def built(public_folder: Path) -> Programs:
    """The compiled programs."""
    ready_made = os.environ.get(programs.READY_MADE)
    return programs.ready_made(Path(ready_made)) if ready_made else programs.build(public_folder)


@pytest.fixture
def load(built: Programs) -> Load:
    """Programs, none of which has run yet."""
    return Load(built)


@pytest.fixture(scope="session")
def stage(built: Programs) -> Stage:
    """The folder in which programs are started."""
    folder = built.folder / "stage"
    folder.mkdir()
    return Stage(built, folder)


@pytest.fixture(scope="session")
def history(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> History:
    """Starts everything once, under one recorder."""
    began = _utc_second()
    with recording(tmp_path_factory.mktemp("history")) as recorded:
        starts = {name: stage.run(start) for name, start in STARTS.items()}
        start_as_core_helper(stage)
        start_through_binfmt_misc(stage)
        pid = start_through_32_bits(stage)
        refused_32 = refuse_32_bits(stage)
        refused = {name: refusal.run(stage) for name, refusal in REFUSALS.items()}
        refused[AT_RANDOM] = refuse_at_random(stage)
        refused[COLD] = refuse_with_cold_pages(stage)
        refused[FILTERED] = filter_with_success(stage)
        checks = [check_only(stage, stage.programs.noop), check_only(stage, Path("/nonexistent/program"))]
        _await_logged(recorded)
    rows = recorded.rows()
    witnesses = witnessed.read(stage.programs.truths)
    ours = _without_strangers(rows, stage.programs.folder, {truth.pid for truth in witnesses})
    return History(
        recorded, rows, recorded.logged(), (began, _utc_second()), starts, refused, checks, pid, refused_32,
        *_grouped(ours), _witnessed_by_start(witnesses),
    )  # fmt: skip


def _await_logged(recorded: Recorded) -> None:
    """Waits until the JSON log has all: a slow machine writes long lines for longer than a stop waits."""
    last = f"last-of-{os.getpid()}"
    subprocess.run(["/bin/true", last], check=True)

    def is_logged() -> bool:
        with recorded.json_log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return last.encode() in log.read()

    await_true(is_logged)


def _utc_second() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())


def _without_strangers(rows: list[Row], folder: Path, pids: set[int]) -> list[Row]:
    """Returns the rows of our own programs: others may run these same tests, and pids come again.

    An image in a chroot or in a memfd has the same path whoever runs it.
    """
    return [
        row for row in rows if row["exe"] is None or row["exe"].startswith(f"{folder}/") or row["pid"] in pids
    ]


def _grouped(rows: list[Row]) -> tuple[dict[str, list[Row]], dict[int, list[Row]]]:
    by_start, by_pid = defaultdict(list), defaultdict(list)
    for row in rows:
        by_pid[row["pid"]].append(row)
        start = start_of(row["exe"] or "")
        if start is not None and row["kind"] == "exec":
            by_start[start].append(row)
    return by_start, by_pid


def _witnessed_by_start(witnesses: list[Witnessed]) -> dict[str, list[Witnessed]]:
    found = defaultdict(list)
    for truth in witnesses:
        found[start_of(truth.exe.decode()) or ""].append(truth)
    return found
