"""`execaudit top`, with textual's own harness on real histories: its keys, and what the screen then has."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from execaudit.event import Nanoseconds
from tests.histories import make_exit, make_ran
from tests.screen.driving import Screen, commands, driven

if TYPE_CHECKING:
    from pathlib import Path

    from execaudit.store.writer import Store
    from tests.families import Family


def test_the_newest_come_first(family: Family) -> None:
    """With who, how it ended and what failed; not what ran when recording began."""

    async def scenario(screen: Screen) -> None:
        lines = await screen.until_has("-bash")

        assert ["cron", "ls", "cc1 x.c", "gcc -c x.c", "/opt/gcc: gcc -c x.c"] == commands(lines)[:5]
        assert "2026-11-22     913 alice    SIGSEGV  cc1 x.c" in lines
        assert "/sbin/init" not in "\n".join(lines)
        assert "nobody records" in lines[0]
        assert "gap: nobody has recorded since 2026-11-22 18:25:19.000 (web1)" in lines
        assert "/ filter  Enter show  t tree  s sort  p pause  q quit" == lines[-1]

    driven(scenario, family.path)


@pytest.mark.parametrize("size", [(20, 4), (3, 1)])
def test_any_size(size: tuple[int, int], family: Family) -> None:
    """It is drawn at each size, and again when the terminal gets another."""

    async def scenario(screen: Screen) -> None:
        await screen.until_has("ex" if size[0] > 3 else "")
        await screen.press("t", "t", "slash", "escape", "enter", "escape")
        await screen.resize(100, 30)
        lines = await screen.until_has("TOOK", "-bash")

        assert f"2026-11-22 {family.id_of('ls')[:15]}     914 alice    ok        2.0ms ls" in lines

    driven(scenario, family.path, size=size)


def test_what_comes_is_shown(path: Path, store: Store) -> None:
    """New execs come on top, are counted, and their ends are shown when they come."""

    async def scenario(screen: Screen) -> None:
        await screen.until_has("no execs yet", "web1: recording")
        now = Nanoseconds(time.time_ns() - 2_000_000_000)
        events = [make_ran(b"curl", str(n).encode(), time_ns=now, pid=n, comm=b"curl") for n in range(30)]
        store.append(events, seen_ns=now)
        lines = await screen.until_has("curl 29", "curl 15", "30 curl", "30 root")
        assert "0.5 in 1 min  0.1 in 5 min" in lines[1]
        assert "running  curl 29" in lines[5]

        store.append([make_ran(b"wget", time_ns=now, pid=77)], seen_ns=now)
        assert ["wget", "curl 29"] == commands(await screen.until_has("wget", "31 root"))[:2]

    driven(scenario, path)


def test_a_filter_holds_while_it_is_typed(family: Family) -> None:
    """Nothing but / is needed to see less, and Esc brings back what was."""

    async def scenario(screen: Screen) -> None:
        await screen.until_has("-bash")
        await screen.press("slash")
        await screen.type('comm == "ls"')
        lines = await screen.until(lambda lines: commands(lines) == ["ls"])
        assert '/ comm == "ls"' in lines
        await screen.press("escape")
        await screen.until_has("-bash", "/ filter", without="filter    comm")

        await screen.press("slash")
        await screen.type("errno != null")
        await screen.press("enter")
        lines = await screen.until_has("filter    errno != null", "/ filter  Enter show", without="-bash")
        assert ["/opt/gcc: gcc -c x.c"] == commands(lines)
        await screen.press("escape")
        await screen.until_has("-bash", without="filter    errno")

    driven(scenario, family.path)


def test_a_mistake_is_shown_at_its_column(family: Family) -> None:
    """While it stands there, the filter before it holds, and Enter does not leave the line."""

    async def scenario(screen: Screen) -> None:
        await screen.press("slash")
        await screen.type("com == 1")
        lines = await screen.until_has("did you mean comm?")
        at = next(number for number, line in enumerate(lines) if line.startswith("/ com"))
        assert lines[at + 1].startswith("  ^ the record has no com: did")
        await screen.press("enter")
        await screen.until_has("/ com == 1", "-bash")

    driven(scenario, family.path)


def test_an_expression_that_cannot_be_used_is_refused(
    path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, and not tried again; the next one is used."""
    monkeypatch.setattr("execaudit.query.timelimit.SECONDS", 0.2)
    store.append([make_ran(b"x", b"a" * 40 + b"b")])

    async def scenario(screen: Screen) -> None:
        await screen.until_has("x aaa")
        await screen.press("slash")
        await screen.type("command matches '(a|aa)+$'")
        await screen.press("enter")
        await screen.until_has("filter: ", "took more than 0.2 s")
        await screen.press("escape")
        await screen.until_has("x aaa", without="filter: ")

    driven(scenario, path)


def test_options_filter_too(family: Family) -> None:
    """Those of the command line hold beside what is typed."""

    async def scenario(screen: Screen) -> None:
        await screen.until_has("filter    --user alice", "-bash", without="cron")
        await screen.press("slash")
        await screen.type("exit_code == 1")
        await screen.press("enter")
        lines = await screen.until(lambda lines: len(commands(lines)) == 1)
        assert ["gcc -c x.c"] == commands(lines)
        assert "filter    --user alice  exit_code == 1" in lines

    driven(scenario, family.path, "--user", "alice")


@pytest.mark.parametrize(
    ("options", "first"),
    [(["--reverse"], "-bash"), (["--limit", "2", "--reverse"], "ls"), (["--kind", "snapshot"], "sshd")],
)
def test_options_of_the_list(options: list[str], first: str, family: Family) -> None:
    """The oldest first, fewer, and what ran already if it is asked for."""

    async def scenario(screen: Screen) -> None:
        assert first == (await screen.until(commands) and commands(screen.lines)[0])

    driven(scenario, family.path, *options)


def test_everything_about_one(family: Family) -> None:
    """Enter shows every field, ancestors and children; Esc comes back to where one was."""

    async def scenario(screen: Screen) -> None:
        await screen.until_has("-bash")
        await screen.press("down", "down", "down", "enter")
        lines = await screen.until_has(family.id_of("gcc"))
        assert ["gcc -c x.c", "exited 1 after 650.0 ms"] == lines[1:3]
        assert ["id", family.id_of("gcc")] == lines[3].split()
        seen = {*lines}
        for _ in range(4):
            await screen.press("pagedown")
            seen.update(screen.lines)
        names = {line.split(" ")[0] for line in seen}
        assert {"parent_id", "argv", "interpreter", "traced", "replaced_by", "ancestors", "children"} <= names
        assert any("how it ended  exited 1 after 650.0 ms" in line for line in seen)
        assert any(line.endswith(" make -j2") for line in seen)
        assert any(line.endswith(" cc1 x.c") for line in seen)
        await screen.press("escape")
        await screen.until_has("newest first")
        await screen.press("enter")
        await screen.until_has(family.id_of("gcc"))

    driven(scenario, family.path)


def test_trees(family: Family) -> None:
    """With what led to the execs, also what ran already; an exec of a tree can be shown."""

    async def scenario(screen: Screen) -> None:
        await screen.press("t")
        lines = await screen.until_has("└─ sshd", "trees of the newest")
        assert ["cron", "/sbin/init", "└─ sshd", "   └─ -bash"] == commands(lines)[:4]
        await screen.press("down", "down", "enter")
        await screen.until_has(family.id_of("sshd"))
        await screen.press("escape", "escape")
        await screen.until_has("newest first")

    driven(scenario, family.path)


def test_other_orders(family: Family) -> None:
    """S takes the longest, the users and the commands in turn."""

    async def scenario(screen: Screen) -> None:
        await screen.until_has("-bash")
        for name, first in (
            ("longest first", "make -j2"),
            ("by user", "ls"),
            ("by command", "-bash"),
            ("newest first", "cron"),
        ):
            await screen.press("s")
            assert first == commands(await screen.until_has(name))[0]

    driven(scenario, family.path)


def test_a_pause(path: Path, store: Store) -> None:
    """What comes is counted, but the list stays."""
    store.append([make_ran(b"old")])

    async def scenario(screen: Screen) -> None:
        await screen.until_has("old")
        await screen.press("p")
        store.append([make_ran(b"new", seconds=1), make_ran(b"new", seconds=2)])
        assert ["old"] == commands(await screen.until_has("PAUSED, 2 newer"))
        await screen.press("p")
        assert ["new", "new", "old"] == commands(await screen.until_has("new", without="PAUSED"))

    driven(scenario, path)


def test_the_chosen_exec_stays_chosen(path: Path, store: Store) -> None:
    """What comes above it does not change what Enter shows."""
    chosen = make_ran(b"chosen", seconds=1)
    store.append([make_ran(b"old"), chosen, make_ran(b"young", seconds=2)])

    async def scenario(screen: Screen) -> None:
        await screen.until_has("young")
        await screen.press("down")
        store.append([make_ran(b"later", seconds=3)])
        await screen.until_has("later")
        await screen.press("enter")
        await screen.until_has(chosen.id)

    driven(scenario, path)


def test_what_is_hostile_is_inert(path: Path, store: Store) -> None:
    """Escape sequences, bidirectional marks and markup change nothing, and wide characters move no column."""
    words = [
        "[red]x[/red]",
        "[@click=app.quit]",
        "\x1b[2J\x1b]0;t\x07",
        "\u202egnp",
        "漢字漢字",
        "\\[b]",
        "e\u0301",
    ]
    event = make_ran(*(word.encode() for word in words), b"\xff\n", user="[b]漢字漢字漢字", seconds=1)
    store.append([make_ran(b"[/]", b"[bold]", comm=b"[red]"), event])

    async def scenario(screen: Screen) -> None:
        lines = await screen.until_has("[red]x[/red]", "'[/]' '[bold]'")
        assert r"$'\x1b[2J\x1b]0;t\x07' $'\xe2\x80\xaegnp' '漢字漢字' '\[b]'" in "\n".join(lines)
        assert "[b]漢字+ -" in "\n".join(lines) or "[b]漢字+ running" in "\n".join(lines)
        await screen.press("enter")
        await screen.until_has("[red]x[/red]", r"\u202egnp")
        await screen.press("escape", "slash")
        await screen.type("[red] \u202e [/]")
        await screen.until_has("is not understood", r"/ [red] \u202e [/]")

    driven(scenario, path, size=(200, 60))


def test_descendants_that_come(path: Path, store: Store) -> None:
    """--under follows a family."""
    root = make_ran(b"root")
    store.append([root])

    async def scenario(screen: Screen) -> None:
        await screen.until_has("no exec matches")
        child = make_ran(b"child", seconds=1, pid=7, parent=root.key)
        store.append([child, make_ran(b"stranger", seconds=2, pid=8)])
        assert ["child"] == commands(await screen.until_has("child"))

    driven(scenario, path, "--under", root.id)


def test_a_program_that_began_to_run_before(path: Path, store: Store) -> None:
    """What is running is read again when it has ended."""
    event = make_ran(b"sleep", pid=9)
    store.append([event])

    async def scenario(screen: Screen) -> None:
        await screen.until_has("running  sleep")
        store.append([], exits=[make_exit(event.key, 3, 256)])
        await screen.until_has("exit 1   sleep")

    driven(scenario, path)


def test_a_filter_of_ends(path: Path, store: Store) -> None:
    """What ends as the filter says comes into the list then, and what ran leaves it."""
    failing, other = make_ran(b"failing", pid=9), make_ran(b"other", seconds=1, pid=10)
    store.append([failing, other])

    async def scenario(screen: Screen) -> None:
        await screen.until_has("no exec matches")
        store.append([], exits=[make_exit(failing.key, 3, 256)])
        assert ["failing"] == commands(await screen.until_has("failing"))
        await screen.press("slash")
        await screen.type('ended == "running"')
        await screen.press("enter")
        await screen.until_has("no exec matches")

    driven(scenario, path, "--exit-code", "1")

    async def running(screen: Screen) -> None:
        await screen.until_has("other", without="failing")
        store.append([], exits=[make_exit(other.key, 4, 256)])
        await screen.until_has("no exec matches")

    driven(running, path, "--where", 'ended == "running"')


def test_ctrl_c(family: Family) -> None:
    """It ends as other commands do."""

    async def scenario(screen: Screen) -> None:
        await screen.press("ctrl+c")
        assert 130 == screen.app.return_value

    driven(scenario, family.path)
