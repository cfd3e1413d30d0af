"""Shells complete the values of options: what bash, zsh and fish offer when the key is pressed."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from execaudit.query import known_values
from execaudit.query.connection import open_history
from tests.commands import PATIENCE, environment, execaudit
from tests.histories import make_event, make_history

_CHECKOUT = Path(__file__).parents[2]
_CONTAINER = "7d1f2ab30c4e" + 52 * "0"
# Shells start the program by its name, with no argument.
_NAMED = (
    sys.executable,
    "-c",
    "import sys; from execaudit.cli import main; sys.argv = ['execaudit']; main()",
)
QUOTE = "'"
_NASTY = (b"$(reboot)", b"`id`", b"a b", b"new\nline", b"-rf", b"*", b"caf\xe9", b"~root", b"a;b", b"")


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history with a few values of each field, and names that a shell would not take as they are."""
    folder = tmp_path_factory.mktemp("completion")
    events = [
        make_event(b"a", comm=b"backup-helper", exe=b"/opt/backup/bin/backup-helper", user="bob", uid=7, cwd=b"/srv/b"),
        make_event(
            b"a", seconds=1, pid=1, comm=b"backdoor", exe=b"/usr/bin/nc", user="www-data", uid=33, login_user="bart",
            cgroup=b"/system.slice/docker-" + _CONTAINER.encode() + b".scope", auid=8,
        ),
        *(make_event(b"a", seconds=2 + n, pid=2 + n, comm=name, exe=b"/x/" + name) for n, name in enumerate(_NASTY)),
    ]  # fmt: skip
    return make_history(folder / "history.db", events)


def offered(history: Path | None, typed: str) -> list[str]:
    """Returns what a shell is offered for the last word."""
    # What stands in quotes is one word.
    count = len(f"execaudit query {typed.partition(QUOTE)[0]}".split(" "))
    given = {
        "_EXECAUDIT_COMPLETE": "bash_complete",
        "COMP_WORDS": f"execaudit query {typed}",
        "COMP_CWORD": str(count - 1),
    }
    if history is not None:
        given["EXECAUDIT_DB"] = str(history)
    done = execaudit(env=given, before=_NAMED)
    assert (0, b"") == (done.status, done.err)
    return [line.removeprefix("plain,") for line in done.out.decode().splitlines() if line]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("--comm ", ["backdoor", "backup-helper"]),
        ("--not-exe /opt", ["/opt/backup/bin/backup-helper"]),
        ("--columns pid,durat", ["pid,duration", "pid,duration_ns"]),
        ("--sort exit_c", ["exit_code"]),
        ("--errno enoex", ["ENOEXEC"]),
    ],
)
def test_values_are_offered(history: Path, typed: str, expected: list[str]) -> None:
    """Those of the history, or of a list; none that a shell would not take as a plain word."""
    assert expected == offered(history, typed)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (
            "'log",
            [
                "login_user ==",
                "login_user !=",
                "login_user in (",
                "login_user contains",
                "login_user startswith",
            ],
        ),
        ("'(not kind ", ["(not kind ==", "(not kind !=", "(not kind in (", "(not kind contains"]),
        (
            "'pid == 7 a",
            ["pid == 7 and id", "pid == 7 and parent_id", "pid == 7 and time", "pid == 7 and host"],
        ),
        ("'exit_code ", [f"exit_code {verb}" for verb in ("==", "!=", "in (", "<", "<=", ">", ">=")]),
        ("'user == \"w", ['user == "www-data"']),
        ("'user != \"b", ['user != "bart"', 'user != "bob"']),
        ("'exe startswith \"/u", ['exe startswith "/usr/bin/nc"']),
        ("'exe endswith \"n", ['exe endswith "nc"']),
        ('\'comm in ("x", "backd', ['comm in ("x", "backdoor"']),
        ("'ended == \"r", ['ended == "replaced"', 'ended == "running"']),
        ("'errno == \"ENOEX", ['errno == "ENOEXEC"']),
        ("'argv_missing ", ["argv_missing ==", "argv_missing !="]),
        ("'nonsense == ", []),
        ('\'comm == "x" comm ', []),
        ("'pid & ", []),
        # Bash does not quote what it inserts.
        ("pare", ["parent_id", "parent_comm"]),
    ],
)
def test_an_expression_goes_on(history: Path, typed: str, expected: list[str]) -> None:
    """By a name, a verb, a value that the history has, or `and`; the first of these are looked at."""
    found = offered(history, f"--where {typed}")

    assert expected == (found[: len(expected)] if len(expected) > 3 else found)


@pytest.mark.parametrize("damage", ["missing", "another", "text"])
def test_without_a_history_nothing_is_offered(tmp_path: Path, damage: str) -> None:
    """And nothing is said: somebody is typing."""
    path = tmp_path / "x.db"
    if damage != "missing":
        path.write_bytes(b"" if damage == "another" else b"x" * 5000)

    assert [] == offered(path, "--comm ")


def test_each_field_has_its_values(history: Path) -> None:
    """From its dictionary, through launches or origins, or from elsewhere."""
    expected = {
        ("comm", b"backu"): {b"backup-helper"},
        ("exe", b"n"): {b"nc", b"new\nline"},
        ("exe", b"/usr/"): {b"/usr/bin/nc"},
        ("cwd", b"/s"): {b"/srv/b"},
        ("user", b"w"): {b"www-data"},
        ("login_user", b"ba"): {b"bart"},
        ("container_id", b"7d"): {_CONTAINER[:12].encode()},
        ("cgroup", b"/sys"): {b"/system.slice/docker-" + _CONTAINER.encode() + b".scope"},
        ("host", b""): {b"web1"},
        ("tty", b""): set(),
        ("interpreter", b""): set(),
    }
    with open_history(history) as connection:
        assert expected == {key: known_values.known_values(connection, *key) for key in expected}


def test_of_many_values_the_first_and_the_last_are_looked_at(
    history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user can give any number of programs names."""
    monkeypatch.setattr(known_values, "_LOOKED_AT", 1)
    with open_history(history) as connection:
        assert {b"backup-helper", b""} == known_values.known_values(connection, "comm", b"")
        assert {b"backup-helper", b""} == known_values.known_values(connection, "exe", b"")


@pytest.fixture
def typing(tmp_path: Path, history: Path) -> dict[str, str]:
    """The environment of a shell that finds the program, and its completions in a folder `made`."""
    subprocess.run([sys.executable, _CHECKOUT / "tools/completions.py", tmp_path / "made"], check=True)
    program = tmp_path / "execaudit"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={_CHECKOUT} exec {sys.executable} -m execaudit "$@"\n')
    program.chmod(0o755)
    return environment(
        {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "EXECAUDIT_DB": str(history),
            "HOME": str(tmp_path),
            "TERM": "dumb",
        }
    )


def typed_into(shell: list[str], env: dict[str, str], setup: str, line: str, until: bytes) -> bytes:
    """Types into an interactive shell on a terminal. Returns what it shows, when it has shown a text."""
    child, terminal = pty.fork()
    if child == 0:
        os.execvpe(shell[0], shell, env)
    shown = b""
    try:
        os.write(terminal, f"{setup}; echo re''ady\n".encode())
        for awaited, then in ((b"\nready", line.encode()), (until, b"")):
            deadline = time.monotonic() + PATIENCE
            while awaited not in shown:
                left = deadline - time.monotonic()
                assert left > 0, shown
                assert select.select([terminal], [], [], left)[0], shown
                shown += os.read(terminal, 65536)
            os.write(terminal, then)
    finally:
        os.close(terminal)
        os.kill(child, 9)
        os.waitpid(child, 0)
    return shown


def test_bash_completes_a_command(tmp_path: Path, typing: dict[str, str]) -> None:
    """The rest of the word appears on the line."""
    setup = f"source {tmp_path}/made/bash/execaudit"
    typed_into(
        ["bash", "--norc", "-i"], typing, setup, "execaudit query --comm backu\t", b"--comm backup-helper "
    )


def test_bash_completes_an_expression(tmp_path: Path, typing: dict[str, str]) -> None:
    """Within quotes, which it closes behind a value."""
    line = "execaudit query --where 'user == \"www\t"
    setup = f"source {tmp_path}/made/bash/execaudit"
    typed_into(["bash", "--norc", "-i"], typing, setup, line, b"""--where 'user == "www-data"' """)


def test_zsh_completes_an_expression(tmp_path: Path, typing: dict[str, str]) -> None:
    """Within quotes."""
    setup = f"unsetopt zle_bracketed_paste; fpath=({tmp_path}/made/zsh $fpath); autoload -U compinit; compinit -u -D"
    typed_into(
        ["zsh", "-f", "-i"], typing, setup, "execaudit query --where 'user == \"www\t", b'== "www-data"'
    )


def test_fish_completes_an_expression(tmp_path: Path, typing: dict[str, str]) -> None:
    """Fish has a command that does what its key does."""
    line = """execaudit query --where \\'user == "www"""
    script = f"source {tmp_path}/made/fish/execaudit.fish; complete --do-complete '{line}'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script], env=typing, capture_output=True, text=True, check=True
    )

    assert ['user == "www-data"'] == done.stdout.splitlines()


def test_zsh_completes_a_command(tmp_path: Path, typing: dict[str, str]) -> None:
    """The rest of the word appears on the line."""
    setup = f"unsetopt zle_bracketed_paste; fpath=({tmp_path}/made/zsh $fpath); autoload -U compinit; compinit -u -D"
    typed_into(["zsh", "-f", "-i"], typing, setup, "execaudit query --comm backu\t", b"backup-helper ")


def test_fish_completes_a_command(tmp_path: Path, typing: dict[str, str]) -> None:
    """Fish has a command that does what its key does."""
    script = (
        f"source {tmp_path}/made/fish/execaudit.fish; complete --do-complete 'execaudit query --comm back'"
    )
    done = subprocess.run(
        ["fish", "--no-config", "-c", script], env=typing, capture_output=True, text=True, check=True
    )

    assert ["backdoor", "backup-helper"] == done.stdout.split()
