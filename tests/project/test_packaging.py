"""What is shipped beside the program: settings, users, folders, log rotation, man pages, completions."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

from execaudit.cli import cli
from execaudit.cli.context import OF_THE_PLACE
from execaudit.cli.filter_options import filter_options
from execaudit.config import SECTIONS, TABLES, load
from execaudit.daemon import settings as daemon_settings
from execaudit.daemon.log_file import Rotation
from execaudit.database.url import DEFAULT_DATABASE
from tests.commands import execaudit

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parents[2]
PACKAGING = CHECKOUT / "packaging"
SHIPPED = PACKAGING / "config.toml"


@filter_options
def _filters() -> None:
    """Has the filters as its options."""


# What narrows a question down is in no default file: it would hide execs from who does not know.
FILTERS = {
    opt.removeprefix("--").replace("-", "_")
    for option in _filters.__click_params__  # type: ignore[attr-defined]  # click's own mark
    for opt in option.opts
} - {"limit", "reverse"}


@pytest.fixture
def uncommented(tmp_path: Path) -> Path:
    """The settings of the file, all of them set: what stands right behind its number sign is one."""
    path = tmp_path / "config.toml"
    path.write_text(re.sub(r"^#(?=\S)", "", SHIPPED.read_text(), flags=re.MULTILINE))
    return path


def options(name: str) -> dict[str, click.Option]:
    """Returns the options of a command that a file may set."""
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return {
        option.opts[-1].removeprefix("--").replace("-", "_"): option
        for option in command.params
        if isinstance(option, click.Option) and option.name not in OF_THE_PLACE
    }


def test_the_shipped_settings_set_nothing() -> None:
    """An administrator sees what there is, and decides."""
    settings = load(SHIPPED)

    assert settings.db is None
    assert {} == {name: table for name, table in settings.tables.items() if table}


def test_the_shipped_settings_are_all_there_are(uncommented: Path) -> None:
    """Each key of each section, and no other."""
    settings = load(uncommented)
    tables = {name: set(table) for name, table in settings.tables.items()}

    assert DEFAULT_DATABASE == settings.db
    assert {name: set(daemon_settings._KEYS[name]) for name in SECTIONS} == {
        name: tables[name] for name in SECTIONS
    }
    # An exec to draw and an id are asked for, and no settings. Rules are one, though no option.
    settable = {"hunt": {"rules"}}
    assert {name: set(options(name)) - FILTERS - {"id"} | settable.get(name, set()) for name in TABLES} == {
        name: tables[name] for name in TABLES
    }


def test_every_command_that_reads_has_settings() -> None:
    """Who sets the defaults of one looks for those of the others in the same place."""
    reading = {name for name in cli.list_commands(click.Context(cli)) if "since" in options(name)}

    assert reading >= {"query", "stats"}
    assert reading <= set(TABLES)


def test_the_shipped_settings_are_the_defaults(uncommented: Path) -> None:
    """Where there is one, it is what stands there."""
    tables = load(uncommented).tables
    wrong = {}
    for name in TABLES:
        for key, option in options(name).items():
            default: Any = False if option.is_flag else option.default
            # Who has no default has an example.
            if key in tables[name] and isinstance(default, (bool, str, int)) and tables[name][key] != default:
                wrong[name, key] = default
    sections = {name: tables[name] for name in SECTIONS}

    assert {} == wrong
    assert {"synchronous": "normal"} == sections["store"]
    assert Rotation().compress == sections["json_log"]["compress"]


@pytest.mark.parametrize("command", TABLES)
def test_the_shipped_settings_are_accepted(uncommented: Path, command: str, tmp_path: Path) -> None:
    """All of them set, each command takes its own, and looks for a history that is not there."""
    daemon_settings.upkeep(load(uncommented))
    argument = {"show": ("vm5j5w00289f4xw2vg052s",), "forward": ("--once",)}.get(command, ())
    log = ("--json-log", tmp_path / "no/x.jsonl") if command == "record" else ()
    done = execaudit("--config", uncommented, "--db", tmp_path / "no/x.db", command, *log, *argument)

    assert 1 == done.status, done.err
    assert done.failed_in_one_line()
    assert b"no/x." in done.err


def test_users_are_made(tmp_path: Path) -> None:
    """Each with a group of its name, no shell, and nothing to log in with. All may read."""
    (tmp_path / "etc").mkdir()
    subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", PACKAGING / "execaudit.sysusers"],
        stdin=subprocess.DEVNULL,
        check=True,
    )
    users = [line for line in (tmp_path / "etc/passwd").read_text().splitlines() if "execaudit" in line]
    groups = (tmp_path / "etc/group").read_text().splitlines()
    assert ["execaudit", "execaudit-forward", "execaudit-timestamp"] == sorted(
        user.split(":")[0] for user in users
    )
    readers = "execaudit-forward,execaudit-timestamp"
    for user in users:
        name, password, uid, gid, _, home, shell = user.split(":")
        assert ("x", f"/var/lib/{name}") == (password, home)
        assert shell.endswith("nologin")
        assert 0 < int(uid) < 1000
        assert f"{name}:x:{gid}:{readers if name == 'execaudit' else ''}" in groups


def test_folders_are_made_and_what_root_recorded_is_handed_over(tmp_path: Path) -> None:
    """What is there becomes the service's, and what a link leads to does not."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nexecaudit:x:777:778::/:/bin/sh\n")
    (tmp_path / "etc/group").write_text("root:x:0:\nexecaudit:x:778:\n")
    folder = tmp_path / "var/lib/execaudit"
    folder.mkdir(parents=True)
    (folder / "execaudit.db").touch(0o640)
    (tmp_path / "victim").touch(0o600)
    (folder / "link").symlink_to("../../../victim")
    subprocess.run(
        ["systemd-tmpfiles", "--create", f"--root={tmp_path}", PACKAGING / "execaudit.tmpfiles"],
        stdin=subprocess.DEVNULL,
        check=True,
    )

    def facts(path: Path) -> tuple[int, int, str]:
        found = path.stat()
        return found.st_uid, found.st_gid, f"{found.st_mode & 0o7777:o}"

    assert (777, 778, "750") == facts(folder) == facts(tmp_path / "var/log/execaudit")
    assert (777, 778, "640") == facts(folder / "execaudit.db")
    assert (0, 0, "600") == facts(tmp_path / "victim")


def test_the_log_that_is_rotated_is_the_units() -> None:
    """Both name one path, and the service is told."""
    text = (PACKAGING / "execaudit.logrotate").read_text()
    (path,) = re.findall(r"^(/\S+) \{$", text, re.MULTILINE)
    unit = (CHECKOUT / "execaudit.service").read_text()

    assert f"--json-log {path}\n" in unit
    assert "systemctl kill --signal=HUP --kill-who=main execaudit.service" in text


def pages() -> Iterator[tuple[str, click.Command]]:
    """Yields the name of the page of each command."""

    def below(group: click.Group, name: str) -> Iterator[tuple[str, click.Command]]:
        context = click.Context(group)
        for each in group.list_commands(context):
            command = group.get_command(context, each)
            assert command is not None
            yield f"{name}-{each}", command
            if isinstance(command, click.Group):
                yield from below(command, f"{name}-{each}")

    yield "execaudit", cli
    yield from below(cli, "execaudit")


@pytest.fixture(scope="module")
def manual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the man pages."""
    folder = tmp_path_factory.mktemp("man")
    subprocess.run([sys.executable, CHECKOUT / "tools/manpages.py", folder], check=True)
    return folder


def formatted(page: Path) -> tuple[str, str]:
    """Returns a page as a person reads it, and what man has to say of it."""
    done = subprocess.run(
        ["man", "--warnings", "--local-file", page],
        env={**os.environ, "MANWIDTH": "2000", "MAN_KEEP_FORMATTING": "", "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    return re.sub(r".\x08", "", done.stdout), done.stderr


def test_each_command_has_its_page(manual: Path) -> None:
    """And no page is without its command."""
    assert {f"{name}.1" for name, _ in pages()} == {path.name for path in manual.iterdir()}


@pytest.mark.parametrize("name", dict(pages()))
def test_a_page_says_what_help_says(manual: Path, name: str) -> None:
    """Each option, and what it does, in roff that man has nothing against."""
    command = dict(pages())[name]
    shown, complaints = formatted(manual / f"{name}.1")
    words = " ".join(shown.replace("\u2010", "-").split())

    assert "" == complaints
    for param in command.params:
        if isinstance(param, click.Option):
            assert all(opt in words for opt in param.opts)
            assert " ".join((param.help or "").split()) in words


def test_man_would_complain(tmp_path: Path) -> None:
    """The test above can fail."""
    (tmp_path / "x.1").write_text('.TH "X" 1 "" "" ""\n.SH NAME\n.NOSUCHREQUEST\nx\n')

    assert "NOSUCHREQUEST" in formatted(tmp_path / "x.1")[1]


# As a shell calls it: by the name that the variable goes with, and with no argument.
_NAMED = (
    sys.executable,
    "-c",
    "import sys; from execaudit.cli import main; sys.argv = ['execaudit']; main()",
)


@pytest.mark.parametrize(
    ("typed", "offered"), [("execaudit rec", "record"), ("execaudit record --pro", "--probe")]
)
def test_bash_completes(tmp_path: Path, typed: str, offered: str) -> None:
    """By what is shipped, asking the program."""
    subprocess.run([sys.executable, CHECKOUT / "tools/completions.py", tmp_path], check=True)
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/execaudit"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m execaudit "$@"\n')
    program.chmod(0o755)
    words = typed.split()
    script = f"""
        source {tmp_path}/bash/execaudit
        COMP_WORDS=({typed}) COMP_CWORD={len(words) - 1}
        _execaudit_completion execaudit
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    environment = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script], env=environment, cwd=CHECKOUT, capture_output=True, text=True, check=True
    )

    assert [offered] == done.stdout.split()
    assert (tmp_path / "zsh/_execaudit").read_text().startswith("#compdef execaudit\n")
    assert "complete " in (tmp_path / "fish/execaudit.fish").read_text()


@pytest.mark.parametrize(
    "typed",
    ["--db h", "--config h", "query --db h", "record --json-log h", "record -- h", "export -o h"],
)
def test_shells_complete_files(typed: str) -> None:
    """Where one is asked for: the program says so, and the shell finds them."""
    words = f"execaudit {typed}".split()
    asking = {"_EXECAUDIT_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words)}
    done = execaudit(env={**asking, "COMP_CWORD": str(len(words) - 1)}, before=_NAMED)

    assert b"file,h\n" == done.out
