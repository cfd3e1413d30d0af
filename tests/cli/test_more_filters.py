"""Filters by what an exec came to, their opposites, and what `--user` leaves out."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click
import pytest

from execaudit.cli import query
from execaudit.enums import Gained, Kind
from tests.commands import execaudit
from tests.families import born, make_family
from tests.histories import START, make_event, make_exit, make_history

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A script, deleted programs, a program in memory, setuid programs, failures and ends of each kind."""
    alice = {"user": "alice", "uid": 4000, "euid": 4000}
    ends = [make_event(b"a", seconds=n, pid=n) for n in (1, 2, 3)]
    events = [
        *ends,
        make_event(b"x", seconds=4, pid=4, comm=b"x.sh", exe=b"/usr/bin/dash", interpreter=b"/bin/sh", cwd=b"/srv/x"),
        make_event(b"x", seconds=5, pid=5, exe=b"/tmp/x (deleted)", nlink=1),
        make_event(b"x", seconds=6, pid=6, exe=b"/memfd:x (deleted)", nlink=0, cgroup=b"/user.slice"),
        make_event(b"sudo", seconds=7, pid=7, **{**alice, "euid": 0}, privileged=Gained.SETUID),
        make_event(b"ls", seconds=8, pid=8, **alice, privileged=Gained(0)),
        make_event(b"no", seconds=9, pid=9, kind=Kind.FAILED, errno=2, exe=b"/tmp/y (deleted)"),
        make_event(b"no", seconds=10, pid=10, kind=Kind.FAILED, errno=13, filename=b"/opt/tool"),
        make_event(b"init", seconds=11, pid=11, kind=Kind.SNAPSHOT),
    ]  # fmt: skip
    exits = [make_exit(ends[0].key, 12), make_exit(ends[1].key, 12, 3 << 8), make_exit(ends[2].key, 12, 9)]
    return make_history(tmp_path_factory.mktemp("mixed") / "history.db", events, exits=exits)


@pytest.mark.parametrize(
    ("typed", "pids"),
    [
        ("--ok", [1, 4, 5, 6, 7, 8, 11]),
        ("--exit-code 3", [2]),
        ("--exit-code 3 --exit-code 0", [1, 2]),
        ("--errno ENOENT", [9]),
        ("--errno eacces --errno 2", [9, 10]),
        ("--errno E13", [10]),
        ("--kind snapshot --kind failed", [9, 10, 11]),
        ("--deleted", [5, 6]),
        ("--privileged", [7]),
        ("--euid 4000", [8]),
        ("--euid alice", [8]),
        ("--interpreter sh", [4]),
        ("--interpreter '/bin/*'", [4]),
        ("--not-comm true", [4]),
        ("--not-comm true --not-comm x.sh", []),
        ("--not-exe /usr/bin/true --ok", [4, 5, 6]),
        ("--not-exe tool --failed", [9]),
        ("--not-args x --not-args n --not-args o", [1, 2, 3, 8]),
        ("--not-user root", [7, 8]),
        ("--not-user root --not-user 4000", []),
        ("--not-cwd /", [4]),
        ("--not-cwd '/srv*' --kind snapshot", [11]),
        ("--not-cgroup user.slice --deleted", [5]),
        ("--user alice --not-args sudo", [8]),
    ],
)
def test_each_finds_what_it_says(mixed: Path, typed: str, pids: list[int]) -> None:
    """One given twice means any of them; of an opposite, none of them. What is not known is no match."""
    done = execaudit("--db", mixed, "query", *shlex.split(typed), "--format=jsonl")

    assert (0, pids) == (done.status, done.pids())


def test_containers_and_families_have_opposites(history: Path, tmp_path: Path) -> None:
    """What is outside of a container, and what did not come of an exec: the exec itself included."""
    outside = execaudit("--db", history, "query", "--not-container=9ec3", "--not-container=web")
    family = make_family(tmp_path / "history.db")
    rest = execaudit("--db", family.path, "query", f"--not-under={family.id_of('sh')}")

    assert outside.pids() == [1, 0, 100, 101, 104, 200]
    assert rest.pids() == [1, 812, 900, 910, 911, 914, 911]


def test_what_comes_later_is_no_exception(tmp_path: Path) -> None:
    """An export made by several processes leaves the descendants out, too."""
    root = make_event(b"root", pid=1)
    events = [
        root,
        *(born(root if n % 2 else None, b"x", seconds=1 + n / 1000, pid=2 + n % 9) for n in range(60_000)),
    ]
    path = make_history(tmp_path / "history.db", events)
    done = execaudit("--db", path, "export", f"--not-under={root.id}", "--format=jsonl")

    assert len(done.pids()) == 30_001


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("--errno ENOEN", "no error is called 'ENOEN': did you mean ENOENT?"),
        ("--errno 99999", "no error is called '99999'"),
        ("--exit-code 256", "256 is not in the range"),
        ("--kind fork", "'fork' is not one of 'exec', 'failed', 'snapshot'"),
        ("--euid nobody-here", "--euid: nobody is called 'nobody-here', in this history or on this host"),
        ("--not-user nobody-here", "--not-user: nobody is called 'nobody-here'"),
        ("--not-under x", "'x' is no exec id: those have 22 characters"),
    ],
)
def test_a_value_that_is_none_is_refused(mixed: Path, typed: str, said: str) -> None:
    """It is wrong usage, in one line that names the option."""
    done = execaudit("--db", mixed, "query", *typed.split())

    assert done.status == 2
    assert said in done.err.decode()
    assert b"Traceback" not in done.err


@pytest.mark.parametrize(
    ("typed", "is_said"),
    [
        ("--user root", True),
        ("--user 0", True),
        ("--user root --limit 1", True),
        ("--user root --until @0", False),
        ("--user root --comm ls", False),
        ("--user alice", False),
        ("--user root --euid 0", False),
    ],
)
def test_setuid_programs_are_pointed_out(mixed: Path, typed: str, *, is_said: bool) -> None:
    """--user is who ran it. Where a setuid program of others in the range ran as this user, it is said."""
    said = execaudit("--db", mixed, "query", *typed.split()).err.decode()

    assert is_said == ("setuid programs of others ran as " in said)


def test_the_kinds_to_choose_from_are_all_kinds() -> None:
    """They stand in the option once more, because `--help` does not wait for the enumeration."""
    option = next(option for option in query.command.params if option.name == "kinds")

    assert isinstance(option.type, click.Choice)
    assert [kind.value for kind in Kind] == [*option.type.choices]


def test_new_programs(history: Path) -> None:
    """Those that the history does not have before the range, which has to begin somewhere."""
    asked = ("--db", history, "query", "--new")
    wrong = execaudit(*asked)

    assert [103, 104, 200] == execaudit(*asked, "--since", f"@{START + 5}").pids()
    assert [200] == execaudit(*asked, "--since", f"@{START + 7}").pids()
    assert wrong.failed_in_one_line()
    assert b"--since" in wrong.err
