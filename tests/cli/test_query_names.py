"""`execaudit query` by a name: it is taken as it was meant, or one line says why nothing can match."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from execaudit.enums import Kind
from tests.commands import execaudit
from tests.histories import make_event, make_history

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history of names as the kernel has them: a long command, a failed exec, and one in a chroot."""
    folder = tmp_path_factory.mktemp("named")
    (folder / "real").mkdir()
    (folder / "link").symlink_to("real")
    real = bytes(folder.resolve() / "real")
    events = [
        make_event(
            b"a", pid=1, comm=b"systemd-journal", exe=b"/usr/lib/systemd/systemd-journald", filename=b"j"
        ),
        make_event(b"b", pid=2, comm=b"prog", exe=real + b"/prog", cwd=real, filename=b"./link/prog"),
        make_event(
            b"c",
            pid=3,
            comm=b"bash",
            exe=b"/usr/bin/bash",
            cwd=b"/",
            kind=Kind.FAILED,
            errno=2,
            filename=b"tool",
        ),
        make_event(
            b"d", pid=4, comm=b"sh", exe=b"/srv/jail/bin/dash", root=b"/srv/jail", filename=b"/bin/sh"
        ),
    ]
    make_history(folder / "history.db", events)
    return folder


@pytest.mark.parametrize(
    ("typed", "pids"),
    [
        ("--comm systemd-journald", [1]),
        ("--comm 'systemd-journald*'", [1]),
        ("--comm /usr/local/bin/prog", [2]),
        ("--exe prog", [2]),
        ("--exe {folder}/link/prog", [2]),
        ("--exe {folder}/link/", [2]),
        ("--exe '{folder}/link/p*'", [2]),
        ("--exe ./link/prog", [2]),
        ("--cwd {folder}/link/", [2]),
        ("--cwd link", []),
        ("--cwd ./link", [2]),
        ("--exe tool", [3]),
        ("--exe bash", [3]),
        ("--exe /bin/dash --failed", []),
        ("--exe dash", [4]),
        ("--exe /srv/jail/bin/dash", [4]),
        ("--exe '/bin/da*' --host web1", [4]),
        ("--exe /srv/jai", []),
        ("--filename ./link/prog", [2]),
        ("--filename tool --filename j", [1, 3]),
        ("--filename '*/sh'", [4]),
        ("--filename /bin/", [4]),
        ("--filename bash", []),
    ],
)
def test_names_are_taken_as_they_were_meant(named: Path, typed: str, pids: list[int]) -> None:
    """Whatever the kernel makes of names: cut, absolute, without links, of a chroot."""
    done = execaudit("--db", "history.db", "query", *shlex.split(typed.format(folder=named)), folder=named)

    assert (0, b"") == (done.status, done.err)
    assert pids == done.pids()


def test_a_name_that_nothing_can_have(named: Path) -> None:
    """Is said in one line; an answer without execs is an answer."""
    done = execaudit("--db", "history.db", "query", "--comm", "s*-a-name-of-more\x1b", folder=named)

    assert (0, [], 1) == (done.status, done.rows(), done.err.count(b"\n"))
    assert done.err.startswith(b"--comm s*-a-name-of-more\\x1b: ")
    assert b"15 bytes" in done.err
