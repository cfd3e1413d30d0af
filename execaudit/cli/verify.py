"""`execaudit verify`: is the history as it was recorded?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from execaudit.cli.common_options import text_or_json
from execaudit.cli.completion import of_history
from execaudit.cli.context import State, config_option, db_option, files, password_option
from execaudit.cli.param_types import Time

if TYPE_CHECKING:
    from execaudit.event import Nanoseconds


_OF_HISTORIES = {
    "against": "--against",
    "since_ns": "--since",
    "hosts": "--host",
    "remembered": "--state",
    "tsa": "--tsa",
}


@click.command("verify")
@click.argument("bundle", required=False, type=click.Path(path_type=Path, readable=False), metavar="[FILE]")
@click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="KEY|@FILE",
    help="The verification key that `seal setup` printed, in a file; @- reads standard input. Repeatable: a history"
    " that was given a new key has several.",
)
@click.option(
    "--head",
    "heads",
    multiple=True,
    metavar="HEAD",
    help="A head that was noted earlier: it must be in the history. Repeatable.",
)
@click.option(
    "--against",
    metavar="URL",
    help="A central database: the heads that were forwarded there must be in the history.",
)
@click.option(
    "--since",
    "since_ns",
    type=Time(),
    metavar="TIME",
    help="Only what was sealed from then on.",
)
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="GLOB",
    shell_complete=of_history("host"),
    help="Of a central database: the hosts whose histories are verified there, as they arrived. All without it.",
)
@click.option(
    "--state",
    "remembered",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Remember in this file up to where it was verified, and go on from there the next time.",
)
@click.option(
    "--tsa",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    shell_complete=files,
    help="The certificates of who certifies the time stamp authority, as PEM.  [default: timestamp_authority in [seal]]",
)
@text_or_json
@password_option
@config_option
@db_option
@click.pass_context
def command(  # noqa: PLR0913  # each is an option
    ctx: click.Context,
    /,
    *,
    bundle: Path | None,
    keys: tuple[str, ...],
    heads: tuple[str, ...],
    against: str | None,
    since_ns: Nanoseconds | None,
    hosts: tuple[str, ...],
    remembered: Path | None,
    tsa: Path | None,
    fmt: str,
) -> None:
    """Prove that nothing stored was changed, removed, added or reordered since it was sealed.

    Without a key this only says that the history is unbroken: root could have written all of it anew. Exits
    with 4 if something is not as it was sealed. Of a central database (--db URL), what hosts forwarded is
    verified as it is there.

    FILE is a bundle that `export --bundle` wrote: its records are verified, without the history.
    """
    if bundle is not None:
        _refuse_beside_bundle(ctx)
        from execaudit.cli.run import verify_bundle  # noqa: PLC0415  # `--help` needs only the options

        if not verify_bundle.run(bundle, keys, heads, as_json=fmt == "json"):
            ctx.exit(4)
        return
    if since_ns is not None and remembered is not None:
        raise click.UsageError("--since and --state cannot be given together")
    from execaudit.cli.run import verify  # noqa: PLC0415  # `--help` needs only the options

    state: State = ctx.find_object(State)  # type: ignore[assignment]  # the group makes it
    given = verify.Given(keys, heads, since_ns, remembered, against, tsa)
    if state.is_central():
        typed = ParameterSource.COMMANDLINE
        if any(ctx.get_parameter_source(name) is typed for name in ("remembered", "against", "tsa")):
            raise click.UsageError("--state, --against and --tsa are of a history in a file")
        from execaudit.cli.run import verify_central  # noqa: PLC0415  # as above

        if not verify_central.run(state, given, hosts, as_json=fmt == "json"):
            ctx.exit(4)
        return
    if hosts:
        raise click.UsageError("--host is of a central database: give its URL with --db")
    if not verify.run(state, given, as_json=fmt == "json"):
        ctx.exit(4)


def _refuse_beside_bundle(ctx: click.Context) -> None:
    """Raises UsageError for an option that says what to verify of a history, or with what."""
    for name, option in _OF_HISTORIES.items():
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{option} is for a history, and a bundle is none: leave it out")
