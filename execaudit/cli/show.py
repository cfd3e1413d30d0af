"""`execaudit show`: one exec with every field, and its relatives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from execaudit.cli.common_options import text_or_json
from execaudit.cli.context import State, config_option, db_option
from execaudit.cli.param_types import ExecId

if TYPE_CHECKING:
    from execaudit.exec_id import ExecKey

_CHILDREN = 50


@click.command("show")
@click.argument("key", type=ExecId(), metavar="ID")
@text_or_json
@click.option("--all", "everything", is_flag=True, help=f"All children, not only the first {_CHILDREN}.")
@config_option
@db_option
@click.pass_obj
def command(state: State, key: ExecKey, fmt: str, *, everything: bool) -> None:
    """Show one exec: every field, how it ended, what led to it, and what came of it.

    ID is what `query --format jsonl` calls id, parent_id and replaced_by.
    """
    from execaudit.cli.run import show  # noqa: PLC0415  # `--help` needs only the options

    with state.history() as connection:
        show.show(connection, key, most=None if everything else _CHILDREN, as_json=fmt == "json")
