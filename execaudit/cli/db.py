"""`execaudit db`: look after the database."""

from __future__ import annotations

import click

from execaudit.cli.state import State, config_option, db_option
from execaudit.text import printable


@click.group("db")
@config_option
@db_option
def command() -> None:
    """Look after the database."""


@command.command()
@config_option
@db_option
@click.pass_obj
def upgrade(state: State) -> None:
    """Bring the schema to this version's, or make the database."""
    from execaudit.reader import revision_of  # noqa: PLC0415  # `--help` needs neither
    from execaudit.revision import REVISION  # noqa: PLC0415

    path = state.database_to_write()
    before = revision_of(path) if path.exists() else None
    if before == REVISION:
        _say(f"{path} has schema {REVISION} already")
        return

    from execaudit.store import Store  # noqa: PLC0415  # imports SQLAlchemy

    Store(path).close()
    _say(f"{path} has schema {REVISION} now (before: {before or 'none'})")


@command.command()
@click.option(
    "--format",
    "fmt",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="For people or for scripts.",
)
@config_option
@db_option
@click.pass_obj
def info(state: State, fmt: str) -> None:
    """What the database holds: its size, times, ends, gaps and recorder runs."""
    from execaudit.render import json_text  # noqa: PLC0415  # `--help` needs none of it

    facts = _facts(state)
    if fmt == "json":
        click.echo(json_text(facts))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        click.echo(f"{name.replace('_', ' '):<{width}}  {'-' if value is None else printable(str(value))}")


def _say(message: str) -> None:
    click.echo(printable(message), err=True)


def _facts(state: State) -> dict[str, object]:
    from execaudit import query  # noqa: PLC0415
    from execaudit.reader import schema_revision  # noqa: PLC0415
    from execaudit.times import utc_text  # noqa: PLC0415

    path = state.database()
    with state.history() as connection:
        summary = query.summary(connection)
        return {
            "path": str(path),
            "schema": schema_revision(connection),
            "bytes": sum(
                file.stat().st_size for file in (path, path.with_name(f"{path.name}-wal")) if file.exists()
            ),
            "execs": summary.execs,
            "first": None if summary.first_ns is None else utc_text(summary.first_ns),
            "last": None if summary.last_ns is None else utc_text(summary.last_ns),
            "exits": summary.exits,
            "stray_exits": summary.stray_exits,
            "gaps": summary.gaps,
            "missed": summary.missed,
            "missed_exits": summary.missed_exits,
            "recorder_runs": summary.runs,
        }
