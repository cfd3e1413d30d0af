"""`execaudit import`: take what others recorded."""

from __future__ import annotations

from pathlib import Path

import click

from execaudit.cli.context import State, config_option, db_option, files

_FORMATS = ("audit", "jsonl", "ecs", "tetragon")


@click.command("import")
@click.argument("logs", nargs=-1, required=True, metavar="FILE...", shell_complete=files)
@click.option(
    "--format",
    "fmt",
    type=click.Choice(_FORMATS),
    help="What the files are.  [default: as their content shows]",
)
@click.option(
    "--host", metavar="NAME", help="Whose logs these are, where they do not say.  [default: this machine]"
)
@click.option(
    "--rejects",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="Where to keep what cannot be taken, a line of JSON for each; a new file.",
)
@config_option
@db_option
@click.pass_obj
def command(
    state: State, /, logs: tuple[str, ...], fmt: str | None, host: str | None, rejects: Path | None
) -> None:
    """Take logs of others into the database, so that the same commands answer.

    FILE is a log of the Linux audit daemon, our own JSON log, documents of ECS (as export writes
    them, or Auditbeat), or Tetragon's JSON; compressed with gzip or not. - is standard input.
    Several files are taken in the order of their times. What is in the database already is left
    out, so a log may be imported again when it has grown. The database must not be recorded into
    meanwhile; it is made if it is not there.
    """
    from execaudit.cli.run import import_  # noqa: PLC0415  # `--help` needs only the options

    import_.run(state.database_to_write(), import_.Wanted(logs, fmt, host, rejects))
