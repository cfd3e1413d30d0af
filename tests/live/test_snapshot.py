"""What ran before recording began: once each in the history, and the root of all that came after."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.live.lineage import by_id, end_of, execs_of, identity_of, identity_seen
from tests.live.recording import argv_of, recording
from tests.truth.acts import Playing
from tests.truth.guise_setup import NOBODY, Guises
from tests.truth.guises import LOGGED_IN, ODD_NAME
from tests.truth.processes import await_true, children_of, sleeps, state_of, threads_of, who_is

if TYPE_CHECKING:
    from tests.live.recording import Recorded, Row
    from tests.truth.acts import Play, Who
    from tests.truth.programs import Programs

_LONG = b"x" * 100_000


class Before(NamedTuple):
    """A process that was there before the recorder."""

    acts: tuple[str | bytes, ...]
    """What it does before, and between brackets or not, at the end: it waits, and goes on."""
    alone: bool = False
    """Its leader has ended by then."""


# All of them wait where {wait} is, and then do what {then} is.
_BEFORE = {
    "plain": Before(("{wait}", "{then}")),
    "odd-name": Before(("name", ODD_NAME, "{wait}", "{then}")),
    "odd-arguments": Before(("name", b"caf\xe9 \x1b[2J", "name", "", "name", "odd", "{wait}", "{then}")),
    "long-arguments": Before(("name", _LONG, "name", "long", "{wait}", "{then}")),
    "other-user": Before(("become", str(NOBODY), str(NOBODY), "{wait}", "{then}")),
    "login": Before(("write", "/proc/self/loginuid", str(LOGGED_IN), "{wait}", "{then}")),
    "title": Before(("title", "worker: one", "{wait}", "{then}")),
    "without-arguments": Before(("title", "", "{wait}", "{then}")),
    "without-leader": Before(("alone", "[", "{wait}", "{then}", "]"), alone=True),
    "threads": Before(("thread", "[", "{wait}", "{then}", "]")),
    "with-zombie": Before(("leave", "[", "exit", "3", "]", "{wait}", "{then}")),
    "with-fork": Before(("leave", "[", "{wait}", "exit", "4", "]", "{wait}", "{then}")),
    "exits": Before(("{wait}", "exit", "9")),
    "is-killed": Before(("{wait}", "raise", "15")),
}


_TERMINAL, _DELETED, _GROUP = "terminal", "deleted", "group"
_EVERYTHING = (*_BEFORE, _TERMINAL, _DELETED, _GROUP)
_SUCCEEDED = [name for name in _EVERYTHING if name not in _BEFORE or "{then}" in _BEFORE[name].acts]


class Kept(NamedTuple):
    """What was there before the recorder, and what became of it."""

    recorded: Recorded
    rows: list[Row]
    who: dict[str, Who]
    """What /proc said of each before the recorder was started."""
    plays: dict[str, Play]
    children: dict[str, int]
    """A child that each had, if it had one."""

    def snapshots(self, pid: int) -> list[Row]:
        """Returns the snapshot rows of a process."""
        return [row for row in self.rows if (row["kind"], row["pid"]) == ("snapshot", pid)]

    def row(self, name: str) -> Row:
        """Returns the row of one of them."""
        (row,) = self.snapshots(self.who[name].pid)
        return row


def _words(before: Before, acts: Path, go: Path) -> list[str | bytes | Path]:
    # A child of its own, and then another program in the same process.
    then = ("fork", "[", "exec", acts, "exit", "5", "]", "exec", acts, "exit", "7")
    slots: dict[str | bytes, tuple[str | bytes | Path, ...]] = {"{wait}": ("await", go), "{then}": then}
    return [acts, *(word for act in before.acts for word in slots.get(act, (act,)))]


def _start(before: Before, acts: Path, go: Path, folder: Path) -> Playing:
    playing = Playing(_words(before, acts, go), cwd=folder)
    if before.alone:
        await_true(lambda: state_of(playing.pid) == "Z")
    elif before.acts[0] == "thread":
        await_true(lambda: len(threads_of(playing.pid)) == 2)
    else:
        await_true(lambda: sleeps(playing.pid))
    return playing


def _live_thread(pid: int) -> int:
    """Returns a thread that has not ended."""
    return max(threads_of(pid))


_PLAIN = _BEFORE["plain"]


def _start_on_terminal(acts: Path, go: Path, terminal: int) -> Playing:
    # It replaces itself: it is no group's leader.
    playing = Playing(["setsid", "--ctty", "--wait", *_words(_PLAIN, acts, go)], stdin=terminal)
    await_true(lambda: who_is(playing.pid).comm == b"acts" and sleeps(playing.pid))
    return playing


def _start_and_delete(acts: Path, go: Path, folder: Path) -> Playing:
    """What runs, and where it runs, have no name any more."""
    program = Path(shutil.copy(acts, folder / "gone"))
    place = folder / "gone-too"
    place.mkdir()
    playing = Playing([program, *_words(_PLAIN, acts, go)[1:]], cwd=place)
    await_true(lambda: sleeps(playing.pid))
    program.unlink()
    place.rmdir()
    return playing


def _start_in_group(acts: Path, go: Path, group: Path) -> Playing:
    playing = Playing([acts, "write", group / "cgroup.procs", "0", *_words(_PLAIN, acts, go)[1:]])
    await_true(lambda: sleeps(playing.pid))
    return playing


@pytest.fixture(scope="module")
def kept(built: Programs, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """Processes that start, wait until a recorder records, and go on."""
    folder = built.folder / "kept"
    folder.mkdir(mode=0o755)
    go = folder / "go"
    stage = Guises(built, folder)
    with contextlib.ExitStack() as undo:
        undo.enter_context(stage.mounted())
        undo.callback(go.touch)  # nobody may go on waiting for it
        ends = os.openpty()
        for end in ends:
            undo.callback(os.close, end)
        playing = {name: _start(before, built.acts, go, folder) for name, before in _BEFORE.items()}
        playing[_TERMINAL] = _start_on_terminal(built.acts, go, ends[1])
        playing[_DELETED] = _start_and_delete(built.acts, go, folder)
        playing[_GROUP] = _start_in_group(built.acts, go, stage.group(stage.unified, "kept"))
        who = {name: who_is(one.pid, _live_thread(one.pid)) for name, one in playing.items()}
        children = {name: pids[0] for name, one in playing.items() if (pids := children_of(one.pid))}
        await_true(lambda: state_of(children["with-zombie"]) == "Z")
        with recording(tmp_path_factory.mktemp("kept")) as recorded:
            go.touch()
            plays = {name: one.end() for name, one in playing.items()}
    return Kept(recorded, recorded.rows(), who, plays, children)


each = pytest.mark.parametrize("name", _EVERYTHING)


@each
def test_process_that_was_there_is_one_row(kept: Kept, name: str) -> None:
    """And it has been there since recording began, which no exec precedes."""
    (row,) = kept.snapshots(kept.who[name].pid)

    assert min(row["time"] for row in kept.rows) == row["time"]


@each
def test_row_has_what_proc_said(kept: Kept, name: str) -> None:
    """The same facts as of an exec."""
    assert identity_seen(kept.who[name]) == identity_of(kept.row(name))


@each
def test_row_has_the_arguments(kept: Kept, name: str) -> None:
    """As /proc has them, byte for byte."""
    row = kept.row(name)
    line = kept.who[name].cmdline

    assert line == argv_of(row)
    assert (row["argc"], row["argv_bytes"], row["truncated"]) == (line.count(b"\0"), len(line), None)


def test_zombie_is_no_row(kept: Kept) -> None:
    """It runs nothing any more."""
    assert kept.snapshots(kept.children["with-zombie"]) == []


def test_processes_were_what_they_seemed(kept: Kept) -> None:
    """Each had the one fact that it is there for."""
    assert kept.who[_TERMINAL].tty is not None
    assert kept.who[_DELETED].exe.endswith(b" (deleted)")
    assert kept.who[_DELETED].cwd.endswith(b" (deleted)")
    assert kept.who[_DELETED].nlink == 0
    assert kept.who[_GROUP].cgroup_path.endswith("/kept")
    assert kept.who["login"].auid == LOGGED_IN
    assert kept.who["title"].cmdline.startswith(b"worker: one\0\0")


def test_process_that_was_only_forked_is_a_row(kept: Kept) -> None:
    """It runs what it was forked from, and has an end of its own."""
    (row,) = kept.snapshots(kept.children["with-fork"])

    assert kept.row("with-fork")["argv"] == row["argv"]
    assert kept.row("with-fork")["id"] == row["parent_id"]
    assert ("exited", 4, None) == end_of(row)


@pytest.mark.parametrize("name", _SUCCEEDED)
def test_what_comes_after_has_the_row_as_parent(kept: Kept, built: Programs, name: str) -> None:
    """A child's exec, and the next one of the same process, which replaces it."""
    row = kept.row(name)
    child, successor = [one for one in execs_of(kept.rows, built.acts) if one["parent_id"] == row["id"]]

    assert kept.plays[name].status() == 7 << 8
    assert [("exited", 5, None), ("exited", 7, None)] == [end_of(child), end_of(successor)]
    assert (row["pid"], row["ppid"]) == (successor["pid"], successor["ppid"])
    assert ("replaced", successor["id"]) == (row["ended"], row["replaced_by"])
    assert row["pid"] == child["ppid"]


@pytest.mark.parametrize(
    ("name", "end"), [("exits", ("exited", 9, None)), ("is-killed", ("signaled", None, 15))]
)
def test_end_of_what_was_there_is_recorded(kept: Kept, name: str, end: tuple[object, object, object]) -> None:
    """Its duration is at least that of the recording so far."""
    assert end == end_of(kept.row(name))
    assert kept.row(name)["duration_ns"] > 0


def test_host_is_one_tree(kept: Kept) -> None:
    """All that ran stands under the first process, or under the kernel's first thread.

    But for what the host may have beside the test: a process that ends between the probe and the look at
    it, of which nobody knows more than its end.
    """
    rows = by_id(kept.rows)
    roots = {row["pid"] for row in kept.rows if row["parent_id"] is None and row["comm"] is not None}

    assert {1} <= roots <= {1, 2}
    assert {row["parent_id"] for row in kept.rows} - {None} <= set(rows)


def test_snapshot_is_not_in_another_process_twice(kept: Kept) -> None:
    """No process has two of them, the recorder's own too."""
    pids = Counter(row["pid"] for row in kept.rows if row["kind"] == "snapshot")

    assert kept.recorded.pid in pids
    assert set(pids.values()) == {1}
