"""`execaudit query`: find execs."""

from __future__ import annotations

import sys
from typing import Any

import click

from execaudit.cli.context import State, config_option, db_option, password_option
from execaudit.cli.filter_options import filter_options
from execaudit.cli.param_types import FieldName, FieldNames
from execaudit.cli.view_options import table_options
from execaudit.output.format import ANSWERED, Format


@click.command("query")
@filter_options
@click.option("--follow", is_flag=True, help="Keep printing as execs arrive, until Ctrl-C or --until.")
@click.option(
    "--format",
    "fmt",
    type=click.Choice([fmt.value for fmt in ANSWERED]),
    help="How to write them.  [default: table on a terminal, else jsonl]",
)
@click.option(
    "--columns",
    type=FieldNames(),
    metavar="NAMES",
    help="Only these fields of the record, in this order: time,user,exe.",
)
@click.option(
    "--sort", type=FieldName(), metavar="NAME", help="In the order of this field: the smallest first."
)
@click.option("--count", is_flag=True, help="Only how many there are.")
@click.option("--raw", is_flag=True, help="CSV: exact values, though a spreadsheet may run them.")
@table_options
@password_option
@config_option
@db_option
@click.pass_obj
def command(  # noqa: PLR0913  # each is an option
    state: State,
    /,
    fmt: str | None,
    columns: tuple[str, ...] | None,
    sort: str | None,
    *,
    count: bool,
    follow: bool,
    raw: bool,
    **values: Any,  # noqa: ANN401  # the filters
) -> None:
    """Find execs: a table on a terminal, JSON lines when piped.

    Filters combine with AND; one that is given more than once, with OR. The order is that of
    recording; --limit takes the newest. With --sort, --limit takes the first, and --reverse begins
    with the largest.
    """
    for option, given in (("--reverse", values["reverse"]), ("--sort", sort), ("--count", count)):
        if follow and given:
            raise click.UsageError(f"--follow and {option} exclude each other")
    for option, given in (("--sort", sort), ("--columns", columns)):
        if count and given:
            raise click.UsageError(f"--count and {option} exclude each other")
    from execaudit.cli.run import query  # noqa: PLC0415  # `--help` needs only the options

    chosen = Format(fmt or ("table" if sys.stdout.isatty() else "jsonl"))
    shape = query.Shape(chosen, columns, sort, raw=raw)
    if follow:
        with state.local(follow=True) as followed:
            query.follow(followed, values, shape, state.look)
        return
    with state.history() as history:
        if count:
            query.count(history, values)
        else:
            query.answer(history, values, shape, state.look)
