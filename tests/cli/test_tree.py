"""`execaudit tree`, as typed: who is drawn, where, and how that looks.

This has more than 400 lines, because most tests are of one forest and of whole drawings of it.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import sqlite3
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

from execaudit.output.record import FIELDS
from tests.cli.test_safety import HOSTILE, unsafe
from tests.commands import PATIENCE, audible, execaudit, in_shell, line_of, on_terminal, running
from tests.families import Family, born, make_family
from tests.histories import START, make_event, make_gap, make_history

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    """A history of a small family."""
    return make_family(tmp_path_factory.mktemp("family") / "history.db")


def expected(text: str) -> str:
    """Returns a drawing as it stands in a test."""
    return dedent(text).removeprefix("\n")


def test_everything(family: Family) -> None:
    """Without filters all execs are drawn, each below what led to it, with how it ended."""
    done = execaudit("--db", family.path, "tree")

    assert 0 == done.status
    assert (
        expected(
            """
         2026-11-22 UTC USER       PID DURATION STATUS   COMMAND
        <18:08:39.000 root           1        - -        /sbin/init
        <18:08:39.000 root         812        - -        └─ sshd
         18:08:42.000 alice        900        - -           └─ -bash
         18:08:43.000 alice        910    1m03s 2              └─ make -j2
         18:08:44.000 alice        911  300.0ms replaced          ├─ sh -c 'gcc -c x.c'
         18:08:44.100 alice        912  2.000ms 0                 │  ├─ mkdir out
         18:08:44.200 alice        911        - ENOENT            │  └─ /opt/gcc: gcc -c x.c
         18:08:44.300 alice        911  650.0ms 1                 │→ gcc -c x.c
         18:08:44.400 alice        913  500.0ms SIGSEGV           │  └─ cc1 x.c
         18:08:45.000 alice        914  2.000ms 0                 └─ ls
         18:08:46.000 root          911        - -        cron
        """
        ).replace("root          911", "root         911")
        == done.out.decode()
    )


def test_a_filter(family: Family) -> None:
    """What matches is marked, and drawn below what led to it, which is drawn once and marked otherwise."""
    done = execaudit("--db", family.path, "tree", "--comm", "cc1", "--comm", "ls")

    assert (
        expected(
            """
           2026-11-22 UTC USER       PID DURATION STATUS   COMMAND
        . <18:08:39.000 root           1        - -        /sbin/init
        . <18:08:39.000 root         812        - -        └─ sshd
        .  18:08:42.000 alice        900        - -           └─ -bash
        .  18:08:43.000 alice        910    1m03s 2              └─ make -j2
        .  18:08:44.000 alice        911  300.0ms replaced          ├─ sh -c 'gcc -c x.c'
        .  18:08:44.300 alice        911  650.0ms 1                 │→ gcc -c x.c
        *  18:08:44.400 alice        913  500.0ms SIGSEGV           │  └─ cc1 x.c
        *  18:08:45.000 alice        914  2.000ms 0                 └─ ls
        """
        )
        == done.out.decode()
    )


# Who is drawn, in the order of the drawing; a star after what was asked for.
DRAWN: dict[str, str] = {
    "--comm cc1 --comm ls": "init sshd bash make sh gcc cc1* ls*",
    "--comm nobody": "",
    "--failed": "init sshd bash make sh attempt*",
    "--ppid 910": "init sshd bash make sh* mkdir attempt* gcc* cc1 ls*",
    "--since @{6} --user alice": "init sshd bash make ls*",
    "--user alice --limit 2": "init sshd bash make sh gcc cc1* ls*",
    "--user alice --limit 2 --reverse": "init sshd bash make ls* sh gcc cc1*",
    "--under [sh]": "init sshd bash make sh mkdir* attempt* gcc* cc1*",
    "--under [sh] --failed": "init sshd bash make sh attempt*",
    "--reverse": "stranger* init* sshd* bash* make* ls* sh* attempt* mkdir* gcc* cc1*",
    "--id [gcc]": "init sshd bash make sh gcc* cc1",
    "--id [ls] --id [mkdir]": "init sshd bash make sh mkdir* ls*",
    "--id [make] --id [sh]": "init sshd bash make* sh* mkdir attempt gcc cc1 ls",
    "--id [attempt]": "init sshd bash make sh attempt*",
    "--id [stranger]": "stranger*",
    "--id [make] --limit 2": "init sshd bash make* sh gcc cc1 ls",
    "--id [make] --limit 1 --reverse": "init sshd bash make* ls",
    "--id [make] --limit 0": "",
    "--id [make] --limit 99999999999999999999999": "init sshd bash make* sh mkdir attempt gcc cc1 ls",
    "--pid 911": "init sshd bash make sh* mkdir attempt* gcc* cc1 stranger*",
    "--pid 911 --until @{6}": "init sshd bash make sh* mkdir attempt* gcc* cc1",
    "--pid 911 --since @{6}": "stranger*",
    "--pid 911 --limit 2": "init sshd bash make sh* gcc* cc1 stranger*",
    "--pid 913 --pid 914": "init sshd bash make sh gcc cc1* ls*",
    "--pid 911 --host db1": "",
    "--pid 5": "",
}


def words(options: str, family: Family) -> list[str]:
    """Returns the arguments that options are: `[gcc]` is its id, `{6}` six seconds after the start."""
    named = re.sub(r"\[(\w+)]", lambda name: family.id_of(name[1]), options)
    return named.format(*range(START, START + 100)).split()


def names(rows: list[dict[str, Any]], family: Family) -> str:
    """Returns the names of the members that are drawn, with a star after what was asked for."""
    name_of = {event.id: name for name, event in family.members.items()}
    return " ".join(name_of[row["id"]] + "*" * row["matched"] for row in rows)


@pytest.mark.parametrize("options", DRAWN)
def test_who_is_drawn(options: str, family: Family) -> None:
    """Matches and what led to them; with --id and --pid what came of them too; of too many the newest."""
    done = execaudit("--db", family.path, "tree", "--format", "jsonl", *words(options, family))

    assert 0 == done.status
    assert DRAWN[options] == names(done.rows(), family)


def test_one_family(family: Family) -> None:
    """Marks tell what was asked for, what led to it, and what came of it, which has none."""
    done = execaudit("--db", family.path, "tree", "--id", family.id_of("sh"), "--limit", "3")

    assert (
        expected(
            """
           2026-11-22 UTC USER       PID DURATION STATUS   COMMAND
        . <18:08:39.000 root           1        - -        /sbin/init
        . <18:08:39.000 root         812        - -        └─ sshd
        .  18:08:42.000 alice        900        - -           └─ -bash
        .  18:08:43.000 alice        910    1m03s 2              └─ make -j2
        *  18:08:44.000 alice        911  300.0ms replaced          └─ sh -c 'gcc -c x.c'
           18:08:44.200 alice        911        - ENOENT               └─ /opt/gcc: gcc -c x.c
           18:08:44.300 alice        911  650.0ms 1                  → gcc -c x.c
           18:08:44.400 alice        913  500.0ms SIGSEGV              └─ cc1 x.c
        """
        )
        == done.out.decode()
    )


def test_what_came_of_matches_is_drawn_whoever_ran_it(tmp_path: Path) -> None:
    """A user's tree goes on as another user; where that is much, a line says how much and as whom."""
    www = born(None, b"php", pid=2, user="www-data", uid=33)
    helper = born(www, b"helper", seconds=1, pid=3)
    events = [www, helper, *(born(helper, b"ls", seconds=2 + n, pid=4 + n) for n in range(150))]
    path = make_history(tmp_path / "history.db", events)
    asked = ("--db", path, "tree", "--user", "www-data")
    few = execaudit(*asked, "--until", f"@{START + 4}").out.decode().splitlines()
    many = execaudit(*asked).out.decode().splitlines()
    as_json = execaudit(*asked, "--format=jsonl").rows()
    at = few[0].index("COMMAND")

    assert ["php", "└─ helper", "   ├─ ls", "   └─ ls"] == [line[at:] for line in few[1:]]
    assert ["php", "└─ (151 more below, as root)"] == [line[many[0].index("COMMAND") :] for line in many[1:]]
    assert [2] == [row["pid"] for row in as_json]


def test_json_lines(family: Family) -> None:
    """In the order of the drawing, each record with its depth, and whether it was asked for."""
    done = execaudit("--db", family.path, "tree", "--id", family.id_of("sh"), "--format", "jsonl")
    rows = done.rows()
    depths = {row["id"]: row["depth"] for row in rows}

    assert [*FIELDS[:-1], "depth", "matched"] == list(rows[0])
    assert "init sshd bash make sh* mkdir attempt gcc cc1" == names(rows, family)
    assert [0, 1, 2, 3, 4, 5, 5, 5, 6] == [row["depth"] for row in rows]
    assert all(row["depth"] == (depths[row["parent_id"]] + 1 if row["parent_id"] else 0) for row in rows)


def test_a_member_is_drawn_once(family: Family) -> None:
    """However they are asked for, no exec has two lines."""
    ids = [argument for name in family.members for argument in ("--id", family.id_of(name))]
    rows = execaudit("--db", family.path, "tree", *ids, "--format", "jsonl").rows()

    assert len(family.members) == len(rows) == len({row["id"] for row in rows})


@pytest.mark.parametrize(
    ("options", "gaps"),
    [
        ("", 2),
        ("--comm ls --until @{99}", 1),
        ("--id [gcc]", 0),
        ("--id [make]", 1),
        ("--pid 910 --until @{5}", 1),
        ("--id [ls]", 0),
    ],
)
def test_gaps_are_named(options: str, gaps: int, family: Family) -> None:
    """Where execs are missing in the range, or in the time of the family that is drawn, stderr says so."""
    done = execaudit("--db", family.path, "tree", *words(options, family))

    assert gaps == done.err.count(b"gap: ")
    assert gaps == done.err.count(b"\n")


def test_on_a_terminal(family: Family) -> None:
    """What led to a match is dim, the match bold, and lines end where the terminal does."""
    arguments = ("--db", family.path, "tree", "--comm", "cc1")
    done = on_terminal(*arguments, env={"COLUMNS": "80", "TERM": "xterm"})
    lines = done.out.decode().splitlines()

    assert all(line.startswith("\x1b[2m. ") and line.endswith("\x1b[0m") for line in lines[1:-1])
    assert lines[-1].startswith("\x1b[1m* ")
    assert "\x1b[31mSIGSEGV\x1b[0m" in lines[-1]
    plain = [re.sub("\x1b\\[[0-9]*m", "", line) for line in lines]
    assert max(map(len, plain)) == 80
    assert plain[5].endswith("└─ sh -c 'gcc -c x.…")


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"NO_COLOR": ""}, {"TERM": "dumb"}], ids=str)
def test_no_colour(env: dict[str, str], family: Family) -> None:
    """NO_COLOR and terminals without colour are heard."""
    done = on_terminal("--db", family.path, "tree", "--comm", "cc1", env=env)

    assert b"\x1b" not in done.out
    assert b"* " in done.out


@pytest.mark.parametrize(("columns", "width"), [("", 80), ("x", 80), ("0", 80), ("9" * 5000, 80), ("90", 90)])
def test_the_width_of_a_terminal(columns: str, width: int, tmp_path: Path) -> None:
    """$COLUMNS counts if it is a number; without it, a terminal that does not know has 80 columns."""
    path = make_history(tmp_path / "history.db", [make_event(b"x" * 500)])
    lines = (
        on_terminal("--db", path, "tree", env={"COLUMNS": columns, "NO_COLOR": "1"}).out.decode().splitlines()
    )

    assert width == max(map(len, lines))


def test_a_terminal_without_lines(family: Family) -> None:
    """Where the encoding has no lines, ASCII draws."""
    done = on_terminal("--db", family.path, "tree", env={"PYTHONIOENCODING": "latin-1", "COLUMNS": "120"})

    assert done.out.replace(b"\x1b", b"").isascii()
    assert b"|> gcc -c x.c" in done.out
    assert b"`- ls" in done.out


def test_whole_commands_when_piped(tmp_path: Path) -> None:
    """A pipe has no width."""
    path = make_history(tmp_path / "history.db", [make_event(b"x" * 100_000)])

    assert b"x" * 100_000 + b"\n" in execaudit("--db", path, "tree", env={"COLUMNS": "80"}).out
    assert len(on_terminal("--db", path, "tree", env={"COLUMNS": "80"}).out) < 200


def test_days(tmp_path: Path) -> None:
    """Matches of one day have it above their times; of several days each line has its own."""
    day = 86_400
    old = born(None, b"old", pid=1, ppid=0)
    new = born(old, b"new", seconds=day, pid=2)
    newer = born(old, b"newer", seconds=2 * day, pid=3)
    path = make_history(tmp_path / "history.db", [old, new, newer])
    one = execaudit("--db", path, "tree", "--pid", "2").out.decode().splitlines()
    both = execaudit("--db", path, "tree").out.decode().splitlines()

    assert ["   2026-11-23 ", ".  2026-11-22 ", "*  18:08:39.00"] == [line[:14] for line in one]
    assert [" TIME UTC  ", " 2026-11-22", " 2026-11-23", " 2026-11-24"] == [line[:11] for line in both]


def test_the_zone_is_named_and_its_change_too(tmp_path: Path) -> None:
    """Above the times stands the offset that holds now; a line says where it is another."""
    summer = make_event(b"summer", pid=1, time_ns=1_784_000_000 * 10**9)
    winter = make_event(b"winter", pid=2, time_ns=1_796_000_000 * 10**9)
    path = make_history(tmp_path / "history.db", [summer, winter])

    def shown(command: str) -> list[str]:
        done = execaudit("--db", path, command, env={"TZ": "Europe/Berlin"})
        return done.out.decode().splitlines()

    head, *lines = shown("tree")
    now = head.split()[1]
    (chart,) = [line for line in shown("stats") if line.startswith("FROM")]

    assert now in {"+01:00", "+02:00"}
    assert ["+02:00"] * (now == "+01:00") + ["+01:00"] == [
        offset for line in lines for offset in re.findall(r"[+]0[12]:00", line)
    ]
    assert chart.startswith(f"FROM {now} ")


@pytest.mark.parametrize("fmt", ["text", "jsonl"])
@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
def test_output_is_safe(fmt: str, tmp_path: Path, terminal: bool) -> None:  # noqa: FBT001  # pytest's
    """Whatever strangers put into names, one exec stays on one line, and the terminal as it is."""
    root = born(None, b"root", pid=5000)
    events = [
        born(
            root, value, seconds=number, pid=number + 1,
            comm=value[:15], filename=value, user=value.decode("utf-8", "surrogateescape"),
        )
        for number, value in enumerate(HOSTILE.values())
    ]  # fmt: skip
    path = make_history(tmp_path / "history.db", [root, *events])
    run = on_terminal if terminal else execaudit
    done = run("--db", path, "tree", "--format", fmt, env={"NO_COLOR": "1"})

    assert [] == unsafe(done.out)
    assert len(HOSTILE) + 2 == done.out.count(b"\n")


WRONG: dict[str, tuple[int, str]] = {
    "--id [gcc] --pid 5": (2, "--id and --pid exclude each other"),
    "--id [gcc] --comm x": (2, "--id and --comm exclude each other"),
    "--id [gcc] --since 1h": (2, "--id and --since exclude each other"),
    "--id [gcc] --under [sh]": (2, "--under"),
    "--id [gcc] --failed": (2, "--failed"),
    "--pid 5 --user root": (2, "--pid and --user exclude each other"),
    "--pid 5 --truncated": (2, "--truncated"),
    "--id short": (2, "22 characters"),
    "--id 0000000000000000000000": (1, "0000000000000000000000"),
    "--under 0000000000000000000000": (1, "0000000000000000000000"),
    "--pid x": (2, "--pid"),
    "--format json": (2, "'jsonl'"),
    "--follow": (2, "--follow"),
    "[gcc]": (2, "unexpected extra argument"),
    "--since now --until 1h": (2, "--since is not before --until"),
}


@pytest.mark.parametrize("options", WRONG)
def test_wrong_usage(options: str, family: Family) -> None:
    """What cannot be meant is refused, in one line that names it."""
    done = execaudit("--db", family.path, "tree", *words(options, family))
    status, part = WRONG[options]

    assert status == done.status
    assert done.failed_in_one_line()
    assert part in done.err.decode()


def test_a_setting_yields(family: Family, tmp_path: Path) -> None:
    """A filter that is configured does not forbid --id, nor hold for it; one that is typed does."""
    config = tmp_path / "config.toml"
    config.write_text("[tree]\ncomm = 'nobody'\n")
    arguments = ("--db", family.path, "--config", config, "tree", "--format", "jsonl")

    assert [] == execaudit(*arguments).pids()
    assert 9 == len(execaudit(*arguments, "--id", family.id_of("sh")).rows())
    assert [911, 913] == execaudit(*arguments, "--pid", "911", "--since", f"@{START + 5}.25").pids()[-3:-1]


def test_nothing_is_found(tmp_path: Path) -> None:
    """An empty history is a header, or no exec at all."""
    execaudit("--db", tmp_path / "new.db", "db", "upgrade")
    text = execaudit("--db", tmp_path / "new.db", "tree")
    rows = execaudit("--db", tmp_path / "new.db", "tree", "--format", "jsonl")

    assert (0, 1) == (text.status, text.out.count(b"\n"))
    assert (0, [], 1) == (rows.status, rows.rows(), len(rows.gaps()))


@pytest.mark.parametrize("fmt", ["text", "jsonl"])
def test_a_closed_pipe_is_silent(fmt: str, long_history: Path) -> None:
    """`| head` gets its line, and nobody complains."""
    script = f"set -o pipefail; $execaudit --db {long_history} tree --format {fmt} | head -1"
    done = in_shell(script, folder=long_history.parent)

    assert (0, 1, b"") == (done.status, done.out.count(b"\n"), done.err)


def test_ctrl_c(tmp_path: Path) -> None:
    """Ctrl-C, even within a slow regular expression, ends it with 130, without a word."""
    path = make_history(tmp_path / "history.db", [make_event(b"a" * 60 + b"b")], [make_gap(0, 1)])
    with running("--db", path, "tree", "--args-regex", "^(a|aa)+$") as process:
        line_of(process.stderr)  # the gap
        process.send_signal(signal.SIGINT)

        assert 130 == process.wait(PATIENCE)
        assert process.stderr
        assert b"" == audible(process.stderr.read())


def test_a_loop_ends(family: Family, tmp_path: Path) -> None:
    """In a damaged history an exec can be its own ancestor: each is drawn once all the same."""
    path = tmp_path / "history.db"
    shutil.copyfile(family.path, path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE exec SET parent_id = 5 WHERE id = 3")
        connection.execute("UPDATE exec SET parent_id = 11 WHERE id = 11")
    for options in ("", "--pid 911", "--comm ls"):
        rows = execaudit("--db", path, "tree", "--format", "jsonl", *options.split()).rows()

        assert rows
        assert len(rows) == len({row["id"] for row in rows})


def test_a_deep_family(tmp_path: Path) -> None:
    """Ten thousand generations are drawn, line by line, in no more than a few hundred columns."""
    events = [born(None, b"a", pid=2)]
    for number in range(1, 10_000):
        events.append(born(events[-1], b"a", seconds=number / 1000, pid=2 + number))
    path = make_history(tmp_path / "history.db", events)
    done = execaudit("--db", path, "tree", "--id", events[-1].id)
    last = execaudit("--db", path, "tree", "--pid", "2", "--format", "jsonl").rows()[-1]

    assert 10_001 == done.out.count(b"\n")
    assert max(map(len, done.out.decode().splitlines())) < 250
    assert 9_999 == last["depth"]
