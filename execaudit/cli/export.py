"""`execaudit export`: the same filters, into a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from execaudit.cli.common_options import verify_options
from execaudit.cli.context import State, config_option, db_option, password_option
from execaudit.cli.filter_options import filter_options
from execaudit.cli.param_types import FieldNames
from execaudit.output.format import EXPORTED, Format, format_of

_NOT_OF_BUNDLES = {
    "fmt": "--format",
    "output": "--output",
    "columns": "--columns",
    "raw": "--raw",
    "bom": "--bom",
    "reverse": "--reverse",
    "is_asked": "--verify",
    "keys": "--key",
}
# The others have fields of their own.
_OF_RECORD = (Format.CSV, Format.JSONL, Format.PARQUET)


@click.command("export")
@filter_options
@click.option(
    "--format",
    "fmt",
    type=click.Choice([fmt.value for fmt in EXPORTED]),
    help="How to write them.  [default: as FILE ends, else csv]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="Where to; - is standard output.  [default: -]",
)
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="Write JSON lines into a zip file, with what proves them to whoever has the key: see `verify FILE`.",
)
@click.option(
    "--sparse",
    is_flag=True,
    help="With --bundle: only the seals of what is in it. It is smaller, and only the key proves it.",
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option(
    "--columns",
    type=FieldNames(),
    metavar="NAMES",
    help="Only these fields of the record, in this order: time,user,exe.",
)
@click.option("--raw", is_flag=True, help="CSV: exact values, though a spreadsheet may run them.")
@click.option("--bom", is_flag=True, help="CSV: begin with a byte order mark, for old spreadsheets.")
@verify_options
@password_option
@config_option
@db_option
@click.pass_context
def command(  # noqa: PLR0913  # each is an option
    context: click.Context,
    /,
    fmt: str | None,
    output: Path | None,
    bundle: Path | None,
    columns: tuple[str, ...] | None,
    *,
    sparse: bool,
    force: bool,
    raw: bool,
    bom: bool,
    is_asked: bool,
    keys: tuple[str, ...],
    **values: Any,  # noqa: ANN401  # the filters
) -> None:
    """Write execs to a file for an incident review, or for other programs.

    csv is for spreadsheets, jsonl for scripts, parquet (with pyarrow) for DuckDB and pandas, ecs
    for Elasticsearch, ocsf for security lakes, and trace for a timeline in https://ui.perfetto.dev.

    The file appears under its name when it is complete. Without --raw, CSV cells that a
    spreadsheet would run as a formula get an apostrophe before them.
    """
    state = context.ensure_object(State)
    if bundle is not None:
        _refuse_beside_bundle(context)
        from execaudit.cli.run import bundle as bundling  # noqa: PLC0415  # as below

        with state.local() as local:
            bundling.write(local, values, bundle, is_sparse=sparse, force=force)
        return
    if sparse and context.get_parameter_source("sparse") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--sparse is for --bundle")
    target = None if str(output) == "-" else output
    chosen = Format(fmt) if fmt else (target and format_of(target.name)) or Format.CSV
    if columns and chosen not in _OF_RECORD:
        raise click.UsageError(
            f"--columns is for csv, jsonl and parquet: {chosen.value} has fields of its own"
        )
    if bom and chosen is not Format.CSV:
        raise click.UsageError("--bom is for csv")
    from execaudit.cli.run import export, proof  # noqa: PLC0415  # `--help` needs only the options

    to = export.Target(chosen, target, columns, raw, bom, force)
    verifier = proof.Verifier(context, is_asked=is_asked, keys=keys)
    with state.history() as history:
        export.write(history, values, to, verifier)
    context.exit(verifier.status)


def _refuse_beside_bundle(context: click.Context) -> None:
    """Raises UsageError for an option that says how another format is written, or in which order."""
    for name, option in _NOT_OF_BUNDLES.items():
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--bundle has a form of its own: leave {option} out")
