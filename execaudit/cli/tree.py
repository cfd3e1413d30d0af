"""`execaudit tree`: draw process trees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from execaudit.cli.common_options import text_or_jsonl
from execaudit.cli.context import State, config_option, db_option, password_option
from execaudit.cli.filter_options import filter_options
from execaudit.cli.param_types import ExecId
from execaudit.cli.view_options import view_options

if TYPE_CHECKING:
    from collections.abc import Mapping

# --id and --pid draw whole families, in which a filter would leave holes; --under filters below an exec. A
# pid is reused, so --pid goes with a time and a host.
_BESIDE_ID = frozenset({"limit", "reverse", "fmt"})
_BESIDE_PID = _BESIDE_ID | {"since", "until", "around", "within", "hosts"}


@click.command("tree")
@filter_options
@click.option(
    "--id",
    "ids",
    type=ExecId(),
    multiple=True,
    metavar="ID",
    help="This exec, what led to it, and all that came of it.",
)
@text_or_jsonl
@view_options
@password_option
@config_option
@db_option
@click.pass_obj
@click.pass_context
def command(context: click.Context, state: State, /, fmt: str, **values: Any) -> None:  # noqa: ANN401  # the filters
    """Draw execs as trees: below each what it started, and what that started.

    Filters choose execs as in `query`, and what led to them is drawn as well. --id draws one
    exec's family instead, with all that came of it, and --pid those of all execs that the
    process had; a pid is used again, so it goes with --since, --until and --host. --limit
    takes the newest.
    """
    _refuse_mixtures(context, values)
    from execaudit.cli.run import tree  # noqa: PLC0415  # `--help` needs only the options

    with state.history() as history:
        tree.draw_asked(history, values, state.look, as_json=fmt == "jsonl")


def _refuse_mixtures(context: click.Context, values: Mapping[str, Any]) -> None:
    """Raises UsageError where options were typed that exclude each other; settings only yield."""
    typed = {name for name in values if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    names = {option.name: option.opts[-1] for option in context.command.params}
    for name, beside in (("ids", _BESIDE_ID), ("pids", _BESIDE_PID)):
        others = sorted(typed - beside - {name})
        if name in typed and others:
            raise click.UsageError(
                f"{names[name]} and {names[others[0]]} exclude each other: to filter below an exec, use --under"
            )
