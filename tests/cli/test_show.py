"""`execaudit show`, as typed: every field of one exec, and its relatives."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from typing import TYPE_CHECKING

import pytest

from execaudit.output.record import FIELDS
from tests.cli.test_safety import HOSTILE, unsafe
from tests.commands import execaudit, found, in_shell, on_terminal
from tests.families import Family, born, make_family
from tests.histories import make_event, make_exit, make_history

if TYPE_CHECKING:
    from pathlib import Path

SIBLINGS = 130


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    """A history of a small family."""
    return make_family(tmp_path_factory.mktemp("family") / "history.db")


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Family:
    """A history of a parent of many."""
    root = born(None, b"root", pid=1, ppid=0)
    children = [born(root, b"child", seconds=n, pid=n + 100) for n in range(1, SIBLINGS + 1)]
    path = make_history(tmp_path_factory.mktemp("wide") / "history.db", [root, *children])
    return Family(path, {"root": root, **{str(child.pid - 100): child for child in children}})


def fields(text: str) -> dict[str, str]:
    """Returns what the lines before the relatives say."""
    lines = text.split("\n\n", maxsplit=1)[0].splitlines()
    width = max(len(name) for name in FIELDS)
    return {line[:width].rstrip(): line[width:].strip() for line in lines}


def sections(text: str) -> dict[str, list[str]]:
    """Returns the lines of each kind of relatives, without what is the same in all tests."""
    parts = [part.splitlines() for part in text.split("\n\n")[1:]]
    return {title: [line.removeprefix("  ") for line in lines] for title, *lines in parts}


def test_every_field(family: Family) -> None:
    """All keys of the record in its order, aligned; what is unknown is a dash; and two for people."""
    done = execaudit("--db", family.path, "show", family.id_of("cc1"), env={"TZ": "Asia/Tokyo"})
    shown = fields(done.out.decode())
    [record] = found(family.path, "--pid", "913")
    added = {
        "local time": "2026-11-23 03:08:44.400 +0900",
        "how it ended": "killed by SIGSEGV after 500.0 ms",
    }

    assert 0 == done.status
    assert [name for name in shown if name not in added] == [name for name in FIELDS if name != "argv_base64"]
    assert added == {name: shown[name] for name in added}
    assert '["cc1","x.c"]' == shown["argv"]
    for name, value in record.items():
        if not isinstance(value, list):
            assert shown[name] == ("-" if value is None else str(value))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gcc", "exited 1 after 650.0 ms"),
        ("make", "exited 2 after 1m03s"),
        ("sh", "replaced by {} (gcc) after 300.0 ms"),
        ("attempt", "failed with ENOENT"),
        ("bash", "end unknown"),
    ],
)
def test_how_it_ended(name: str, words: str, family: Family) -> None:
    """In words, with the program that came next."""
    done = execaudit("--db", family.path, "show", family.id_of(name))

    assert words.format(family.id_of("gcc")) == fields(done.out.decode())["how it ended"]


def test_relatives(family: Family) -> None:
    """Ancestors hang below each other, the root first; children and siblings stand side by side."""
    done = execaudit("--db", family.path, "show", family.id_of("gcc"))
    ids = {name: family.id_of(name) for name in family.members}

    assert {
        "ancestors": [
            f"{ids['init']}  18:08:39.000       1 -        /sbin/init",
            f"{ids['sshd']}  18:08:39.000     812 -        └─ sshd",
            f"{ids['bash']}  18:08:42.000     900 -           └─ -bash",
            f"{ids['make']}  18:08:43.000     910 2              └─ make -j2",
            f"{ids['sh']}  18:08:44.000     911 replaced          └─ sh -c 'gcc -c x.c'",
        ],
        "children": [f"{ids['cc1']}  18:08:44.400     913 SIGSEGV  cc1 x.c"],
        "siblings near in time": [
            f"{ids['mkdir']}  18:08:44.100     912 0        mkdir out",
            f"{ids['attempt']}  18:08:44.200     911 ENOENT   /opt/gcc: gcc -c x.c",
        ],
    } == sections(done.out.decode())


def test_no_relatives(family: Family) -> None:
    """Where there are none it says so, and of what led to an exec what is known."""
    stranger = execaudit("--db", family.path, "show", family.id_of("stranger"))
    init = execaudit("--db", family.path, "show", family.id_of("init"))

    assert {
        "ancestors": [f"(what led to {family.id_of('stranger')} is not in the history, pid 77, crond)"],
        "children: none": [],
        "siblings near in time: none": [],
    } == sections(stranger.out.decode())
    assert "ancestors: none" in sections(init.out.decode())


def test_a_parent_that_is_gone(family: Family, tmp_path: Path) -> None:
    """When an ancestor's row is missing, the chain begins below it, says so, and siblings are still known."""
    path = tmp_path / "history.db"
    shutil.copyfile(family.path, path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM exec WHERE id = 4")
    below = execaudit("--db", path, "show", family.id_of("gcc"))
    child = execaudit("--db", path, "show", family.id_of("ls"))
    sh = family.id_of("sh")

    assert [
        f"{sh}  18:08:44.000     911 replaced sh -c 'gcc -c x.c'",
        f"(what led to {sh} is not in the history, pid 910, make)",
    ] == sections(below.out.decode())["ancestors"]
    assert [sh] == [line[:22] for line in sections(child.out.decode())["siblings near in time"]]


def test_many_children(wide: Family) -> None:
    """The first fifty and how many more there are, or all."""
    some = sections(execaudit("--db", wide.path, "show", wide.id_of("root")).out.decode())["children"]
    every = execaudit("--db", wide.path, "show", wide.id_of("root"), "--all")

    assert [wide.id_of(str(number)) for number in range(1, 51)] == [line[:22] for line in some[:-1]]
    assert f"({SIBLINGS - 50} more: --all shows them)" == some[-1]
    assert SIBLINGS == len(sections(every.out.decode())["children"])


@pytest.mark.parametrize(
    ("own", "near"), [(60, [*range(55, 60), *range(61, 66)]), (2, [1, *range(3, 8)]), (130, range(125, 130))]
)
def test_siblings_are_near(own: int, near: list[int], wide: Family) -> None:
    """Five on each side, without the exec itself."""
    done = execaudit("--db", wide.path, "show", wide.id_of(str(own)))

    assert [wide.id_of(str(number)) for number in near] == [
        line[:22] for line in sections(done.out.decode())["siblings near in time"]
    ]


def test_json(family: Family, wide: Family) -> None:
    """One object: the record, its ancestors from the nearest on, its first children, its siblings."""
    done = execaudit("--db", family.path, "show", family.id_of("gcc"), "--format", "json")
    shown = json.loads(done.out)
    records = {record["id"]: record for record in found(family.path)}
    of_wide, all_of_wide = (
        json.loads(execaudit("--db", wide.path, "show", wide.id_of("root"), "--format", "json", *more).out)
        for more in ([], ["--all"])
    )

    def of(*names: str) -> list[object]:
        return [records[family.id_of(name)] for name in names]

    assert ["exec", "ancestors", "children", "siblings", "more_children", "hits"] == list(shown)
    assert of("gcc") == [shown["exec"]]
    assert of("sh", "make", "bash", "sshd", "init") == shown["ancestors"]
    assert of("cc1") == shown["children"]
    assert of("mkdir", "attempt") == shown["siblings"]
    assert (0, 80, 0) == tuple(each["more_children"] for each in (shown, of_wide, all_of_wide))
    assert [50, SIBLINGS] == [len(each["children"]) for each in (of_wide, all_of_wide)]
    assert 1 == done.out.count(b"\n")


@pytest.mark.parametrize(
    ("name", "gaps"), [("cc1", 1), ("mkdir", 0), ("make", 1), ("bash", 2), ("attempt", 0)]
)
def test_gaps_are_named(name: str, gaps: int, family: Family) -> None:
    """Where execs are missing while it ran, which may be children of it, stderr says so."""
    done = execaudit("--db", family.path, "show", family.id_of(name))

    assert gaps == done.err.count(b"gap: ") == done.err.count(b"\n")


def test_an_id_in_capitals(family: Family) -> None:
    """An id is the same in capitals."""
    key = family.id_of("gcc")

    assert execaudit("--db", family.path, "show", key) == execaudit("--db", family.path, "show", key.upper())


@pytest.mark.parametrize(
    ("arguments", "status", "part"),
    [
        (["x"], 2, "22 characters"),
        (["249h240003n113550000w"], 1, "there is no exec whose id begins with 249h240003n113550000w in"),
        (["248h240003n113550000wu"], 2, "22 characters"),
        (["0" * 100_000], 2, "22 characters"),
        ([b"\x1b]0;x\x07\xff"], 2, "22 characters"),
        ([], 2, "ID"),
        (["0" * 22, "0" * 22], 2, "unexpected extra argument"),
        (["0" * 22, "--format", "jsonl"], 2, "'json'"),
        (["0" * 22], 1, "there is no exec 0000000000000000000000"),
        (["z" * 22], 1, "there is no exec zzzzzzzzzzzzzzzzzzzzzz"),
    ],
)
def test_wrong_usage(arguments: list[str | bytes], status: int, part: str, family: Family) -> None:
    """What is no id is wrong usage, an id that is not there a failure: one safe line."""
    done = execaudit("--db", family.path, "show", *arguments)

    assert status == done.status
    assert done.failed_in_one_line()
    assert part in done.err.decode()
    assert [] == unsafe(done.err)


@pytest.mark.parametrize("fmt", ["text", "json"])
@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
def test_output_is_safe(fmt: str, tmp_path: Path, terminal: bool) -> None:  # noqa: FBT001  # pytest's
    """Whatever strangers put into any text of a family, nothing but text gets out, and no line is made up."""
    family = [born(None, b"root", pid=5000, parent_comm=b"\x1b[2J")]
    for number, value in enumerate(HOSTILE.values()):
        name = value.decode("utf-8", "surrogateescape")
        family.append(
            born(
                family[number - number % 3], value, seconds=number, pid=number + 1, comm=value[:15],
                filename=value, exe=value, cwd=value, tty=value, cgroup=value, interpreter=value,
                user=name, login_user=name,
            )
        )  # fmt: skip
    path = make_history(tmp_path / "history.db", family)
    run = on_terminal if terminal else execaudit
    for event in family:
        done = run("--db", path, "show", event.id, "--format", fmt)
        relatives = sum(map(len, sections(done.out.decode()).values()))

        assert [] == unsafe(done.out)
        assert fmt == "json" or len(FIELDS) + 8 + relatives >= done.out.count(b"\n")


def test_long_commands(tmp_path: Path) -> None:
    """The exec's own is whole; those of relatives end where a terminal does."""
    root = born(None, b"r" * 5000, pid=1, ppid=0, exe=None)
    child = born(root, b"c" * 5000, seconds=1, pid=2, exe=None, filename=None)
    path = make_history(tmp_path / "history.db", [root, child], exits=[make_exit(child.key, 2)])
    shown = on_terminal("--db", path, "show", child.id, env={"COLUMNS": "100"}).out.decode()
    piped = execaudit("--db", path, "show", child.id).out.decode()

    assert 2 == shown.count("c" * 5000)  # argv and command
    assert "r" * 5000 not in shown
    assert 100 == max(len(line) for line in shown.split("\n\n")[1].splitlines())
    assert "r" * 5000 in piped


@pytest.mark.parametrize("fmt", ["text", "json"])
def test_a_closed_pipe_is_silent(fmt: str, tmp_path: Path) -> None:
    """`| head` gets its bytes, and nobody complains."""
    path = make_history(tmp_path / "history.db", [event := make_event(b"x" * 1_000_000)])
    script = f"set -o pipefail; $execaudit --db {path} show {event.id} --format {fmt} | head -c 1"

    assert (0, 1, b"") == ((done := in_shell(script, folder=tmp_path)).status, len(done.out), done.err)


def test_a_damaged_history(family: Family, tmp_path: Path) -> None:
    """Relatives that make no sense are reported as damage, and a loop among them ends."""
    path = tmp_path / "history.db"
    shutil.copyfile(family.path, path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE exec SET parent_id = 8 WHERE id = 3")
    loop = execaudit("--db", path, "show", family.id_of("gcc"))
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE exec SET argv_id = 999 WHERE id = 5")
    damaged = execaudit("--db", path, "show", family.id_of("sh"))

    assert 0 == loop.status
    assert 4 == len(sections(loop.out.decode())["ancestors"])
    assert 4 == damaged.status
    assert damaged.failed_in_one_line()
