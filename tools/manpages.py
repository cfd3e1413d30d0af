"""Write man pages for execaudit and each of its commands: `manpages.py FOLDER`.

The pages are made from the help of the commands, so they always agree with it. click-man does the same, but
it finds only commands that are imported, and execaudit imports a command when it is called.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click

from execaudit import __version__
from execaudit.cli import cli
from execaudit.config import DEFAULT_CONFIG
from execaudit.database.url import DEFAULT_DATABASE

if TYPE_CHECKING:
    from collections.abc import Iterator

STATUSES = {
    0: "Done; a query that finds nothing is done too.",
    1: "The request failed: one line on standard error says why and what to do.",
    2: "Wrong usage.",
    3: "A bug in execaudit.",
    4: "The database is damaged.",
    5: "The probe could not be loaded.",
    130: "Interrupted with Ctrl-C; record stops in order, with 0.",
}
_FILES = {
    DEFAULT_DATABASE: "The history.",
    DEFAULT_CONFIG: "Settings: the names of the options, in TOML.",
}
_COLUMNS = 72  # of the source: mandoc warns about lines above 80
_ENVIRONMENT = {"EXECAUDIT_DB": "The history, where --db is not given."}


def pages() -> Iterator[tuple[str, str]]:
    """Yields the name of each page, and its text."""
    yield from _below(cli, click.Context(cli, info_name="execaudit", **cli.context_settings))


def _below(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    subcommands = []
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            subcommand = command.get_command(context, name)
            if subcommand is not None and not subcommand.hidden:
                settings = subcommand.context_settings
                inner = click.Context(subcommand, info_name=name, parent=context, **settings)
                subcommands.append((subcommand, inner))
    yield _name(context), "\n".join(_page(command, context, subcommands)) + "\n"
    for each in subcommands:
        yield from _below(*each)


def _name(context: click.Context) -> str:
    return context.command_path.replace(" ", "-")


def _page(
    command: click.Command, context: click.Context, subcommands: list[tuple[click.Command, click.Context]]
) -> Iterator[str]:
    name, help_text = _name(context), _help(command)
    yield f'.TH "{escaped(name.upper())}" 1 "{_day()}" "execaudit {__version__}" "execaudit"'
    yield ".SH NAME"
    yield f"{escaped(name)} \\- {escaped(_brief(help_text))}"
    yield ".SH SYNOPSIS"
    yield f".B {escaped(context.command_path)}"
    yield escaped(" ".join(command.collect_usage_pieces(context)))
    yield ".SH DESCRIPTION"
    for number, paragraph in enumerate(help_text.split("\n\n")):
        if number:
            yield ".PP"
        yield text(" ".join(paragraph.split()))
    if subcommands:
        yield ".SH COMMANDS"
        # In bold is the whole command, so that a search in the pager finds it.
        yield from _list({inner.command_path: _brief(_help(each)) for each, inner in subcommands})
    yield ".SH OPTIONS"
    yield from _list(dict(_options(command, context)))
    yield ".SH EXIT STATUS"
    yield from _list({str(status): meaning for status, meaning in STATUSES.items()})
    yield ".SH ENVIRONMENT"
    yield from _list(_ENVIRONMENT)
    yield ".SH FILES"
    yield from _list(_FILES)
    others = [_name(inner) for _, inner in subcommands]
    if context.parent is not None:
        others.insert(0, _name(context.parent))
    yield ".SH SEE ALSO"
    yield ",\n".join(f".BR {escaped(other)} (1)" for other in others)


def _help(command: click.Command) -> str:
    return textwrap.dedent(command.help or "").strip()


def _brief(help_text: str) -> str:
    return " ".join(help_text.partition("\n\n")[0].split()).partition(". ")[0].removesuffix(".")


def _options(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    for param in command.get_params(context):
        if isinstance(param, click.Option) and (record := param.get_help_record(context)):
            yield record


def _list(items: dict[str, str]) -> Iterator[str]:
    for term, meaning in items.items():
        yield ".TP"
        yield f".B {escaped(term)}"
        yield text(meaning)


def text(words: str) -> str:
    """Returns a paragraph for roff."""
    lines = map(escaped, textwrap.wrap(words, _COLUMNS, break_long_words=False, break_on_hyphens=False))
    # These would begin a request.
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in lines)


def escaped(words: str) -> str:
    """Returns text without any character that is special to roff. Hyphens can be copied to a shell."""
    return words.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")


def _day() -> str:
    """Returns the day of SOURCE_DATE_EPOCH (reproducible-builds.org), or else today."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    zone = dt.timezone.utc
    day = dt.datetime.fromtimestamp(int(epoch), zone) if epoch else dt.datetime.now(zone)
    return day.date().isoformat()


def main(folder: Path) -> None:
    """Writes the pages into an existing folder."""
    for name, page in pages():
        (folder / f"{name}.1").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
