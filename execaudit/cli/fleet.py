"""`execaudit fleet`: look after the hosts that ship to a central database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from execaudit.cli.common_options import text_or_json
from execaudit.cli.context import State, config_option, db_option, password_option
from execaudit.cli.param_types import Duration

if TYPE_CHECKING:
    from execaudit.event import Nanoseconds


@click.group("fleet")
@config_option
@db_option
def command() -> None:
    """Look after the hosts that ship to a central database."""


@command.command()
@click.option(
    "--silent-after",
    "silent_ns",
    type=Duration(),
    default="15min",
    show_default=True,
    help="A host that was not heard of for so long is silent.",
)
@click.option(
    "--behind",
    type=click.IntRange(min=0),
    default=100_000,
    show_default=True,
    help="A host with more execs that have not arrived is behind.",
)
@click.option(
    "--lately",
    "lately_ns",
    type=Duration(),
    default="24h",
    show_default=True,
    help="How far back missed execs, new histories and seals count.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="Also write a page in HTML.",
)
@click.option(
    "--metrics",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="Also write metrics for Prometheus's text file collector.",
)
@click.option("--force", is_flag=True, help="Replace a page that is there.")
@click.option("--all", "with_retired", is_flag=True, help="List hosts that are retired, too.")
@text_or_json
@password_option
@config_option
@db_option
@click.pass_obj
def status(  # noqa: PLR0913  # each is an option
    state: State,
    /,
    *,
    silent_ns: Nanoseconds,
    behind: int,
    lately_ns: Nanoseconds,
    output: Path | None,
    metrics: Path | None,
    fmt: str,
    force: bool,
    with_retired: bool,
) -> None:
    """Say how each host does: when it was heard of, what has not arrived, what it missed.

    Each kind of trouble is a line on stderr, and then the exit status is 1.
    """
    from execaudit.cli.run import fleet_status  # noqa: PLC0415  # `--help` needs only the options
    from execaudit.fleet.status import Limits  # noqa: PLC0415

    limits = Limits(silent_ns=silent_ns, behind=behind, lately_ns=lately_ns)
    files = fleet_status.Files(page=output, metrics=metrics, force=force)
    if fleet_status.write(state, limits, files, as_json=fmt == "json", with_retired=with_retired):
        click.get_current_context().exit(1)


@command.command()
@click.argument("host", metavar="HOST")
@password_option
@config_option
@db_option
@click.pass_obj
def forget(state: State, /, host: str) -> None:
    """Retire a host: it is no trouble any more, and no answer waits for it.

    HOST is its name as `fleet status` has it. All that it shipped stays. If it ships again, it is back.
    This writes, so it needs a user who may: the owner.
    """
    from execaudit.cli.run import fleet_forget  # noqa: PLC0415  # `--help` needs only the options

    fleet_forget.forget(state, host)
