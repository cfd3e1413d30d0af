"""How answers are shown to people: a table that fits the terminal, colours, a pager, and the zone."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from execaudit.enums import Gained
from tests.commands import execaudit, on_terminal
from tests.families import born, make_family
from tests.histories import make_event, make_history

if TYPE_CHECKING:
    from pathlib import Path

_SHORT = 15
_SHOWN = ("[memfd] /memfd:x: '[kworker/0:1]'", "[deleted,setuid] helper", "[chroot] ls")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disguise, a setuid program that failed, a long line, and what ran in another root."""
    shell = born(None, b"sh", b"-c", b"x" * 300, pid=10, user="systemd-resolve")
    events = [
        shell,
        born(shell, b"[kworker/0:1]", seconds=1, pid=11, filename=b"/proc/self/fd/3", exe=b"/memfd:x (deleted)", nlink=0),
        born(shell, b"helper", seconds=2, pid=12, privileged=Gained.SETUID, exe=b"/opt/helper (deleted)"),
        born(shell, b"ls", seconds=86_400, pid=13, exe=b"/srv/jail/usr/bin/ls", root=b"/srv/jail"),
    ]  # fmt: skip
    return make_history(tmp_path_factory.mktemp("view") / "history.db", events)


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_table_fits_the_terminal(width: int, path: Path) -> None:
    """No line is wider, the long one is cut, and how many there are stands at the end on stderr."""
    done = on_terminal("--db", path, "query", env={"COLUMNS": str(width), "NO_COLOR": "1"})
    head, *rows = done.out.decode().splitlines()

    assert max(map(len, rows)) == width
    assert len(head) <= width
    assert rows[0].endswith("x…")
    for row, text in zip(rows[1:], _SHOWN, strict=True):
        assert text.startswith(row[head.index("COMMAND") :].removesuffix("…"))
    assert done.err.endswith(b"\n4 execs\n")


def test_a_pipe_has_the_same_table_uncut(path: Path) -> None:
    """The columns are those of the terminal, and the command is whole."""
    shown = on_terminal("--db", path, "query", env={"COLUMNS": "110", "NO_COLOR": "1"})
    piped = execaudit("--db", path, "query", "--format=table", env={"COLUMNS": "110"})
    lines = piped.out.decode().splitlines()

    assert "x" * 300 in lines[1]
    assert shown.out.decode().splitlines()[2:] == lines[2:]
    assert piped.err == b"4 execs\n"


def test_wide_shows_all(path: Path) -> None:
    """Also on a terminal: whole ids, commands and names, and the program of each."""
    lines = on_terminal("--db", path, "query", "--wide", env={"NO_COLOR": "1"}).out.decode().splitlines()
    ids = [row["id"] for row in execaudit("--db", path, "query").rows()]

    assert ids == [line.split()[2] for line in lines[1:]]
    assert "x" * 300 in lines[1]
    assert " systemd-resolve " in lines[1]
    assert " /memfd:x " in lines[2]


def test_the_id_in_the_table_names_the_exec(path: Path) -> None:
    """What the table shows of an id is enough for every place that takes one."""
    lines = execaudit("--db", path, "query", "--format=table").out.decode().splitlines()
    short = lines[1].split()[2]

    assert _SHORT == len(short)
    assert b"x" * 300 in execaudit("--db", path, "show", short).out
    assert [11, 12, 13] == execaudit("--db", path, "query", "--under", short).pids()
    assert [10, 11, 12, 13] == execaudit("--db", path, "tree", "--id", short, "--format=jsonl").pids()


@pytest.mark.parametrize("command", ["query --format=table", "tree"])
def test_colour_is_chosen(command: str, path: Path) -> None:
    """`always` has colours in a pipe too and beats NO_COLOR; `never` has none on a terminal."""
    always = execaudit("--db", path, *command.split(), "--color=always", env={"NO_COLOR": "1"})
    never = on_terminal("--db", path, *command.split(), "--color=never", env={"TERM": "xterm"})

    assert b"\x1b[33m[memfd] " in always.out
    assert b"\x1b[1;35m/memfd:x: " in always.out
    assert b"[memfd] " in never.out
    assert b"\x1b" not in never.out


def test_times_in_utc(tmp_path: Path) -> None:
    """--utc shows them so; what --since means stays local."""
    family = make_family(tmp_path / "history.db")
    asked = ("--db", family.path, "query", "--format=table", "--since=2026-11-23 03:08:45", "--limit=3")
    local, utc = (
        execaudit(*asked, *option, env={"TZ": "Asia/Tokyo"}).out.decode().splitlines()
        for option in ([], ["--utc"])
    )

    assert ["2026-11-23 +09:00", "03:08:45"] == [local[0][:17], local[1][:8]]
    assert ["2026-11-22 UTC ID", "18:08:45"] == [utc[0][:17], utc[1][:8]]
    assert len(local) == len(utc) == 3


class Pager:
    """A program called less, which says what it was given."""

    def __init__(self, folder: Path, script: str) -> None:
        program = folder / "less"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        self.env = {"PATH": f"{folder}:{os.environ['PATH']}", "PAGER": "less", "LINES": "10", "LESS": ""}


@pytest.fixture
def long_table(tmp_path: Path) -> Path:
    """A history that is longer than a terminal, but not than a pipe."""
    return make_history(tmp_path / "history.db", [make_event(b"a", pid=n, seconds=n) for n in range(1, 40)])


def test_a_long_answer_goes_to_a_pager(long_table: Path, tmp_path: Path) -> None:
    """A short one does not, and none does where that is not wanted, or where the output is no terminal."""
    pager = Pager(tmp_path, "sed 's/^/P:/'")
    asked = ("--db", long_table, "query", "--format=table")
    long = on_terminal(*asked, env=pager.env)

    assert [b"P:"] * 40 == [line[:2] for line in long.out.splitlines()]
    assert long.err.endswith(b"\n39 execs\n")
    for others, env in (
        (["--limit=8"], {}),
        (["--no-pager"], {}),
        ([], {"PAGER": ""}),
        (["--format=csv"], {}),
    ):
        assert b"P:" not in on_terminal(*asked, *others, env=pager.env | env).out
    assert b"P:" not in execaudit(*asked, env=pager.env).out
    assert b"P:" in on_terminal("--db", long_table, "tree", env=pager.env).out
    assert b"P:" in on_terminal("--db", long_table, "show", "pid:1", env=pager.env).out


def test_the_pager_is_left(long_history: Path, tmp_path: Path) -> None:
    """Who has seen enough hears nothing more, and that is no failure."""
    done = on_terminal("--db", long_history, "query", "--limit=3000", env=Pager(tmp_path, "head -n 2").env)

    assert (0, 2) == (done.status, done.out.count(b"\n"))
    assert b"execs" not in done.err


def test_a_pager_of_another_user_runs_no_commands(long_table: Path, tmp_path: Path) -> None:
    """With sudo, only less is used, and told to start nothing: it would start it as root."""
    env = Pager(tmp_path, 'echo "secure: $LESSSECURE $LESS"').env
    shown = on_terminal(
        "--db", long_table, "query", env={**env, "SUDO_UID": "1000", "PAGER": "touch touched", "LESS": "FRX"}
    )

    assert b"secure: 1 FRX" in shown.out
    assert not re.search(rb"touch", shown.out)
