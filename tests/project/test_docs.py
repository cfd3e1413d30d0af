"""The pages know every command, field, filter, setting, gap and exit status."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from execaudit import errors
from execaudit.cli import _COMMANDS, cli
from execaudit.daemon.settings import _KEYS
from execaudit.enums import GapReason
from execaudit.output.record import FIELDS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parents[2]
DOCS = CHECKOUT / "docs"
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
TROUBLE = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
# Of every command.
_EVERYWHERE = {"--config", "--db", "--help"}


def commands(group: click.Group = cli, path: str = "execaudit") -> Iterator[tuple[str, click.Command]]:
    """Yields each command under the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")


COMMANDS = dict(commands())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_what_it_does(name: str) -> None:
    """Each command and each of its options has a help text."""
    command = COMMANDS[name]
    options = [param for param in command.params if isinstance(param, click.Option)]

    assert command.help
    assert [] == [option.name for option in options if not option.help]


def test_the_list_of_commands_says_what_they_say() -> None:
    """The first sentence of each stands in the list, which is made without looking into them."""
    first = [name for name in COMMANDS if len(name.split()) == 2]

    assert {name.split()[1]: COMMANDS[name].get_short_help_str(1000) for name in first} == _COMMANDS


@pytest.mark.parametrize(
    "environment",
    [{}, {"_EXECAUDIT_COMPLETE": "bash_complete", "COMP_WORDS": "execaudit q", "COMP_CWORD": "1"}],
)
def test_the_list_of_commands_needs_none_of_them(environment: dict[str, str]) -> None:
    """Neither help nor completion waits for what a command imports."""
    program = (
        "import sys; from execaudit.cli import cli\n"
        "try: cli(['--help'], prog_name='execaudit')\n"
        "except SystemExit: pass\n"
        "print(*[name for name in sys.modules if name.startswith('execaudit.cli.')], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment}, cwd=CHECKOUT, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert "query" in done.stdout
    assert {"execaudit.cli.context"} == set(done.stderr.split())


def test_the_readme_lists_the_commands() -> None:
    """Each command has its row in the table, each subcommand stands in its group's."""
    table = README[README.index("## Commands") : README.index("## Cost")]
    rows = dict(re.findall(r"^\| `execaudit (\w+).*?` \| (.*) \|$", table, re.MULTILINE))
    words = [name.split()[1:] for name in COMMANDS]

    assert {first for first, *_ in words} == set(rows)
    assert [] == [rest for first, *rest in words if not all(f"`{word}`" in rows[first] for word in rest)]


def test_a_page_describes_the_record() -> None:
    """Each key of the record is explained, and no other."""
    page = (DOCS / "record.md").read_text(encoding="utf-8")
    fields = page[: page.index("## How the formats differ")]

    assert sorted(FIELDS) == sorted(re.findall(r"^\| `(\w+)` \|", fields, re.MULTILINE))


def test_a_page_explains_every_reason_of_a_gap() -> None:
    """What a gap may say, and nothing that none says."""
    page = (DOCS / "record.md").read_text(encoding="utf-8")
    table = page[page.index("| reason | meaning |") :]

    assert sorted(GapReason) == sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))


def test_a_page_explains_every_filter() -> None:
    """Each option of `query` stands where finding is explained."""
    page = (DOCS / "querying.md").read_text(encoding="utf-8")
    options = [option for param in COMMANDS["execaudit query"].params for option in param.opts]

    assert [] == [option for option in options if option not in page and option not in _EVERYWHERE]


def test_a_page_explains_every_setting_of_the_recorder() -> None:
    """Each key of each section stands in the example of a configuration."""
    page = (DOCS / "service.md").read_text(encoding="utf-8")
    example = tomllib.loads(page[page.index("```toml") + 7 : page.index("```", page.index("```toml") + 7)])

    assert {name: set(keys) for name, keys in _KEYS.items()} == {name: set(example[name]) for name in _KEYS}


def test_a_page_lists_the_exit_statuses() -> None:
    """Each status that an error has is in the table."""
    listed = {int(status) for status in re.findall(r"^\| (\d+) \|", TROUBLE, re.MULTILINE)}
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type)]

    assert {kind.exit_status for kind in classes if issubclass(kind, errors.ExecauditError)} <= listed


def test_the_lines_that_a_page_explains_are_said() -> None:
    """Each part of a message or an event that troubleshooting quotes stands in the code, or is SQLite's."""
    code = "".join(
        path.read_text(encoding="utf-8") for path in sorted((CHECKOUT / "execaudit").rglob("*.py"))
    )
    said = re.sub(r'"\s*\n\s*f?"', "", code)  # a message that is written as several texts
    said = re.sub(r'",\s*fix=f?"', ": ", said)
    of_others = {"database or disk is full", "database is locked", "cannot use the database postgresql://"}
    quoted = [
        part.strip(' ,"')
        for row in re.findall(r"^\| (.*?) \| ", TROUBLE, re.MULTILINE)
        for text in re.findall(r"`([^`]*)`", row)
        for part in re.split(r"\.\.\.|FILE|ID|\(pid N\)|CAP_|STRUCT\.MEMBER", text)
    ]

    assert len(quoted) > 50
    assert of_others == {part for part in quoted if part not in said}


def test_the_changelog_begins_with_what_is_not_released() -> None:
    """Work that is done but not released is noted under its heading."""
    headings = re.findall(r"^## (.*)$", (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)

    assert headings[0] == "Unreleased"
