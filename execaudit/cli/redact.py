"""`execaudit redact`: try the rules of redaction."""

from __future__ import annotations

import click

from execaudit.cli.common_options import text_or_json
from execaudit.cli.context import State, config_option, db_option


@click.command("redact")
@click.option(
    "--test",
    "commands",
    multiple=True,
    metavar="CMD",
    help="A command line, as typed in a shell; - reads lines from standard input.",
)
@click.option(
    "--preset",
    "presets",
    multiple=True,
    metavar="NAME",
    help="With this preset, or all, instead of [redact] of the configuration; repeatable.",
)
@click.option("--list", "is_list", is_flag=True, help="List the presets and their rules.")
@text_or_json
@config_option
@db_option
@click.pass_obj
def command(
    state: State, /, commands: tuple[str, ...], presets: tuple[str, ...], fmt: str, *, is_list: bool
) -> None:
    """Say which secrets of a command line would not be recorded.

    With --test, prints each program that the line starts, as it would be recorded, and which rule
    replaced what. Nothing is run. But this command is recorded as any other, with the secrets that
    you type, unless [redact] is on: - is better for real ones.
    """
    if is_list == bool(commands):
        raise click.UsageError("give --test CMD, or --list")
    from execaudit.cli.run import redact  # noqa: PLC0415  # `--help` needs only the options

    if is_list:
        redact.list_presets(presets, as_json=fmt == "json")
    else:
        redact.test(state, commands, presets, as_json=fmt == "json")
