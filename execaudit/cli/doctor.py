"""`execaudit doctor`: can this machine record?"""

from __future__ import annotations

import click

from execaudit.cli.common_options import text_or_json
from execaudit.cli.context import State, config_option, db_option


@click.command("doctor")
@text_or_json
@config_option
@db_option
@click.pass_context
def command(ctx: click.Context, fmt: str) -> None:
    """Say whether this machine can record, check by check, with what mends each failure.

    Then what each probe would see here. Exits with 1 when a check failed.
    """
    from execaudit.cli.run import doctor  # noqa: PLC0415  # `--help` needs only the options

    state: State = ctx.find_object(State)  # type: ignore[assignment]  # the group makes it
    if not doctor.examine(state.database(), state.settings(), as_json=fmt == "json"):
        ctx.exit(1)
