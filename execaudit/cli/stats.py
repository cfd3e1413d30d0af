"""`execaudit stats`: count execs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from execaudit.cli.common_options import text_or_json, verify_options
from execaudit.cli.context import State, config_option, db_option, password_option
from execaudit.cli.filter_options import filter_options
from execaudit.cli.param_types import Time
from execaudit.cli.view_options import view_options

if TYPE_CHECKING:
    from execaudit.event import Nanoseconds


@click.command("stats")
@filter_options
@click.option(
    "--top",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    metavar="N",
    help="How many of each.",
)
@click.option(
    "--new-since",
    type=Time(),
    metavar="TIME",
    help="Also list the programs that never ran before that time.",
)
@click.option("--by", type=click.Choice(["host"]), help="Also count the execs of each of these.")
@text_or_json
@view_options
@verify_options
@password_option
@config_option
@db_option
@click.pass_context
def command(  # noqa: PLR0913  # each is an option
    context: click.Context,
    /,
    *,
    top: int,
    new_since: Nanoseconds | None,
    by: str | None,
    fmt: str,
    is_asked: bool,
    keys: tuple[str, ...],
    **values: Any,  # noqa: ANN401  # the filters
) -> None:
    """Count execs: who runs what most, from where, and when; and what failed, or took long.

    The filters are those of `query`; with --limit the newest so many are counted.
    """
    from execaudit.cli.run import proof, stats  # noqa: PLC0415  # `--help` needs only the options

    wanted = stats.Wanted(top, new_since, by is not None)
    state = context.ensure_object(State)
    verifier = proof.Verifier(context, is_asked=is_asked, keys=keys)
    with state.history() as history:
        found = stats.count(history, values, wanted, verifier)
    stats.write(found, state, as_json=fmt == "json")
    context.exit(verifier.status)
