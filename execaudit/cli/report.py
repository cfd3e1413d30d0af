"""`execaudit report`: an incident as one HTML file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from execaudit.cli.common_options import verify_options
from execaudit.cli.context import State, config_option, db_option, files, password_option
from execaudit.cli.filter_options import filter_options
from execaudit.cli.param_types import ExecId


@click.command("report")
@filter_options
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="Where to; - is standard output.  [default: - unless that is a terminal]",
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option("--title", metavar="TEXT", help="Heading.  [default: the hosts and the range]")
@click.option("--author", metavar="TEXT", help="Who made it.")
@click.option("--note", "notes", multiple=True, metavar="TEXT", help="What to tell the reader.")
@click.option(
    "--mark",
    "marks",
    type=ExecId(),
    multiple=True,
    metavar="ID",
    help="Show this exec as a span, and in a list on top.",
)
@click.option(
    "--hunt",
    "rules",
    multiple=True,
    metavar="RULE",
    shell_complete=files,
    help="Show what this Sigma rule hits: a file, or a folder of them.",
)
@verify_options
@password_option
@config_option
@db_option
@click.pass_context
def command(
    context: click.Context,
    /,
    output: Path | None,
    *,
    force: bool,
    is_asked: bool,
    keys: tuple[str, ...],
    **values: Any,  # noqa: ANN401  # the filters, and what the user says
) -> None:
    """Write an incident as one HTML file: a summary, a timeline, the tree, and each record.

    The file opens in any browser, from a mail too, and loads nothing from elsewhere. The filters
    are those of `query`. It has at most 20 000 execs; of more, it says which are left out.
    """
    target = None if str(output) == "-" else output
    if output is None and sys.stdout.isatty():
        raise click.UsageError("name a file with -o: a terminal shows no HTML")
    configured = [
        option.opts[-1]
        for option in context.command.params
        if context.get_parameter_source(option.name or "") is ParameterSource.DEFAULT_MAP
    ]
    from execaudit.cli.run import proof, report  # noqa: PLC0415  # `--help` needs only the options

    said = report.Said(
        **{name: values.pop(name) for name in report.Said._fields if name in values}, configured=configured
    )
    state = context.ensure_object(State)
    verifier = proof.Verifier(context, is_asked=is_asked, keys=keys)
    with state.history() as history:
        report.write(history, values, said, report.Target(target, force), verifier)
    context.exit(verifier.status)
