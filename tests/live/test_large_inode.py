"""Programs whose inode number needs all 64 bits: an overlay gives such, in anybody's namespace too."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.live.recording import Row, execaudit, recording

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A copy of cat on an overlay of two file systems: with xino the highest bit says which of the two has it.
_SCRIPT = """
set -e
mount -t tmpfs none "$1"
mkdir "$1/low" "$1/up" "$1/all"
mount -t tmpfs none "$1/low"
mount -t tmpfs none "$1/up"
mkdir "$1/up/new" "$1/up/work"
cp "$(command -v cat)" "$1/low/cat"
mount -t overlay none -o "xino=on,lowerdir=$1/low,upperdir=$1/up/new,workdir=$1/up/work" "$1/all"
stat -c %i "$1/all/cat"
exec "$1/all/cat"
"""


class Program(NamedTuple):
    """A program that runs."""

    pid: int
    inode: int


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Program]:
    """Runs the program while the body runs."""
    folder.mkdir()
    command = ("unshare", "--mount", "sh", "-c", _SCRIPT, "sh", str(folder))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        inode = int(process.stdout.readline())
        # It answers, so it runs.
        process.stdin.write(b"here\n")
        process.stdin.flush()
        assert b"here\n" == process.stdout.readline()
        yield Program(process.pid, inode)


class Seen(NamedTuple):
    """What was recorded of two programs."""

    before: Program
    """Ran when recording began."""
    then: Program
    rows: dict[int, Row]
    """By pid: the last program of each."""
    logged: dict[int, Row]
    db: Path


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Records beside one such program, and the start of another."""
    folder = tmp_path_factory.mktemp("overlay")
    with (
        running(folder / "before") as before,
        recording(folder / "recorded") as recorded,
        running(folder / "then") as then,
    ):
        pass
    assert recorded.status == 0, recorded.stderr()
    pids = {before.pid, then.pid}
    rows, logged = (
        {row["pid"]: row for row in found if row.get("pid") in pids}
        for found in (recorded.rows(), recorded.logged())
    )
    return Seen(before, then, rows, logged, recorded.db)


@pytest.mark.parametrize(("name", "kind"), [("before", "snapshot"), ("then", "exec")])
def test_an_inode_above_half_of_64_bits_is_recorded(seen: Seen, name: str, kind: str) -> None:
    """Exactly, by the probe and by the scan of what runs; it ended the recorder, or kept it from starting."""
    program: Program = getattr(seen, name)
    row, line = seen.rows[program.pid], seen.logged[program.pid]

    assert program.inode >= 2**63
    assert (kind, str(program.inode)) == (row["kind"], row["inode"])
    assert row["inode"] == line["inode"]


@pytest.mark.parametrize("name", ["before", "then"])
def test_it_is_shown_as_it_is(seen: Seen, name: str) -> None:
    """To people, and as CSV."""
    program: Program = getattr(seen, name)
    shown = execaudit("--db", str(seen.db), "show", seen.rows[program.pid]["id"])
    table = execaudit("--db", str(seen.db), "query", "--format", "csv", "--pid", str(program.pid))

    assert f"inode {program.inode}" in " ".join(shown.stdout.split())
    assert f",{program.inode}," in table.stdout
