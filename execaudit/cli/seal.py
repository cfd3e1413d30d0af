"""`execaudit seal`: have the history prove that nobody changed it."""

from __future__ import annotations

from pathlib import Path

import click

from execaudit.cli.common_options import text_or_json
from execaudit.cli.context import State, config_option, db_option, files


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


@command.command()
@click.option("--follow", is_flag=True, help="Go on: one now and then, and one when the recorder stops.")
@click.option(
    "--into",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    shell_complete=files,
    help="With --follow: leave the time stamps there for the recorder.",
)
@config_option
@db_option
@click.pass_context
def timestamp(ctx: click.Context, into: Path | None, *, follow: bool) -> None:
    """Have an authority stamp the head (RFC 3161): what is sealed now existed then, at the latest.

    `timestamp` and `timestamp_authority` in [seal] of the configuration say whom to ask and whom to trust.
    The stamp is stored in the history, and `verify` checks it.
    """
    state: State = ctx.find_object(State)  # type: ignore[assignment]  # the group makes it
    if follow != (into is not None):
        raise click.UsageError("--follow and --into FILE go together")
    from execaudit.cli.run import timestamp as run  # noqa: PLC0415  # `--help` needs only the options
    from execaudit.daemon.settings import seal_settings  # noqa: PLC0415  # as above

    settings = seal_settings(state.settings())
    if into is None:
        run.once(state.database_to_write(), settings)
    else:
        run.follow(state.database(), settings, into)
