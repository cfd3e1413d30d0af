"""Execs are named by an id, the beginning of one, or a pid; and a time by an exec."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from execaudit.enums import Kind
from tests.commands import execaudit
from tests.families import Family, make_family
from tests.histories import START, make_event, make_history

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    """Pid 911 had several execs, pid 910 one."""
    return make_family(tmp_path_factory.mktemp("family") / "history.db")


def shortest(family: Family, name: str) -> str:
    """Returns the shortest beginning that only this member's id has."""
    wanted = family.id_of(name)
    others = [event.id for event in family.members.values() if event.id != wanted]
    return next(wanted[:n] for n in range(4, 23) if not any(other.startswith(wanted[:n]) for other in others))


@pytest.mark.parametrize("name", ["make", "attempt", "init", "stranger"])
def test_the_beginning_of_an_id_will_do(family: Family, name: str) -> None:
    """Everywhere, in either case, while only one id begins so."""
    text = shortest(family, name)
    pid = family.members[name].pid
    shown = execaudit("--db", family.path, "show", text.upper(), "--format=json")
    near = execaudit("--db", family.path, "query", f"--around={text}", "--within=0s")

    assert len(text) < 22
    assert f'"pid":{pid},'.encode() in shown.out.split(b'"ancestors"')[0]
    assert pid in near.pids()
    for option, full in (
        (f"--under={text}", f"--under={family.id_of(name)}"),
        (f"--not-under={text}", f"--not-under={family.id_of(name)}"),
    ):
        assert (
            execaudit("--db", family.path, "query", option).out
            == execaudit("--db", family.path, "query", full).out
        )
    assert (
        execaudit("--db", family.path, "tree", f"--id={text}").out
        == execaudit("--db", family.path, "tree", f"--id={family.id_of(name)}").out
    )


def test_a_pid_will_do(family: Family) -> None:
    """While that pid had one exec in the range."""
    under = execaudit("--db", family.path, "query", "--under=pid:910")
    later = execaudit("--db", family.path, "query", "--under=pid:911", f"--since=@{START + 7}")
    shown = execaudit("--db", family.path, "show", "pid:913", "--format=json")

    assert under.pids() == [911, 912, 911, 911, 913, 914]
    assert (0, []) == (later.status, later.pids())
    assert shown.out.startswith(f'{{"exec":{{"id":"{family.id_of("cc1")}"'.encode())


@pytest.mark.parametrize(
    ("text", "said", "names"),
    [
        ("pid:911", "pid 911 had 4 execs: name one of these by its id", ["sh", "attempt", "gcc", "stranger"]),
        ("{4}", "more than 10 ids begin with ", []),
    ],
)
def test_several_are_listed(family: Family, text: str, said: str, names: list[str]) -> None:
    """It fails, and shows from which to choose, in a line each that is safe to show."""
    done = execaudit("--db", family.path, "show", text.replace("{4}", family.id_of("sh")[:4]))
    *listed, last = done.err.decode().splitlines()

    assert (1, b"") == (done.status, done.out)
    assert f"execaudit: {said}" in last
    assert len(listed) == (len(names) or 10)
    assert all(line.startswith(family.id_of(name)) for name, line in zip(names, listed, strict=False))


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        ("pid:5", 1, "pid 5 had no exec in this time"),
        ("zzzz", 1, "there is no exec whose id begins with zzzz in this history"),
        ("248", 2, "is no exec id"),
        ("pid:", 2, "is no exec id"),
        ("pid:x", 2, "is no exec id"),
        ("pid:99999999999999999999", 2, "is no exec id"),
        ("pid:٣", 2, "is no exec id"),
    ],
)
def test_what_names_nothing_is_one_line(family: Family, text: str, status: int, said: str) -> None:
    """An id of nothing is a failure; what can be no id is wrong usage."""
    done = execaudit("--db", family.path, "show", text)

    assert status == done.status
    assert done.failed_in_one_line()
    assert said in done.err.decode()


def test_a_failed_exec_has_the_id_of_its_thread(tmp_path: Path) -> None:
    """Its beginning is found by the tid, that of another exec by the pid."""
    failed = make_event(b"a", pid=7, tid=8, kind=Kind.FAILED, errno=2)
    path = make_history(tmp_path / "history.db", [failed, make_event(b"b", pid=9, seconds=1)])
    shown = execaudit("--db", path, "show", failed.id[:21], "--format=json")

    assert f'"id":"{failed.id}"'.encode() in shown.out


def test_a_pid_of_another_time_is_listed(family: Family) -> None:
    """The range may begin after the exec whose descendants are asked for."""
    done = execaudit("--db", family.path, "query", "--under=pid:910", f"--since=@{START + 7}")
    listed, last = done.err.decode().splitlines()

    assert (1, b"") == (done.status, done.out)
    assert listed.startswith(f"{family.members['make'].id} ")
    assert "pid 910 had no exec in this time: name one of these, of other times, by its id" in last


def test_a_pid_names_what_it_ran(tmp_path: Path) -> None:
    """A search along PATH leaves attempts of the same pid; several attempts and no program are listed."""
    refused = {"kind": Kind.FAILED, "errno": 2, "pid": 7}
    events = [
        make_event(b"sh", **refused, seconds=0),
        make_event(b"sh", **refused, seconds=1),
        make_event(b"sh", pid=7, seconds=2),
        make_event(b"sh", **{**refused, "pid": 8}, seconds=3),
        make_event(b"sh", **{**refused, "pid": 8}, seconds=4),
    ]
    path = make_history(tmp_path / "history.db", events)
    shown = execaudit("--db", path, "show", "pid:7", "--format=json")
    neither = execaudit("--db", path, "show", "pid:8")

    assert shown.out.startswith(f'{{"exec":{{"id":"{events[2].id}"'.encode())
    assert b"pid 8 had 2 execs" in neither.err


@pytest.mark.parametrize(
    ("typed", "pids"),
    [
        (f"--around=@{START + 4} --within=1s", [900, 910, 911]),
        (f"--around=@{START + 4} --within=2s", [900, 910, 911, 912, 911, 911, 913, 914]),
        ("--around=pid:910 --within=1s", [900, 910, 911]),
        ("--around=pid:910", [1, 812, 900, 910, 911, 912, 911, 911, 913, 914, 911]),
        ("--around=pid:910 --within=1s --comm=sh", [911]),
        ("--around=pid:910 --within=1s --where=pid>900", [910, 911]),
    ],
)
def test_around_is_a_range(family: Family, typed: str, pids: list[int]) -> None:
    """Thirty seconds before and after, or as long as --within says; both ends are in it."""
    assert execaudit("--db", family.path, "query", *typed.split()).pids() == pids


def test_a_pid_of_a_tree_goes_with_a_time(family: Family) -> None:
    """--around chooses which of the execs of a pid is drawn."""
    done = execaudit(
        "--db", family.path, "tree", "--pid=911", f"--around=@{START + 7}", "--within=1s", "--format=jsonl"
    )

    assert [family.id_of("stranger")] == [row["id"] for row in done.rows()]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("--around=@5 --since=@3", "--around excludes --since and --until: leave one of them out"),
        ("--within=5s", "--within goes with --around"),
        ("--around=noon", 'the time "noon" is not understood'),
        ("--around=@5 --within=x", 'the duration "x" is not understood'),
    ],
)
def test_around_is_refused_where_it_says_nothing(family: Family, typed: str, said: str) -> None:
    """Each is wrong usage, in one line."""
    done = execaudit("--db", family.path, "query", *typed.split())

    assert done.status == 2
    assert said in done.err.decode()
