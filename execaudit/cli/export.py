"""`execaudit export`: the same filters, into a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from execaudit.cli.context import State, config_option, db_option
from execaudit.cli.filter_options import filter_options
from execaudit.output.format import Format

_FORMATS = (Format.CSV, Format.JSONL)


@click.command("export")
@filter_options
@click.option(
    "--format",
    "fmt",
    type=click.Choice([fmt.value for fmt in _FORMATS]),
    default="csv",
    show_default=True,
    help="How to write them.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="Where to; - is standard output.  [default: -]",
)
@click.option("--raw", is_flag=True, help="CSV: exact values, though a spreadsheet may run them.")
@config_option
@db_option
@click.pass_obj
def command(state: State, /, fmt: str, output: Path | None, *, raw: bool, **values: Any) -> None:  # noqa: ANN401  # the filters
    """Write execs to a file for an incident review.

    The file appears under its name when it is complete. Without --raw, CSV cells that a
    spreadsheet would run as a formula get an apostrophe before them.
    """
    from execaudit.cli.run import export  # noqa: PLC0415  # `--help` needs only the options

    target = export.Target(Format(fmt), None if str(output) == "-" else output, raw)
    with state.history() as connection:
        export.write(connection, state.database(), values, target)
