"""A recorder ends and another begins: lineage goes on, and nothing is there twice."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.commands import PATIENCE
from tests.live.lineage import end_of
from tests.live.recording import Recorded, execaudit, recording
from tests.truth.processes import await_true, who_is

if TYPE_CHECKING:
    from tests.live.recording import Row

_NO_FAILED = "--no-failed"
# Names that no other process here has.
_CHILD, _OTHER = "restart-child", "restart-other"


class _Waiting:
    """A shell that does one thing after another, each when it is told to."""

    def __init__(self, *steps: str) -> None:
        script = "; read go; ".join(steps)
        self._shell = subprocess.Popen(["bash", "-c", script], stdin=subprocess.PIPE, text=True)
        self.pid = self._shell.pid

    def go_on(self) -> None:
        """Tells it to do the next thing."""
        assert self._shell.stdin is not None
        self._shell.stdin.write("\n")
        self._shell.stdin.flush()

    def wait(self) -> int:
        """Waits for its end."""
        self._shell.communicate(timeout=PATIENCE)
        return self._shell.returncode

    def close(self) -> None:
        """Kills it, if a test failed."""
        self._shell.kill()
        self.wait()


class _Restarted(NamedTuple):
    """Two recorders, one after the other, and what ran beside them."""

    recorded: Recorded
    rows: list[Row]
    running: list[Row]
    """What the second one said was running."""
    logged: list[Row]
    pids: dict[str, int]

    def of(self, name: str) -> list[Row]:
        """Returns the rows of a process."""
        return [row for row in self.rows if row["pid"] == self.pids[name]]

    def one(self, name: str) -> Row:
        """Returns the only row of a process."""
        (row,) = self.of(name)
        return row


def _await(recorded: Recorded, count: int, program: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while len(recorded.rows("--exe", program)) < count:
        assert time.monotonic() < deadline, recorded.stderr()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory) -> _Restarted:
    """Records twice; between the two, one process ends and another executes a program."""
    folder = tmp_path_factory.mktemp("restarted")
    child = shutil.copy("/bin/true", folder / _CHILD)
    other = Path(shutil.copy("/bin/bash", folder / _OTHER))
    with contextlib.ExitStack() as stack:

        def start(*steps: str) -> _Waiting:
            return stack.enter_context(contextlib.closing(_Waiting(*steps)))

        old = start("true", "exit 0")
        with recording(folder, _NO_FAILED) as recorded:
            keeper = start(f"{child} first", f"{child} second", "exit 7")
            ender = start("true", "exit 0")
            changer = start("true", f"exec {other} -c 'read go; exit 3'")
            _await(recorded, 1, _CHILD)
        ender.go_on()
        ender.wait()
        changer.go_on()
        await_true(lambda: who_is(changer.pid).comm == _OTHER.encode())
        with recording(folder, _NO_FAILED) as recorded:
            _await(recorded, 1, _OTHER)
            running = recorded.rows("--where", 'ended == "running"')
            keeper.go_on()
            _await(recorded, 2, _CHILD)
            for process in (keeper, changer, old):
                process.go_on()
            statuses = [process.wait() for process in (keeper, changer, old)]
    assert [7, 3, 0] == statuses
    assert recorded.status == 0, recorded.stderr()
    pids = {"keeper": keeper.pid, "ender": ender.pid, "changer": changer.pid, "old": old.pid}
    return _Restarted(recorded, recorded.rows(), running, recorded.logged(), pids)


def test_a_program_that_goes_on_has_one_row(restarted: _Restarted) -> None:
    """Its own exec, with the end that the second recorder saw; or that of the first one's snapshot."""
    keeper, old = restarted.one("keeper"), restarted.one("old")

    assert ("exec", ("exited", 7, None)) == (keeper["kind"], end_of(keeper))
    assert ("snapshot", ("exited", 0, None)) == (old["kind"], end_of(old))


def test_lineage_goes_through_the_restart(restarted: _Restarted) -> None:
    """What it starts under the second recorder is its child, in the history as in the log."""
    keeper = restarted.one("keeper")["id"]
    first, second = (row for row in restarted.rows if row["comm"] == _CHILD)
    below = {row["id"] for row in restarted.recorded.rows("--under", keeper)}

    assert [keeper, keeper] == [first["parent_id"], second["parent_id"]]
    assert {first["id"], second["id"]} <= below
    assert second["parent_id"] in {
        row["parent_id"] for row in restarted.logged if row.get("id") == second["id"]
    }


def test_show_and_tree_know_both_children(restarted: _Restarted) -> None:
    """Of the id that the first recorder gave."""
    keeper = restarted.one("keeper")["id"]
    base = ("--db", str(restarted.recorded.db))
    shown = json.loads(execaudit(*base, "show", keeper, "--format", "json").stdout)
    tree = [
        json.loads(line)
        for line in execaudit(*base, "tree", "--id", keeper, "--format", "jsonl").stdout.splitlines()
    ]

    commands = ["first", "second"]
    assert commands == [row["argv"][1] for row in shown["children"]]
    drawn = [row for row in tree if row.get("comm") == _CHILD]
    assert commands == [row["argv"][1] for row in drawn]
    assert 1 == sum(row.get("pid") == restarted.pids["keeper"] for row in tree)


def test_what_executed_while_nobody_recorded_comes_from_what_it_was(restarted: _Restarted) -> None:
    """It has a row of its own; when the first program ended is not known."""
    before, after = restarted.of("changer")

    assert ("exec", "unknown", None) == (before["kind"], before["ended"], before["duration_ns"])
    assert ("snapshot", before["id"]) == (after["kind"], after["parent_id"])
    assert _OTHER == after["comm"]
    assert ("exited", 3, None) == end_of(after)


def test_only_what_runs_is_running(restarted: _Restarted) -> None:
    """Each once; not what ended while nobody recorded."""
    counts = {
        name: sum(row["pid"] == pid for row in restarted.running) for name, pid in restarted.pids.items()
    }

    assert {"keeper": 1, "ender": 0, "changer": 1, "old": 1} == counts
    assert ("unknown", None, None) == end_of(restarted.one("ender"))
