"""`execaudit hunt` as a user runs it: what it writes, what it refuses, and what no rule can do."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from execaudit.enums import Kind
from execaudit.store.writer import Store
from tests.commands import PATIENCE, execaudit, line_of, on_terminal, running
from tests.histories import begin_run, make_event, make_exit, make_history
from tests.hunt.rules import write_rule

if TYPE_CHECKING:
    import subprocess

_TITLE = "A long title of a rule that says more than there is room for"


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five execs, of which one failed."""
    events = [
        make_event(b"nc", b"-e", b"/bin/sh", seconds=1, pid=1, exe=b"/usr/bin/nc", user="alice"),
        make_event(b"curl", b"http://x/\x1b[31m" + b"y" * 200, seconds=2, pid=2, exe=b"/usr/bin/curl"),
        make_event(b"nc", seconds=3, pid=3, exe=b"/usr/bin/bash", kind=Kind.FAILED, errno=2),
        make_event(b"nc", b"-l", seconds=4, pid=4, exe=b"/usr/bin/nc"),
        make_event(b"true", seconds=5, pid=5),
    ]
    return make_history(tmp_path_factory.mktemp("history") / "history.db", events)


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three rules in a folder and one below it."""
    folder = tmp_path_factory.mktemp("rules")
    write_rule(
        folder / "a.yml",
        "{CommandLine|startswith: nc}",
        title="Netcat",
        level="high",
        more="tags: [attack.t1095]\n",
    )
    write_rule(folder / "b" / "c.yaml", "{Image|endswith: /curl}", title=_TITLE, level="low")
    write_rule(folder / "d.yml", "{CommandLine|contains: ' -e '}", title="Shell", level="critical")
    return folder


def pids(done_out: bytes) -> list[tuple[str, int]]:
    """Returns the rules' titles and the pids of hits."""
    rows = [json.loads(line) for line in done_out.splitlines()]
    return [(row["rule"]["title"], row["exec"]["pid"]) for row in rows if "rule" in row]


def test_a_line_has_the_rule_and_the_record(history: Path, rules: Path) -> None:
    """The record is that of `query`. What is missing comes at the end, as there."""
    done = execaudit("--db", history, "hunt", rules / "a.yml", "--format=jsonl")
    records = execaudit("--db", history, "query", "--pid=1").rows()
    first, *_, last = map(json.loads, done.out.splitlines())

    assert first == {
        "rule": {
            "id": "11111111-2222-4333-8444-612020202020",
            "title": "Netcat",
            "level": "high",
            "tags": ["attack.t1095"],
            "file": str(rules / "a.yml"),
        },
        "exec": records[0],
    }
    assert ("gap", "recorder_stopped") == (last["kind"], last["reason"])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], [("Netcat", 1), ("Shell", 1), (_TITLE, 2), ("Netcat", 4)]),
        (["--level=medium"], [("Netcat", 1), ("Shell", 1), ("Netcat", 4)]),
        (["--limit=2"], [(_TITLE, 2), ("Netcat", 4)]),
        (["--reverse"], [("Netcat", 4), (_TITLE, 2), ("Shell", 1), ("Netcat", 1)]),
        (["--failed"], [("Netcat", 3)]),
        (["--args=-l", "--where=pid > 1"], [("Netcat", 4)]),
        (["--until=@1795370921"], [("Netcat", 1), ("Shell", 1)]),
    ],
    ids=str,
)
def test_options_choose_rules_and_execs(
    history: Path, rules: Path, options: list[str], expected: list[tuple[str, int]]
) -> None:
    """Only what started is hunted, unless --failed."""
    assert expected == pids(execaudit("--db", history, "hunt", rules, *options).out)


@pytest.mark.parametrize("width", [80, 200])
def test_a_table_has_the_terminals_width(history: Path, rules: Path, width: int) -> None:
    """Commands and titles are cut, and safe to show."""
    shown = on_terminal("--db", history, "hunt", rules, env={"COLUMNS": str(width), "TZ": "UTC"}).out.decode()

    assert max(map(len, shown.splitlines())) <= width
    assert "\x1b[31m" not in shown
    for text in ("LEVEL", "Netcat", "critical", "alice", "nc -e", "248h"):
        assert text in shown


def test_a_table_in_a_file_is_whole(history: Path, rules: Path) -> None:
    """Nothing is cut where no terminal is."""
    shown = execaudit("--db", history, "hunt", rules, "--format=table", env={"TZ": "UTC"}).out.decode()

    assert _TITLE in shown
    assert "y" * 200 in shown
    assert len(shown.splitlines()) == 5


_REFUSED = {
    "field": ("{IntegrityLevel: High}", "it needs the field IntegrityLevel"),
    "expand": ("{CommandLine|contains|expand: '%users%'}", "expand: a value for %users%"),
    "hour": ("{CommandLine|hour: 3}", "it needs the modifier hour"),
    "nonsense": ("{CommandLine|nonsense: a}", "Unknown modifier 'nonsense'"),
    "re": ("{CommandLine|re: '('}", "its regular expression is none"),
    "keywords": ("[evil]", "it needs keywords"),
    "lt": ("{CommandLine|lt: 7}", "it needs a number, with the modifier lt"),
    "cidr": ("{Image|cidr: nonsense}", "Invalid CIDR"),
    "syntax": ("{a: {Image: x}, condition: a and}", "Expected"),
    "selection": ("{a: {Image: x}, condition: b}", "'b' not defined"),
    "selector": ("{a: {Image: x}, condition: 1 of b*}", "doesn't match any detection"),
    "code": ("{Image: !!python/object/apply:os.system ['touch ran']}", "could not determine a constructor"),
    "alias": ("{Image: &a [*a]}", "Recursive"),
    "deep": ("[" * 500 + "]" * 500, "too deep"),
}
_NO_RULES = [b"", b"just text", b"- a\n- b\n", b"\xff\xfe", b"a: [", b"a: " + b"x" * 2_000_000, b"\0", b"{}"]


def test_what_cannot_be_hunted_is_said(tmp_path: Path, history: Path, rules: Path) -> None:
    """In a line with its file; the other rules go on. With --strict the status is 1."""
    for name, (detection, _) in _REFUSED.items():
        write_rule(tmp_path / "bad" / f"{name}.yml", detection)
    for number, content in enumerate(_NO_RULES):
        (tmp_path / "bad" / f"no{number}.yml").write_bytes(content)
    done = execaudit("--db", history, "hunt", rules, tmp_path / "bad")
    strict = execaudit("--db", history, "hunt", rules, tmp_path / "bad", "--strict")
    lines = done.err.decode().splitlines()

    assert (0, 4, 1, 4) == (done.status, len(pids(done.out)), strict.status, len(pids(strict.out)))
    # An empty file has no rule that could be refused.
    assert len(_REFUSED) + len(_NO_RULES) - 1 == len(lines)
    for name, (_, why) in _REFUSED.items():
        (line,) = (line for line in lines if f"bad/{name}.yml: " in line)
        assert why.lower() in line.lower()
    for number in range(1, len(_NO_RULES)):
        assert any(f"bad/no{number}.yml: not hunted: " in line for line in lines), number
    assert strict.err.decode().endswith("leave out --strict\n")
    assert not (Path.cwd() / "ran").exists()


def test_rules_for_other_events_are_counted(tmp_path: Path, history: Path) -> None:
    """They are no mistake."""
    write_rule(tmp_path / "a.yml", "{Image: x}", source="product: windows, category: process_creation")
    write_rule(tmp_path / "b.yml", "{Image: x}", source="product: linux, category: file_event")
    write_rule(tmp_path / "c.yml", "{Image: /usr/bin/curl}", source="category: process_creation")
    done = execaudit("--db", history, "hunt", tmp_path, "--strict")

    assert (0, [("c", 2)]) == (done.status, pids(done.out))
    assert b"2 rules are not about execs on Linux: left out" in done.err


def test_several_rules_in_a_file(tmp_path: Path, history: Path) -> None:
    """YAML has documents."""
    one, two = (write_rule(tmp_path / name, "{Image: /usr/bin/nc}") for name in ("one.yml", "two.yml"))
    both = tmp_path / "both"
    both.write_text(f"{one.read_text()}---\n{two.read_text()}")

    assert [("one", 1), ("two", 1), ("one", 4), ("two", 4)] == pids(
        execaudit("--db", history, "hunt", both).out
    )


def test_the_configuration_names_rules(tmp_path: Path, history: Path, rules: Path) -> None:
    """And other defaults; the command line beats it."""
    config = tmp_path / "config.toml"
    config.write_text(f'[hunt]\nrules = "{rules}"\nlevel = "high"\n')
    hits = [("Netcat", 1), ("Shell", 1), ("Netcat", 4)]

    assert hits == pids(execaudit("--config", config, "--db", history, "hunt").out)
    assert [("Shell", 1)] == pids(execaudit("--config", config, "--db", history, "hunt", rules / "d.yml").out)
    config.write_text("[hunt]\nrules = true\n")
    assert b"rules in [hunt] must be" in execaudit("--config", config, "--db", history, "hunt").err


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ([], 2, b"name a rule"),
        (["/nowhere"], 1, b"cannot read the rules in /nowhere"),
        (["/nowhere", "--follow", "--limit=1"], 2, b"--follow excludes"),
        (["/dev/pts"], 1, b"there are no rules about execs"),
    ],
    ids=str,
)
def test_mistakes_are_said_in_a_line(history: Path, arguments: list[str], status: int, said: bytes) -> None:
    """With the next step."""
    done = execaudit("--db", history, "hunt", *arguments)

    assert (status, True) == (done.status, done.failed_in_one_line())
    assert said in done.err


def test_without_the_extra_it_says_what_to_install(history: Path, rules: Path) -> None:
    """Other commands do not need it."""
    program = "import sys; sys.modules['sigma'] = None; from execaudit.cli import main; main()"
    done = execaudit("--db", history, "hunt", rules, before=(sys.executable, "-c", program))

    assert (1, True) == (done.status, done.failed_in_one_line())
    assert b"pip install 'execaudit[hunt]'" in done.err


def test_what_arrives_is_hunted(tmp_path: Path, rules: Path) -> None:
    """Only that, unless --since asks for more. The parent may have come before."""
    path = make_history(tmp_path / "history.db", [make_event(b"nc", pid=1)])
    write_rule(tmp_path / "e.yml", "{ParentCommandLine|startswith: 'nc -k'}", title="Child")
    command = ("--db", path, "hunt", rules, tmp_path / "e.yml", "--follow", "--format=jsonl")
    with running(*command, "--since=@1") as process, Store(path) as store:
        begin_run(store)
        assert ("Netcat", 1) == _next(process)
        parent = make_event(b"nc", b"-k", seconds=20, pid=2)
        store.append([parent])
        assert ("Netcat", 2) == _next(process)
        store.append([make_event(b"id", seconds=21, pid=3, parent=parent.key)])
        assert ("Child", 3) == _next(process)
        process.send_signal(signal.SIGINT)
        assert 130 == process.wait(PATIENCE)
    assert [] == pids(execaudit(*command, "--until=@1795371000").out)


def test_rules_about_ends_are_run_again_when_programs_end(tmp_path: Path, rules: Path) -> None:
    """What hit a program already does not hit it again, and what ended at once is hit once."""
    path = make_history(tmp_path / "history.db", [])
    write_rule(tmp_path / "e.yml", "{exit_code: 3}", title="Ended")
    with (
        running("--db", path, "hunt", rules, tmp_path / "e.yml", "--follow", "--since=@1") as process,
        Store(path) as store,
    ):
        begin_run(store)
        lasting = make_event(b"nc", seconds=20, pid=2)
        store.append([lasting])
        assert ("Netcat", 2) == _next(process)
        store.append([], [], [make_exit(lasting.key, 21, 3 << 8)])
        assert ("Ended", 2) == _next(process)
        brief = make_event(b"id", seconds=22, pid=3)
        store.append([brief], [], [make_exit(brief.key, 23, 3 << 8)])
        assert ("Ended", 3) == _next(process)
        store.append([make_event(b"nc", seconds=24, pid=4)])
        assert ("Netcat", 4) == _next(process)


def _next(process: subprocess.Popen[bytes]) -> tuple[str, int]:
    """Returns the next hit that a running command writes."""
    while not (found := pids(line_of(process.stdout))):
        pass
    return found[0]


def test_a_level_that_no_rule_has_is_said(history: Path, rules: Path) -> None:
    """Nothing is found then, and that would mislead."""
    done = execaudit("--db", history, "hunt", rules / "a.yml", "--level=critical")

    assert (0, []) == (done.status, pids(done.out))
    assert b"no rule is of level critical or above" in done.err


def test_a_slow_rule_is_put_aside(tmp_path: Path, rules: Path) -> None:
    """It is said, and the others go on."""
    path = make_history(tmp_path / "history.db", [make_event(b"nc", b"a" * 200 + b"b", pid=1)])
    slow = write_rule(tmp_path / "slow.yml", "{CommandLine|re: '(a|aa)+$'}")
    program = (
        "from execaudit.query import timelimit; timelimit.SECONDS = 0.05;"
        " from execaudit.cli import main; main()"
    )
    done = execaudit("--db", path, "hunt", "--strict", rules, slow, before=(sys.executable, "-c", program))

    assert (1, [("Netcat", 1)]) == (done.status, pids(done.out))
    assert f"{slow}: put aside: its regular expression took more than 0.05 s".encode() in done.err
