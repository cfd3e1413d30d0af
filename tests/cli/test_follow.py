"""`execaudit query --follow`: prints what is there, then what comes."""

from __future__ import annotations

import itertools
import json
import select
import signal
import time
from typing import TYPE_CHECKING

import pytest

from execaudit.enums import Kind
from execaudit.store.writer import Store
from tests.commands import PATIENCE, Terminal, audible, audible_line_of, execaudit, line_of, running
from tests.histories import START, begin_run, make_event, make_exit, make_gap, make_history

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path


def pid_of(process: subprocess.Popen[bytes]) -> int:
    """Returns the pid in the next JSON line of a running query."""
    while (row := json.loads(line_of(process.stdout)))["kind"] == "gap":
        pass
    found: int = row["pid"]
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A history of twelve execs."""
    events = [make_event(b"old", seconds=number, pid=number) for number in range(12)]
    return make_history(tmp_path / "history.db", events)


def test_what_comes_is_printed_as_it_comes(path: Path) -> None:
    """The last ten first, then each exec that a recorder stores, in order and once."""
    with running("--db", path, "query", "--follow") as process, Store(path) as store:
        begin_run(store)

        assert list(range(2, 12)) == [pid_of(process) for _ in range(10)]
        for pid in (100, 0, 102):
            store.append([make_event(b"new", seconds=20 + pid, pid=pid)])

            assert pid == pid_of(process)


def test_filters_hold_for_what_comes(path: Path) -> None:
    """What the filter refuses is not printed when it comes either."""
    options = ("--follow", "--pid", "0", "--args", "new")
    with running("--db", path, "query", *options) as process, Store(path) as store:
        begin_run(store)
        store.append([make_event(b"new", seconds=20, pid=1), make_event(b"new", seconds=21, pid=0)])

        assert 0 == pid_of(process)


def test_descendants_that_come(path: Path) -> None:
    """--under follows a family: each new member once, what ran already included, and nobody else."""
    root = make_event(b"old", seconds=3, pid=3)
    with running("--db", path, "query", "--follow", "--under", root.id) as process, Store(path) as store:
        begin_run(store)
        child = make_event(b"new", seconds=20, pid=100, parent=root.key)
        store.append([child, make_event(b"new", seconds=20, pid=5), make_event(b"new", seconds=21, pid=6)])
        assert 100 == pid_of(process)
        for pid, kind in ((101, Kind.SNAPSHOT), (102, Kind.EXEC)):
            child = make_event(b"new", seconds=pid, pid=pid, parent=child.key, kind=kind)
            store.append([make_event(b"new", seconds=pid, pid=7), child])

            assert pid == pid_of(process)


def test_what_ends_is_asked_again(path: Path) -> None:
    """A program comes when it ends as it is wanted, once, also one that ran before; no other does."""
    lasting, other = (make_event(b"old", seconds=20, pid=pid) for pid in (100, 101))
    with Store(path) as store:
        begin_run(store)
        store.append([lasting, other])
        with running("--db", path, "query", "--follow", "--exit-code", "3") as process:
            brief = make_event(b"new", seconds=21, pid=102)
            store.append([brief], [], [make_exit(brief.key, 22, 3 << 8)])
            assert 102 == pid_of(process)
            store.append([], [], [make_exit(lasting.key, 23, 3 << 8), make_exit(other.key, 23)])
            assert 100 == pid_of(process)
            brief = make_event(b"new", seconds=24, pid=103)
            store.append([brief], [], [make_exit(brief.key, 25, 3 << 8)])
            assert 103 == pid_of(process)


@pytest.mark.parametrize(
    ("options", "first"), [("--limit 3", 9), (f"--since @{START + 1}", 1), ("--limit 20", 0)]
)
def test_where_it_begins(options: str, first: int, path: Path) -> None:
    """--limit and --since say how much of what is there comes first."""
    with running("--db", path, "query", "--follow", *options.split()) as process:
        assert first == pid_of(process)


@pytest.mark.parametrize("options", ["--limit 0", f"--since @{START + 19}", "--args new"])
def test_with_what_comes(options: str, path: Path) -> None:
    """It can begin with nothing of what is there."""
    with running("--db", path, "query", "--follow", *options.split()) as process, Store(path) as store:
        begin_run(store)
        pids = itertools.count(100)
        # From outside nobody can see when it has begun to wait.
        assert process.stdout
        row = {"kind": "gap"}
        while row["kind"] == "gap":
            while not select.select([process.stdout], [], [], 0.2)[0]:
                pid = next(pids)
                store.append([make_event(b"new", seconds=pid, pid=pid)])
            row = json.loads(line_of(process.stdout))

        assert 100 <= int(row["pid"])


def test_new_gaps_are_named(path: Path) -> None:
    """A gap that comes while it runs is said on stderr, once."""
    with running("--db", path, "query", "--follow") as process, Store(path) as store:
        begin_run(store)
        pid_of(process)
        store.append([make_event(b"new", seconds=20, pid=100)], [make_gap(19, 20, count=3)])

        assert b"gap: 3 execs missed" in audible_line_of(process.stderr)
        store.append([], [make_gap(21, 22, count=4)])
        assert b"gap: 4 execs missed" in audible_line_of(process.stderr)


@pytest.mark.parametrize("fmt", ["jsonl", "table", "csv"])
def test_interrupted(fmt: str, path: Path) -> None:
    """Ctrl-C ends it with 130, without a word."""
    with running("--db", path, "query", "--follow", "--format", fmt) as process:
        line_of(process.stdout)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)

    assert (130, b"") == (process.returncode, audible(said))


def test_interrupted_on_a_terminal(path: Path) -> None:
    """On a terminal as well, after a table."""
    terminal = Terminal()
    with running(
        "--db", path, "query", "--follow", stdout=terminal.theirs, stderr=terminal.theirs
    ) as process:
        terminal.await_text(b"old\n")
        process.send_signal(signal.SIGINT)
        shown = terminal.read()

        assert 130 == process.wait(PATIENCE)
    assert b"2026-11-22 UTC ID " in shown
    assert b"Traceback" not in shown


def test_it_ends_with_its_range(path: Path) -> None:
    """When --until has passed there is nothing to wait for."""
    done = execaudit("--db", path, "query", "--follow", "--until", "now")

    assert (0, list(range(2, 12))) == (done.status, done.pids())


def test_it_ends_when_its_range_does(path: Path) -> None:
    """--until in the future is waited for."""
    until = time.time() + 0.5
    done = execaudit("--db", path, "query", "--follow", "--until", f"@{until:.3f}")

    assert 0 == done.status
    assert time.time() > until
