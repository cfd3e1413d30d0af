"""`execaudit query`: find execs."""

from __future__ import annotations

import sys
from typing import Any

import click

from execaudit.cli.context import State, config_option, db_option
from execaudit.cli.filter_options import filter_options
from execaudit.output.format import Format


@click.command("query")
@filter_options
@click.option("--follow", is_flag=True, help="Keep printing as execs arrive, until Ctrl-C or --until.")
@click.option(
    "--format",
    "fmt",
    type=click.Choice([fmt.value for fmt in Format]),
    help="How to write them.  [default: table on a terminal, else jsonl]",
)
@click.option("--raw", is_flag=True, help="CSV: exact values, though a spreadsheet may run them.")
@config_option
@db_option
@click.pass_obj
def command(state: State, /, fmt: str | None, *, follow: bool, raw: bool, **values: Any) -> None:  # noqa: ANN401  # the filters
    """Find execs: a table on a terminal, JSON lines when piped.

    Filters combine with AND; one that is given more than once, with OR. The order is that of
    recording; --limit takes the newest.
    """
    if follow and values["reverse"]:
        raise click.UsageError("--follow and --reverse exclude each other")
    from execaudit.cli.run import query  # noqa: PLC0415  # `--help` needs only the options

    chosen = Format(fmt or ("table" if sys.stdout.isatty() else "jsonl"))
    with state.history(follow=follow) as connection:
        query.answer(connection, values, chosen, follow=follow, raw=raw)
