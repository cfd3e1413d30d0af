"""`execaudit seal`: have the history prove that nobody changed it."""

from __future__ import annotations

import click

from execaudit.cli.common_options import text_or_json
from execaudit.cli.context import State, config_option, db_option


@click.group("seal")
@config_option
@db_option
def command() -> None:
    """Have the history prove that nobody changed it."""


@command.command()
@click.option("--new-key", is_flag=True, help="Replace a sealing key that is there, or was lost.")
@click.option("--no-qr", is_flag=True, help="On a terminal, show the key only as text.")
@config_option
@db_option
@click.pass_obj
def setup(state: State, *, new_key: bool, no_qr: bool) -> None:
    """Make the sealing key, and print the verification key: once, so keep it on another machine.

    The sealing key stays beside the database, and changes with each seal. A recorder that runs uses it at
    once. On a terminal, the verification key is shown as a QR code too.
    """
    from execaudit.cli.run import seal_setup  # noqa: PLC0415  # `--help` needs only the options

    seal_setup.run(state, is_new=new_key, has_qr=not no_qr)


@command.command()
@text_or_json
@config_option
@db_option
@click.pass_context
def status(ctx: click.Context, fmt: str) -> None:
    """Say what is sealed, and the head: note that elsewhere, and `verify --head` asks for it later.

    Exits with 1 when nothing is sealed.
    """
    from execaudit.cli.run import seal_status  # noqa: PLC0415  # `--help` needs only the options

    state: State = ctx.find_object(State)  # type: ignore[assignment]  # the group makes it
    if not seal_status.write(state, as_json=fmt == "json"):
        ctx.exit(1)
