"""`execaudit hunt`: run detection rules."""

from __future__ import annotations

import sys
from typing import Any

import click

from execaudit.cli.context import State, config_option, db_option, files, password_option
from execaudit.cli.filter_options import filter_options

_LEVELS = ("low", "medium", "high", "critical")


@click.command("hunt")
@click.argument("rules", nargs=-1, metavar="[RULE]...", shell_complete=files)
@filter_options
@click.option("--level", type=click.Choice(_LEVELS), help="Only rules of this level or above.")
@click.option("--follow", is_flag=True, help="Keep hunting in what arrives, until Ctrl-C or --until.")
@click.option(
    "--format",
    "fmt",
    type=click.Choice(["table", "jsonl"]),
    help="How to write hits.  [default: table on a terminal, else jsonl]",
)
@click.option("--strict", is_flag=True, help="End with status 1 if a rule could not be hunted.")
@password_option
@config_option
@db_option
@click.pass_obj
def command(  # noqa: PLR0913  # each is an option
    state: State,
    /,
    rules: tuple[str, ...],
    level: str | None,
    fmt: str | None,
    *,
    follow: bool,
    strict: bool,
    **values: Any,  # noqa: ANN401  # the filters
) -> None:
    """Run Sigma rules over the history: print the execs that they hit.

    RULE is a file, or a folder with files named *.yml; without one, the folder of `rules` in
    [hunt] of the configuration. Only programs that started are hunted; with --failed, only
    those that did not. With --limit the newest so many hits are printed.
    """
    if follow and (values["reverse"] or values["limit"] is not None):
        raise click.UsageError("--follow excludes --reverse and --limit")
    paths = rules or state.configured("hunt", "rules")
    if not paths:
        raise click.UsageError("name a rule, or set rules in [hunt] of the configuration")
    from execaudit.cli.run import hunt  # noqa: PLC0415  # `--help` needs only the options

    is_table = sys.stdout.isatty() if fmt is None else fmt == "table"
    if follow:
        with state.local(follow=True) as followed:
            read = hunt.read(paths, level=level)
            hunt.follow(followed, values, read, is_table=is_table)
    else:
        with state.history() as history:
            read = hunt.read(paths, level=level)
            hunt.answer(history, values, read, is_table=is_table)
    if strict:
        hunt.check(read)
