"""Exit statuses, and what stands on stderr with them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from execaudit import __version__
from tests.commands import EXECAUDIT, POWERLESS, as_nobody, execaudit, on_terminal
from tests.hunt.rules import write_rule

if TYPE_CHECKING:
    from collections.abc import Sequence

# Executed by Python before anything of ours.
_BREAKS_QUERY = """
import execaudit.query.find
def pages(*arguments, **options):
    raise ZeroDivisionError("a bug")
execaudit.query.find.pages = pages
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["-h"], ["query", "--help"], ["db", "info", "-h"], ["--version"]]
)
def test_asking_for_help_is_done(arguments: list[str]) -> None:
    """Help and the version are the answer: on stdout, with 0."""
    done = execaudit(*arguments)

    assert (0, b"") == (done.status, done.err)
    assert done.out


def test_version() -> None:
    """--version names the program and its version."""
    assert f"execaudit, version {__version__}\n".encode() == execaudit("--version").out


@pytest.mark.parametrize("arguments", [[], ["db"]], ids=["execaudit", "db"])
def test_without_a_command_it_explains_itself(arguments: list[str]) -> None:
    """A command that is missing is wrong usage, and the help is the message, as it is."""
    done = execaudit(*arguments, before=EXECAUDIT[:3])

    assert (2, b"") == (done.status, done.out)
    assert b"\nCommands:\n" in done.err


def test_a_command_starts_alone() -> None:
    """The installed script is the same program."""
    script = Path(sys.executable).with_name("execaudit")

    assert execaudit("--version") == execaudit("--version", before=(str(script),))


def test_a_bug_keeps_its_traceback(history: Path, tmp_path: Path) -> None:
    """What nobody expected ends with 3 and everything that helps to find it."""
    (tmp_path / "sitecustomize.py").write_text(_BREAKS_QUERY)
    done = execaudit("--db", history, "query", env={"PYTHONPATH": str(tmp_path)})

    assert (3, b"") == (done.status, done.out)
    assert b"Traceback" in done.err
    assert b"ZeroDivisionError: a bug\nexecaudit: this is a bug" in done.err


def damaged_in_the_middle(path: Path) -> None:
    """Overwrites pages that hold execs."""
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xa5" * (path.stat().st_size - 8192))


def damaged_at_the_end(path: Path) -> None:
    """Takes the second half away."""
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [damaged_in_the_middle, damaged_at_the_end])
@pytest.mark.parametrize(
    "command", [["query"], ["export"], ["db", "info"], ["record", "--duration", "1s"]], ids=" ".join
)
def test_damaged(command: list[str], damage: object, history: Path, tmp_path: Path) -> None:
    """A damaged database ends with 4, and one line that says what to do."""
    path = tmp_path / "history.db"
    shutil.copyfile(history, path)
    assert callable(damage)
    damage(path)
    done = execaudit("--db", path, *command)

    assert 4 == done.status, done.err
    assert b"malformed" in done.err.splitlines()[-1]
    assert b"Traceback" not in done.err


def test_no_colour(history: Path) -> None:
    """With NO_COLOR, what is printed for people lacks the colours, and nothing else."""
    coloured = on_terminal("--db", history, "query", stderr=True, env={"TERM": "xterm"})
    plain = on_terminal("--db", history, "query", stderr=True, env={"NO_COLOR": "1"})

    assert plain == coloured._replace(out=re.sub(rb"\x1b\[[0-9;]*m", b"", coloured.out)) != coloured
    assert b"\x1b" not in plain.out


def test_warnings_of_python_are_for_developers(history: Path) -> None:
    """A regular expression that Python will read differently one day is still just searched."""
    done = execaudit("--db", history, "query", "--host", "db1", "--args-regex", "[[a]")

    assert (0, b"") == (done.status, done.err)


def test_upgrade_makes_a_database(tmp_path: Path) -> None:
    """`db upgrade` makes what is missing, says so on stderr, and can be run again."""
    path = tmp_path / "new.db"
    first = execaudit("--db", path, "db", "upgrade")
    second = execaudit("--db", path, "db", "upgrade")

    assert (0, b"") == (first.status, first.out)
    assert (0, b"") == (second.status, second.out)
    assert b"before: none" in first.err
    assert b"already" in second.err
    assert 0o640 == path.stat().st_mode & 0o777


def test_info(history: Path) -> None:
    """`db info` counts what is there; the JSON is for scripts."""
    text = execaudit("--db", history, "db", "info")
    [facts] = execaudit("--db", history, "db", "info", "--format", "json").rows()

    assert b"execs          8\n" in text.out
    assert b"stray exits    1\n" in text.out
    assert (8, 2, 7, 2) == (facts["execs"], facts["gaps"], facts["missed"], facts["recorder_runs"])
    assert (1, 1, 3) == (facts["exits"], facts["stray_exits"], facts["missed_exits"])
    assert ("2026-11-22T18:08:39.000000000Z", "2026-11-22T18:08:46.000000000Z") == (
        facts["first"],
        facts["last"],
    )
    assert (str(history), history.stat().st_size) == (facts["path"], facts["bytes"])


def test_people_read_local_times(history: Path) -> None:
    """As in the other commands, with the offset; the JSON has UTC."""

    def said(*command: str, before: Sequence[str] = EXECAUDIT) -> bytes:
        done = execaudit("--db", history, *command, env={"TZ": "Asia/Tokyo"}, before=before)
        return done.out + done.err

    text = said("db", "info")
    assert b"first          2026-11-23 03:08:39.000 +0900\n" in text
    assert b"last           2026-11-23 03:08:46.000 +0900\n" in text
    assert b"000000Z" not in text
    assert b"from 2026-11-23 03:08:39.000 +0900 to 2026" in said(
        "db", "prune", "--older-than", "1s", "--dry-run"
    )
    assert b"nobody has recorded since 2026-11-23 03:25:19.000 +0900 into " in said(
        "doctor", before=POWERLESS
    )
    assert b"nobody has recorded since 2026-11-22T18:" in said("doctor", "--format", "json", before=POWERLESS)


def test_info_of_an_empty_history(tmp_path: Path) -> None:
    """A history without execs is described too; what is not known is null or a dash."""
    execaudit("--db", tmp_path / "new.db", "db", "upgrade")
    text = execaudit("--db", tmp_path / "new.db", "db", "info")
    [facts] = execaudit("--db", tmp_path / "new.db", "db", "info", "--format", "json").rows()

    assert b"first          -\n" in text.out
    assert (0, None, None) == (facts["execs"], facts["first"], facts["last"])


@pytest.mark.parametrize(("revision", "word"), [("0000", b"db upgrade"), ("9999", b"newer execaudit")])
def test_another_schema(revision: str, word: bytes, history: Path, tmp_path: Path) -> None:
    """A history of an older or newer version is not read wrongly: one line says what to do."""
    path = tmp_path / "history.db"
    shutil.copyfile(history, path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    done = execaudit("--db", path, "query")

    assert 1 == done.status
    assert done.failed_in_one_line()
    assert word in done.err


def test_doctor(tmp_path: Path) -> None:
    """`doctor` checks this machine: all is well here but that there is no history yet, which is 1."""
    done = execaudit("--db", tmp_path / "none.db", "doctor", "--format", "json")
    said = json.loads(done.out)

    assert (1, b"") == (done.status, done.err)
    assert ["database"] == [check["name"] for check in said["checks"] if not check["ok"]]
    assert ["tracepoint", "kprobe"] == [probe["probe"] for probe in said["probes"]]
    assert [True] == [probe["successful"] for probe in said["probes"] if probe["automatic"]]


def test_doctor_of_another_user(public_folder: Path) -> None:
    """Who lacks the capabilities learns that, and that the history is closed, and all else all the same."""
    (public_folder / "closed").mkdir(mode=0o700)
    done = as_nobody("--db", public_folder / "closed/x.db", "doctor", "--format", "json")
    checks = {check["name"]: check for check in json.loads(done.out)["checks"]}

    assert (1, b"") == (done.status, done.err)
    assert "not root, and without CAP_BPF and CAP_PERFMON" == checks["privileges"]["detail"]
    assert "you may not look at" in checks["database"]["detail"]
    assert checks["kernel"]["ok"]


@pytest.mark.parametrize(
    ("value", "said"),
    [("0", "compiled functions are used"), ("1", "Python does all, slower: EXECAUDIT_PURE is set")],
)
def test_doctor_says_what_runs(public_folder: Path, value: str, said: str) -> None:
    """The compiled functions or Python, as data and as text. Python alone is no failure."""
    variable = {"EXECAUDIT_PURE": value}
    data = as_nobody("--db", public_folder / "x.db", "doctor", "--format", "json", env=variable)
    text = as_nobody("--db", public_folder / "x.db", "doctor", env=variable)
    [check] = [check for check in json.loads(data.out)["checks"] if check["name"] == "native"]

    assert {"name": "native", "ok": True, "detail": said, "fix": None} == check
    assert f"ok    native       {said}\n".encode() in text.out


def checked(folder: Path, name: str) -> dict[str, Any]:
    """Returns what doctor says of one thing, with the configuration in a folder."""
    done = execaudit(
        "--config", folder / "config.toml", "--db", folder / "x.db", "doctor", "--format", "json", before=POWERLESS
    )  # fmt: skip
    [check] = [check for check in json.loads(done.out)["checks"] if check["name"] == name]
    return dict(check)


@pytest.mark.parametrize(
    ("file", "ok", "detail"),
    [
        ("good.yml", True, "1 rule can be run"),
        ("", False, "1 rule; 1 cannot be run, the first in {}/bad.yml: "),
        ("none.yml", False, "cannot read the rules in {}/none.yml: No such file or directory"),
    ],
)
@pytest.mark.skipif(sys.version_info < (3, 11), reason="pySigma needs Python 3.11")
def test_doctor_tries_the_rules_of_the_recorder(tmp_path: Path, file: str, ok: bool, detail: str) -> None:  # noqa: FBT001  # drawn
    """Those of [hunt]: how many can be run, and the first that cannot."""
    rules = tmp_path / "rules"
    rules.mkdir()
    write_rule(rules / "good.yml", "{Image|endswith: /sh}")
    (rules / "bad.yml").write_text("title: a rule without a condition\n")
    (tmp_path / "config.toml").write_text(f'[hunt]\nrules = "{rules / file}"\n')
    check = checked(tmp_path, "hunt")

    assert ok == check["ok"] == (check["fix"] is None)
    assert check["detail"].startswith(detail.format(rules))


@pytest.mark.parametrize(
    ("presets", "ok", "detail"),
    [("all", True, "secrets are replaced by "), ("alle", False, "there is no preset 'alle'")],
)
def test_doctor_tries_the_rules_of_redaction(tmp_path: Path, presets: str, ok: bool, detail: str) -> None:  # noqa: FBT001  # drawn
    """Those of [redact]: a recorder would not start with wrong ones."""
    (tmp_path / "config.toml").write_text(f'[redact]\npresets = "{presets}"\n')
    check = checked(tmp_path, "redact")

    assert ok == check["ok"] == (check["fix"] is None)
    assert detail in check["detail"]


def test_doctor_says_what_each_probe_sees(tmp_path: Path) -> None:
    """A person gets the same as a table."""
    done = execaudit("--db", tmp_path / "none.db", "doctor", before=POWERLESS)

    assert re.search(rb"^ +tracepoint +kprobe$", done.out, re.MULTILINE)
    assert re.search(rb"^successful execs +yes", done.out, re.MULTILINE)
