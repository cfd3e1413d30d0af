"""The documentation knows every command, option, field and exit status."""

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
from execaudit.enums import GapReason
from execaudit.output.record import FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parents[2]
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")


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


@pytest.mark.parametrize("name", COMMANDS)
def test_the_readme_describes_a_command(name: str) -> None:
    """Each command has its section, each subcommand stands in its group's, with every option."""
    section = re.search(rf"^### {' '.join(name.split()[:2])}\n(.*?)^##", README, re.MULTILINE | re.DOTALL)
    assert section
    assert name in section[1]
    shared = README[README.index("## Commands") : README.index("### ")]
    options = [option for param in COMMANDS[name].params for option in param.opts if option.startswith("-")]
    of_query = README[README.index("### execaudit query") : README.index("### execaudit export")]
    also = of_query if name in {"execaudit export", "execaudit tree", "execaudit stats"} else ""

    assert [] == [option for option in options if option not in section[1] + shared + also]


def test_the_readme_describes_the_record() -> None:
    """Each key of the record is explained, and no other."""
    table = README[README.index("## The record") : README.index("### Gaps")]
    keys = [
        key
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for key in re.findall(r"`(\w+)`", row)
    ]

    assert sorted(FIELDS) == sorted(keys)


def test_the_readme_explains_every_reason_of_a_gap() -> None:
    """What a gap may say, and nothing that none says."""
    table = README[README.index("### Gaps") : README.index("## The database")]

    assert sorted(GapReason) == sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))


def test_the_readme_lists_the_exit_statuses() -> None:
    """Each status that an error has is in the table."""
    listed = {int(status) for status in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type)]

    assert {kind.exit_status for kind in classes if issubclass(kind, errors.ExecauditError)} <= listed


def test_the_changelog_begins_with_what_is_not_released() -> None:
    """Work that is done but not released is noted under its heading."""
    headings = re.findall(r"^## (.*)$", (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)

    assert headings[0] == "Unreleased"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(name: str) -> None:
    """Each link of the documentation is to a file or a heading that is there."""
    text = (CHECKOUT / name).read_text(encoding="utf-8")
    anchors = {
        re.sub(r"[^\w -]", "", title).lower().replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    links = re.findall(r"\]\(([^)]*)\)", text)

    assert [] == [
        link
        for link in links
        if not link.startswith("http")
        and not (link[1:] in anchors if link[0] == "#" else (CHECKOUT / link).exists())
    ]
