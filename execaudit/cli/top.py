"""`execaudit top`: a live, full-screen view."""

from __future__ import annotations

from typing import Any

import click

from execaudit.cli.context import State, config_option, db_option
from execaudit.cli.filter_options import filter_options


@click.command("top")
@filter_options
@config_option
@db_option
@click.pass_obj
def command(state: State, /, **values: Any) -> int:  # noqa: ANN401  # the filters
    """Watch execs as they happen, on the full screen.

    It shows how many there are, what runs most, and the newest ones. The keys are at the bottom:
    / filters while you type, in the language of --where, Enter shows all about an exec, t draws
    trees. --limit says how many the list has, and --reverse turns it round.
    """
    from execaudit.cli.run import top  # noqa: PLC0415  # `--help` needs only the options

    return top.watch(state.database(), values)
