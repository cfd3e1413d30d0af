"""Histories that the tests of the command line share, and do not change."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from execaudit.enums import Kind, Truncated
from execaudit.event import Hole
from execaudit.exec_id import ExecKey
from tests.histories import make_event, make_exit, make_gap, make_history

if TYPE_CHECKING:
    from collections.abc import Iterator

MANY = 3000
CONTAINER = "9ec3" * 16


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight execs with different pids, 1 s apart, and two gaps; init has two children and one grandchild."""
    init = make_event(
        b"/sbin/init", b"splash", seconds=0, pid=1, ppid=0, comm=b"systemd", exe=b"/usr/lib/systemd/systemd",
        kind=Kind.SNAPSHOT, cgroup=b"/init.scope",
    )  # fmt: skip
    curl = make_event(
        b"curl", b"-sS", b"http://x/a b", seconds=2,
        pid=100, ppid=1, uid=1000, user="alice", comm=b"curl", exe=b"/usr/bin/curl", cwd=b"/home/alice",
        parent=init.key, login_user="alice", auid=1000, tty=b"pts/3", cgroup=b"/user.slice/a",
    )  # fmt: skip
    events = [
        init,
        make_event(b"swapper", seconds=1, pid=0, ppid=0, comm=b"swapper/0", exe=None, cwd=None),
        curl,
        make_event(
            b"tool", b"--flag", seconds=3,
            kind=Kind.FAILED, errno=2, pid=101, ppid=100, uid=1000, user="alice",
            comm=b"bash", filename=b"/opt/tool", exe=b"/usr/bin/bash", cwd=b"/home/alice/src",
            parent=curl.key, login_user="alice", auid=1000, tty=b"pts/4", cgroup=b"/user.slice/b",
        ),
        make_event(
            b"cc", b"", seconds=4,
            pid=102, ppid=101, uid=4242, user=None, comm=b"cc", exe=b"/usr/bin/gcc",
            holes=(Hole(3, 500),), truncated=Truncated.LIMIT, argc=80, argv_bytes=504,
            auid=4242, parent=init.key, cgroup=f"/system.slice/docker-{CONTAINER}.scope".encode(),
        ),
        make_event(
            b"ls", b"*", b"#x", seconds=5, pid=103, comm=b"ls", exe=b"/usr/bin/ls", cwd=b"/srv",
            cgroup=b"/machine.slice/systemd-nspawn@web.service/payload",
        ),
        make_event(seconds=6, pid=104, comm=b"empty", exe=b"/memfd:x (deleted)"),
        make_event(b"id", seconds=7, pid=200, host="db1", comm=b"id", exe=b"/usr/bin/id"),
    ]  # fmt: skip
    gaps = [make_gap(3.2, 3.4, count=7, exits=3), make_gap(6.5, 6.6, count=None)]
    exits = [make_exit(curl.key, 9, 256), make_exit(ExecKey(0, 0, 77), 9)]
    return make_history(tmp_path_factory.mktemp("history") / "history.db", events, gaps, exits)


@pytest.fixture(scope="session")
def long_history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history whose output is larger than a pipe."""
    events = (
        make_event(b"echo", b"%d" % number, seconds=number / 100, pid=1 + number) for number in range(MANY)
    )
    return make_history(tmp_path_factory.mktemp("long") / "history.db", events)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that other users can enter; they cannot enter pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="execaudit-cli-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
