"""`execaudit db`: look after the database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from execaudit.cli.common_options import text_or_json
from execaudit.cli.context import State, config_option, db_option, password_option
from execaudit.cli.param_types import Duration, Size
from execaudit.database.url import Central
from execaudit.escaping import printable

if TYPE_CHECKING:
    from execaudit.event import Nanoseconds


@click.group("db")
@config_option
@db_option
def command() -> None:
    """Look after the database."""


@command.command()
@click.option(
    "--cluster",
    metavar="NAME",
    help="Of ClickHouse: make the tables on all servers of this cluster.",
)
@click.option(
    "--keep",
    "keep_ns",
    type=Duration(),
    metavar="TIME",
    help="Of ClickHouse: its servers delete what is older by themselves: 90d. Old ones cannot.",
)
@password_option
@config_option
@db_option
@click.pass_obj
def upgrade(state: State, cluster: str | None, keep_ns: Nanoseconds | None) -> None:
    """Bring the schema to this version's, or make the database.

    In a central database it makes the partitions of the next days, too.
    """
    from execaudit.cli.run import central_db, db_upgrade  # noqa: PLC0415  # `--help` needs only the options

    location = state.location()
    if isinstance(location, Central):
        _say(central_db.upgrade(location, state.password_file, cluster, keep_ns))
        return
    if cluster is not None or keep_ns is not None:
        raise click.UsageError("--cluster and --keep are of a central database in ClickHouse")
    _say(db_upgrade.upgrade(state.database_to_write()))


@command.command()
@text_or_json
@password_option
@config_option
@db_option
@click.pass_obj
def info(state: State, fmt: str) -> None:
    """What the database holds: its size, times, ends, gaps and recorder runs."""
    from execaudit.cli.run import central_db, db_info  # noqa: PLC0415  # `--help` needs only the options

    location = state.location()
    if isinstance(location, Central):
        central_db.info(location, state.password_file, as_json=fmt == "json")
        return
    db_info.write(state, as_json=fmt == "json")


@command.command("backup")
@click.argument("target", type=click.Path(path_type=Path, readable=False), metavar="FILE")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@config_option
@db_option
@click.pass_obj
def backup_command(state: State, target: Path, *, force: bool) -> None:
    """Copy the history into one file, as it is at one moment; a recorder goes on meanwhile."""
    from execaudit.query import backup  # noqa: PLC0415  # `--help` needs only the options

    path = state.database()
    backup.backup(path, target, force=force)
    _say(f"{path} is copied to {target}, which has {target.stat().st_size} bytes")


@command.command("prune")
@click.option("--older-than", type=Duration(), metavar="TIME", help="Delete execs older than this: 30d, 12h.")
@click.option("--max-size", type=Size(), metavar="SIZE", help="Delete the oldest, until it is smaller: 5GB.")
@click.option(
    "--min-age",
    type=Duration(),
    metavar="TIME",
    help="For the size, delete nothing that is younger.  [default: as configured, 1h]",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@password_option
@config_option
@db_option
@click.pass_obj
def prune_command(  # each is an option
    state: State,
    /,
    older_than: Nanoseconds | None,
    max_size: int | None,
    min_age: Nanoseconds | None,
    *,
    dry_run: bool,
) -> None:
    """Delete the oldest execs, and give the room back; also while recording.

    What stays: the ancestors of what stays, and programs of the running boot that have not ended; their
    command lines are shortened. From a central database whole days are dropped.
    """
    if older_than is None and max_size is None:
        raise click.UsageError("say how much is to stay: --older-than, --max-size, or both")
    from execaudit.cli.run import central_db, prune  # noqa: PLC0415  # `--help` needs only the options

    location = state.location()
    if isinstance(location, Central):
        if older_than is None or max_size is not None or min_age is not None:
            raise click.UsageError("a central database is pruned with --older-than alone")
        _say(central_db.prune(location, state.password_file, older_than, dry_run=dry_run))
        return
    prune.run(state, older_than, max_size, min_age, dry_run=dry_run)


def _say(message: str) -> None:
    click.echo(printable(message), err=True)
