"""`execaudit show`: one exec with every field, and its relatives."""

from __future__ import annotations

import click

from execaudit.cli.common_options import text_or_json
from execaudit.cli.context import State, config_option, db_option, password_option
from execaudit.cli.param_types import ExecId
from execaudit.cli.view_options import view_options

_CHILDREN = 50


@click.command("show")
@click.argument("named", type=ExecId(), metavar="ID")
@text_or_json
@click.option("--all", "everything", is_flag=True, help=f"All children, not only the first {_CHILDREN}.")
@view_options
@password_option
@config_option
@db_option
@click.pass_obj
def command(state: State, named: str, fmt: str, *, everything: bool) -> None:
    """Show one exec: every field, how it ended, what led to it, and what came of it.

    ID is what `query --format jsonl` calls id, parent_id and replaced_by. The beginning of an
    id will do, and pid:N, if that pid ran one program; else they are listed.
    """
    from execaudit.cli.run import show  # noqa: PLC0415  # `--help` needs only the options

    with state.history() as history:
        most = None if everything else _CHILDREN
        show.show(history, named, state.look, most=most, as_json=fmt == "json")
