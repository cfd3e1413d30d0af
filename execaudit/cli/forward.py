"""`execaudit forward`: ship the local history to a central database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from execaudit.cli.context import State, config_option, db_option, files
from execaudit.cli.param_types import Duration

if TYPE_CHECKING:
    from execaudit.event import Nanoseconds

_FILE = click.Path(path_type=Path, readable=False)
_MOST_ROWS = 100_000


@click.command("forward")
@click.option("--to", metavar="URL", help="The central database: postgresql://USER@HOST/DATABASE.")
@click.option("--once", is_flag=True, help="Ship what is there, then end.")
@click.option(
    "--password-file",
    type=_FILE,
    metavar="FILE",
    shell_complete=files,
    help="The password is the first line of this file.",
)
@click.option(
    "--batch",
    type=click.IntRange(1, _MOST_ROWS),
    default=5000,
    show_default=True,
    metavar="N",
    help="Ship at most so many execs at once.",
)
@click.option(
    "--every",
    "every_ns",
    type=Duration(),
    metavar="TIME",
    help="Ship so often, and whenever a batch is full.  [default: 1s; into ClickHouse 10s]",
)
@click.option(
    "--metrics",
    type=_FILE,
    metavar="FILE",
    shell_complete=files,
    help="Write metrics for node_exporter there.",
)
@click.option(
    "--state",
    "state_file",
    type=_FILE,
    metavar="FILE",
    shell_complete=files,
    help="Write there what has arrived, for [retention] wait_for_forward.",
)
@config_option
@db_option
@click.pass_obj
def command(  # noqa: PLR0913, PLR0917  # each is an option
    state: State,
    /,
    to: str | None,
    password_file: Path | None,
    batch: int,
    every_ns: Nanoseconds | None,
    metrics: Path | None,
    state_file: Path | None,
    *,
    once: bool,
) -> int:
    """Ship the local history to a central database, and go on as it grows.

    Each exec arrives there once, whatever is killed or lost: forward asks what has arrived. The password
    comes from --password-file, the systemd credential `password`, or of PostgreSQL from PGPASSFILE.
    """
    if to is None:
        raise click.UsageError("say where to: --to URL, or `to` in [forward] of the configuration")
    from execaudit.cli.run import forward  # noqa: PLC0415  # `--help` needs only the options

    return forward.forward(
        state.database(), to, forward.Wanted(once, password_file, batch, metrics, state_file, every_ns)
    )
