"""`execaudit redact`: what it says of typed command lines."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from execaudit.redaction.marks import mark
from execaudit.redaction.presets import presets
from tests.commands import Finished, execaudit

if TYPE_CHECKING:
    from pathlib import Path

_MARK = re.compile(rb"REDACTED:[a-z2-7]{12}")


def tried(*words: str) -> Finished:
    """Runs `redact` with all presets."""
    return execaudit("redact", "--preset=all", *words)


def shown(done: Finished) -> list[str]:
    """Returns the lines of its output, with MARK for marks."""
    assert done.status == 0, done.err
    return _MARK.sub(b"MARK", done.out).decode().splitlines()


def test_a_secret_is_replaced_and_never_said() -> None:
    """The line says what would be recorded, and the next one which rule did it."""
    done = tried("--test", "curl -sSu bob:hunter2 -H 'Authorization: Bearer t0k' https://h")

    line, first, second = shown(done)

    assert line == "curl -sSu bob:MARK -H 'Authorization: Bearer MARK' https://h"
    assert first == "  MARK  option -u, --user, -U ... of curl, curlie [curl]"
    assert second == "  MARK  HTTP header [general]"
    assert b"hunter2" not in done.out + done.err
    assert b"t0k" not in done.out + done.err


def test_a_typed_line_is_what_a_shell_would_run() -> None:
    """Several programs; without redirections, and without variables that are no arguments."""
    done = tried("--test", "PGPASSWORD=x psql -h db < a.sql | tee 'b c' && mysql -p'a b' >o 2>&1; (id)")

    assert [
        "psql -h db",
        "  nothing is redacted",
        "tee 'b c'",
        "  nothing is redacted",
        "mysql -pMARK",
        "  MARK  option -p, --password, --password1 ... of mysql, mysqldump, mysqladmin ... [mysql]",
        "id",
        "  nothing is redacted",
    ] == shown(done)


def test_json_has_where_the_marks_are() -> None:
    """As `redacted` of the record has it: the argument, and the bytes before."""
    done = tried("--format=json", "--test", "mysql -u root -phunter2", "--test", "ls")
    first, second = map(json.loads, done.out.splitlines())
    (row,) = first["redacted"]

    assert (["mysql", "-u", "root", "-p" + row["mark"]], 3, 2) == (
        first["argv"],
        row["argument"],
        row["offset"],
    )
    assert row["preset"] == "mysql"
    assert row["rule"].startswith("option -p")
    assert {"command": "ls", "argv": ["ls"], "redacted": []} == second


def test_lines_come_from_standard_input() -> None:
    """Any bytes; what would change a terminal is escaped."""
    given = b"mysql -p\xff\x1b]0x\x07\n\nsshpass -p 'a b' ssh 'h\x1b[2J'\n"
    process = subprocess.run(
        [sys.executable, "-m", "execaudit", "redact", "--preset=all", "--test=-"],
        input=given,
        capture_output=True,
        check=True,
    )

    assert b"\x1b" not in process.stdout + process.stderr
    assert b"\x07" not in process.stdout
    assert [b"mysql -pMARK", b"sshpass -p MARK ssh $'h\\x1b[2J'"] == [
        line for line in _MARK.sub(b"MARK", process.stdout).splitlines() if not line.startswith(b" ")
    ]


def test_the_settings_are_those_of_the_recorder(tmp_path: Path) -> None:
    """Its rules, and its key where that may be read."""
    config, database = tmp_path / "config.toml", tmp_path / "history.db"
    config.write_text('[redact]\nrules = [{ program = "x", option = "--pin" }]\n')
    line = ("--config", config, "--db", database, "redact", "--test", "x --pin 1234 --password a")
    before = execaudit(*line)
    (tmp_path / "history.db.redaction-key").write_bytes(bytes(32))
    after = execaudit(*line)

    assert b"marks are not those of the history" in before.err
    assert _MARK.search(before.out)
    assert b"" == after.err
    assert after.out.startswith(b"x --pin " + mark(b"1234", bytes(32)) + b" --password a\n")


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ([], 2, b"give --test CMD, or --list"),
        (["--list", "--test=x"], 2, b"give --test CMD, or --list"),
        (["--test=x"], 2, b"there is no [redact] in /dev/null: try --preset all"),
        (["--preset=mysq", "--test=x"], 2, b"there is no preset 'mysq': there are all, accounts, "),
        (["--preset=mysq", "--list"], 2, b"there is no preset 'mysq': there are all, accounts, "),
        (["--preset=all", "--test", "echo 'a"], 2, b"this is no command line: no closing quotation"),
    ],
    ids=str,
)
def test_what_is_wrong_is_one_line(words: list[str], status: int, message: bytes) -> None:
    """With the next step."""
    done = execaudit("redact", *words)

    assert status == done.status
    assert message in done.err
    assert b"" == done.out


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("presets = true", b'presets in [redact] must be "all", or a list of presets'),
        ("presets = ['x']", b"there is no preset 'x'"),
        ("rules = 'x'", b"[redact]: rules must be tables: write [[redact.rules]] before each"),
        ("rules = [{ optoin = '-p' }]", b"[redact]: rule 1 says not what a secret is: give it one of option"),
        ("rule = []", b"unknown setting 'rule' in [redact]: did you mean rules?"),
        ("rules = [{ regex = '(?<=x)y' }]", b"cannot use the regular expression '(?<=x)y'"),
    ],
)
def test_wrong_settings_are_one_line(settings: str, message: bytes, tmp_path: Path) -> None:
    """It names the rule, or what is wrong in it."""
    (tmp_path / "config.toml").write_text(f"[redact]\n{settings}\n")
    done = execaudit("--config", tmp_path / "config.toml", "redact", "--test=x")

    assert done.status == 2
    assert message in done.err
    assert 1 == len([line for line in done.err.splitlines() if not line.startswith(b"marks are")])


def test_presets_are_listed() -> None:
    """Each with its rules; as JSON, with all that a rule says."""
    text = execaudit("redact", "--list").out.decode()
    listed = [json.loads(line) for line in execaudit("redact", "--list", "--format=json").out.splitlines()]
    (git,) = map(json.loads, execaudit("redact", "--list", "--preset=git", "--format=json").out.splitlines())

    assert list(presets()) == re.findall(r"^(\w+)$", text, re.MULTILINE)
    assert text.count("\n  ") == sum(map(len, presets().values()))
    assert [(each["preset"], len(each["rules"])) for each in listed] == [
        (name, len(rules)) for name, rules in presets().items()
    ]
    assert git in listed


def test_without_the_package_the_extra_is_named() -> None:
    """One line, with how to install it; nothing else needs it."""
    program = "import sys; sys.modules['re2'] = None; from execaudit.cli import main; main()"
    done = execaudit(
        "--config", "/dev/null", "redact", "--preset=all", "--test=x", before=(sys.executable, "-c", program)
    )

    assert done.status == 1
    assert done.failed_in_one_line()
    assert (
        b"redaction needs a package that is not installed (re2): `pip install 'execaudit[redact]'`"
        in done.err
    )
