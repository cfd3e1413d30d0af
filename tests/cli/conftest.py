"""Histories that the tests of the command line share, and only read."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from execaudit.event import Hole, Kind, Truncated
from tests.histories import make_event, make_gap, make_history

if TYPE_CHECKING:
    from collections.abc import Iterator

MANY = 3000


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight execs, a second apart, told apart by pid; two gaps."""
    events = [
        make_event(
            b"/sbin/init", b"splash", seconds=0, pid=1, ppid=0, comm=b"systemd", exe=b"/usr/lib/systemd/systemd"
        ),
        make_event(b"swapper", seconds=1, pid=0, ppid=0, comm=b"swapper/0", exe=None, cwd=None),
        make_event(
            b"curl", b"-sS", b"http://x/a b", seconds=2,
            pid=100, ppid=1, uid=1000, user="alice", comm=b"curl", exe=b"/usr/bin/curl", cwd=b"/home/alice",
        ),
        make_event(
            b"tool", b"--flag", seconds=3,
            kind=Kind.FAILED, errno=2, pid=101, ppid=100, uid=1000, user="alice",
            comm=b"bash", filename=b"/opt/tool", exe=b"/usr/bin/bash", cwd=b"/home/alice/src",
        ),
        make_event(
            b"cc", b"", seconds=4,
            pid=102, ppid=101, uid=4242, user=None, comm=b"cc", exe=b"/usr/bin/gcc",
            holes=(Hole(3, 500),), truncated=Truncated.LIMIT, argc=80, argv_bytes=504,
        ),
        make_event(b"ls", b"*", b"#x", seconds=5, pid=103, comm=b"ls", exe=b"/usr/bin/ls", cwd=b"/srv"),
        make_event(seconds=6, pid=104, comm=b"empty", exe=b"/memfd:x (deleted)"),
        make_event(b"id", seconds=7, pid=200, host="db1", comm=b"id", exe=b"/usr/bin/id"),
    ]  # fmt: skip
    gaps = [make_gap(3.2, 3.4, count=7), make_gap(6.5, 6.6, count=None)]
    return make_history(tmp_path_factory.mktemp("history") / "history.db", events, gaps)


@pytest.fixture(scope="session")
def long_history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More than a pipe holds."""
    events = (
        make_event(b"echo", b"%d" % number, seconds=number / 100, pid=1 + number) for number in range(MANY)
    )
    return make_history(tmp_path_factory.mktemp("long") / "history.db", events)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that other users can enter, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="execaudit-cli-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
