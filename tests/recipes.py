"""Run the commands of docs/recipes.md and of other pages on the history of tests/incident.py.

`python -m tests.recipes` (`make pages`) writes the outputs into the pages: look at the changes before you
commit them. In a block of ```console, a command for bash begins with `$ ` and ends with the first line that
does not end with a backslash. The next lines are its output on a terminal of 110 columns.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from execaudit.database.url import DEFAULT_DATABASE
from execaudit.system import clock
from tests.commands import PATIENCE, Terminal, environment
from tests.incident import recorded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from execaudit.store.writer import Store

CHECKOUT = Path(__file__).parent.parent
PAGE = CHECKOUT / "docs/recipes.md"
OTHERS = (CHECKOUT / "README.md", CHECKOUT / "docs/exporting.md", CHECKOUT / "docs/querying.md")
"""Other pages with examples, which are no recipes."""
_COLUMNS = 110
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
# The size of a file depends on the version of SQLite.
_SIZE = re.compile(r"\b(takes|has) \d+ bytes")
# And so does how it grows; its limit depends on the disk.
_GROWTH = re.compile(r"^At the rate of this range it grows by .*$", re.MULTILINE)
_GROWS = "At the rate of this range it grows by 40.5 MB a day: its limit of 4.0 GB comes in 98 days."
# A history that is made anew has other seals.
_SEALED = re.compile(r"^sealed until .*$", re.MULTILINE)
_SEAL = "sealed until 2026-11-23 09:41:07.581 +0000, head 1f0c3a5b7d9e2468-1789-97c1bc8bd311a717ead4bd79f56c7ce6f0e4dc4efac8be89a6043a25bfce1a37"
_LAST = re.compile(r"complete until |\d+ execs?$").match
# Colours come from jq, which before 1.7.1 ignores NO_COLOR. The output of execaudit has no escape sequence.
_COLOUR = re.compile(r"\x1b\[[\d;]*m")


class Step(NamedTuple):
    """One command of the page."""

    command: str
    output: str


class Recipe(NamedTuple):
    """A question, and the commands that answer it."""

    title: str
    steps: list[Step]


def recipes(page: str) -> list[Recipe]:
    """Returns the recipes of the page: its sections of the third level."""
    _, *sections = re.split(r"^### ", page, flags=re.MULTILINE)
    found = []
    for section in sections:
        title = section.partition("\n")[0]
        found.append(Recipe(title, examples(section)))
    return found


def examples(text: str) -> list[Step]:
    """Returns the commands in a text, in order."""
    return [Step(*each.groups()) for each in _COMMAND.finditer("".join(_BLOCK.findall(text)))]


class Asker:
    """Runs commands with the page's history as the default one."""

    def __init__(self, store: Store | None, history: Path | str, folder: Path) -> None:
        """Writes a script named execaudit into `folder`, which must be empty.

        The history is a file, or a central database's URL. Without a store, nobody records it.
        """
        self._store, self.history = store, str(history)
        command = folder / "execaudit"
        # Settings of this machine must not affect the page.
        command.write_text(
            f'#!/bin/sh\nPYTHONPATH={CHECKOUT} exec {sys.executable} -m execaudit --config /dev/null "$@"\n'
        )
        command.chmod(0o755)
        self._environment = {
            "EXECAUDIT_DB": self.history,
            "LC_ALL": "C.UTF-8",
            # The terminal has this width too, but a COLUMNS of the caller (xdist sets one) would win.
            "COLUMNS": str(_COLUMNS),
            "NO_COLOR": "1",
            "PATH": f"{folder}:{os.environ['PATH']}",
        }

    def ask(self, command: str, folder: Path) -> str:
        """Runs a command in a folder. Returns its output on a terminal, with standard error first.

        How many execs there are, and the line `complete until`, come last, as they do on a terminal.
        """
        if self._store is not None:
            self._store.append((), seen_ns=clock.wall_ns())  # a recorder does this each minute
        terminal = Terminal()
        fcntl.ioctl(terminal.theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, _COLUMNS, 0, 0))
        with (
            tempfile.TemporaryFile() as said,  # a pipe could fill up while the terminal is read
            subprocess.Popen(
                ["bash", "-c", command],
                cwd=folder,
                env=environment(self._environment),
                stdin=subprocess.DEVNULL,
                stdout=terminal.theirs,
                stderr=said,
            ) as process,
        ):
            shown = terminal.read()
            process.wait(PATIENCE)
            said.seek(0)
            lines = said.read().decode().splitlines(keepends=True)
        last = [line for line in lines if _LAST(line)]
        first = [line for line in lines if line not in last]
        text = _COLOUR.sub("", "".join([*first, shown.decode(), *last]))
        text = _SEALED.sub(_SEAL, _GROWTH.sub(_GROWS, text))
        return _SIZE.sub(r"\1 225280 bytes", text.replace(self.history, DEFAULT_DATABASE))


@contextlib.contextmanager
def asker(folder: Path) -> Iterator[Asker]:
    """Makes the page's history in an empty folder. Its recorder seems to run while the body runs."""
    history, commands = folder / "execaudit.db", folder / "bin"
    commands.mkdir()
    with recorded(history) as store:
        yield Asker(store, history, commands)


def asker_of_copy(folder: Path) -> Asker:
    """Makes the page's history in an empty folder. Nobody records it, as a reader's own copy."""
    history, commands = folder / "incident.db", folder / "bin"
    commands.mkdir()
    with recorded(history):
        pass
    return Asker(None, history, commands)


def _rewrite(page: str) -> str:
    """Returns the page with the present outputs of its commands."""
    with tempfile.TemporaryDirectory() as made, asker(Path(made)) as of:
        parts = re.split(r"^(?=### )", page, flags=re.MULTILINE)
        for number, part in enumerate(parts):
            with tempfile.TemporaryDirectory() as folder:
                here = Path(folder)
                parts[number] = _BLOCK.sub(lambda block: _answered(of, block, here), part)  # noqa: B023  # called now
    return "".join(parts)


def _answered(of: Asker, block: re.Match[str], folder: Path) -> str:
    answered = _COMMAND.sub(lambda step: f"$ {step[1]}\n{of.ask(step[1], folder)}", block[1])
    return f"```console\n{answered}```"


if __name__ == "__main__":
    for written in (PAGE, *OTHERS):
        written.write_text(_rewrite(written.read_text(encoding="utf-8")), encoding="utf-8")
