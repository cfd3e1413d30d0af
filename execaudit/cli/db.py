"""`execaudit db`: look after the database."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from execaudit.cli.context import State, config_option, db_option
from execaudit.cli.filter_options import Duration, Size
from execaudit.escaping import printable
from execaudit.times import utc_text

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from execaudit.cli.run.missing import Missed
    from execaudit.event import Nanoseconds
    from execaudit.store.limits import Limits
    from execaudit.store.prune_plan import Preview

_PAUSE_SECONDS = 0.03


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
    from execaudit.database.revision import REVISION  # noqa: PLC0415
    from execaudit.query.connection import revision_of  # noqa: PLC0415  # `--help` needs neither

    path = state.database_to_write()
    before = revision_of(path) if path.exists() else None
    if before == REVISION:
        _say(f"{path} has schema {REVISION} already")
        return

    from execaudit.cli.progress import Progress  # noqa: PLC0415  # as below
    from execaudit.store.writer import Store  # noqa: PLC0415  # imports SQLAlchemy

    with Progress() as progress:
        Store(path, progress=progress.say).close()
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
    from execaudit.cli.run.missing import say  # noqa: PLC0415  # `--help` needs none of it
    from execaudit.output.json_lines import json_text  # noqa: PLC0415

    facts, missed = _facts(state)
    say(missed)
    if fmt == "json":
        click.echo(json_text(facts))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        click.echo(f"{name.replace('_', ' '):<{width}}  {'-' if value is None else printable(str(value))}")


@command.command("backup")
@click.argument("target", type=click.Path(path_type=Path, readable=False), metavar="FILE")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@config_option
@db_option
@click.pass_obj
def backup_command(state: State, target: Path, *, force: bool) -> None:
    """Copy the history into one file, as it is at one moment; a recorder goes on meanwhile."""
    from execaudit.query import backup  # noqa: PLC0415  # `--help` needs no SQLite

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
@config_option
@db_option
@click.pass_obj
def prune_command(
    state: State,
    older_than: Nanoseconds | None,
    max_size: int | None,
    min_age: Nanoseconds | None,
    *,
    dry_run: bool,
) -> None:
    """Delete the oldest execs, and give the room back; also while recording.

    What stays: the ancestors of what stays, and programs of the running boot that have not ended; their
    command lines are shortened.
    """
    from execaudit.daemon.settings import upkeep  # noqa: PLC0415
    from execaudit.database import files  # noqa: PLC0415
    from execaudit.store import prune, prune_plan  # noqa: PLC0415  # `--help` needs none
    from execaudit.store.limits import Limits  # noqa: PLC0415
    from execaudit.system import clock  # noqa: PLC0415  # `--help` needs none

    if older_than is None and max_size is None:
        raise click.UsageError("say how much is to stay: --older-than, --max-size, or both")
    path = state.database_to_write()
    floor = upkeep(state.settings()).min_age_ns if min_age is None else min_age
    wanted = Limits(older_than, max_size, floor)
    now = prune_plan.Now(clock.boot_id(), clock.wall_ns(), clock.boot_ns())
    with _writable(state, path) as connection:
        before = files.size_of(path)
        plan = prune_plan.plan(connection, wanted, now)
        if plan is None:
            within = f"{path} is within these limits: nothing is deleted"
            _say(_too_large(connection, path, wanted) or within)
            return
        if dry_run:
            _say(_would_delete(prune_plan.preview(connection, plan, wanted, now), before))
            return
        deleted = 0
        while plan is not None:
            done = 0
            begun = time.monotonic()
            for done in prune.prune(connection, plan, now):
                _progress(deleted + done)
                # A recorder takes its turn: it looks for one each 25 ms (SQLite's busy handler).
                time.sleep(max(_PAUSE_SECONDS, time.monotonic() - begun))
                begun = time.monotonic()
            deleted += done
            # By size it is a guess how many are enough.
            plan = prune_plan.plan(connection, wanted, now)
        _progress(None)
        _say(f"{path}: {deleted} execs deleted, {before} bytes before, {files.size_of(path)} now")
        if still := _too_large(connection, path, wanted):
            _say(still)


def _too_large(connection: sqlite3.Connection, path: Path, wanted: Limits) -> str | None:
    """Returns why a history is larger than it was asked to be; None: it is not."""
    from execaudit.store.limits import time_text  # noqa: PLC0415  # see prune_command
    from execaudit.store.prune_plan import used_bytes  # noqa: PLC0415

    if wanted.max_bytes is None or (used := used_bytes(connection)) <= wanted.max_bytes:
        return None
    return (
        f"{path} still has {used} bytes, more than --max-size: what is younger than --min-age"
        f" ({time_text(wanted.min_age_ns)}) stays, and what runs, and the ancestors of both: lower --min-age"
    )


def _would_delete(preview: Preview, size: int) -> str:
    first, last = ("?" if at is None else utc_text(at) for at in (preview.first_ns, preview.last_ns))
    return (
        f"{preview.execs} execs at most, from {first} to {last}, would be deleted:"
        f" about {int(size * preview.share)} of {size} bytes"
    )


def _progress(execs: int | None) -> None:
    """Shows how far it is, on a terminal; None: it is over."""
    if sys.stderr.isatty():
        click.echo("\r\x1b[K" if execs is None else f"\rdeleted {execs} execs", nl=False, err=True)


@contextlib.contextmanager
def _writable(state: State, path: Path) -> Iterator[sqlite3.Connection]:
    """Opens a history of this schema for writing, beside a recorder if there is one."""
    from execaudit.database import files  # noqa: PLC0415  # see prune_command

    with state.history():
        pass  # says what is wrong with it, if anything is
    with files.opened_beside_recorder(path) as connection:
        yield connection


def _say(message: str) -> None:
    click.echo(printable(message), err=True)


def _facts(state: State) -> tuple[dict[str, object], list[Missed]]:
    """Returns what the database holds, and since when nobody records if nobody does."""
    from execaudit.daemon.settings import upkeep  # noqa: PLC0415
    from execaudit.database import files  # noqa: PLC0415
    from execaudit.database.revision import schema_revision  # noqa: PLC0415
    from execaudit.query import find, recorders  # noqa: PLC0415
    from execaudit.store import limits  # noqa: PLC0415
    from execaudit.system import clock  # noqa: PLC0415

    path = state.database()
    kept = limits.effective(path, upkeep(state.settings()).limits)
    with state.history() as connection:
        summary, gone = find.summary(connection), find.pruned(connection)
        silent = recorders.silences(
            connection, (), find.gaps(connection, find.Filter()), now_ns=clock.wall_ns()
        )
        facts: dict[str, object] = {
            "path": str(path),
            "schema": schema_revision(connection),
            "bytes": files.size_of(path),
            "execs": summary.execs,
            "first": None if summary.first_ns is None else utc_text(summary.first_ns),
            "last": None if summary.last_ns is None else utc_text(summary.last_ns),
            "exits": summary.exits,
            "stray_exits": summary.stray_exits,
            "gaps": summary.gaps,
            "missed": summary.missed,
            "missed_exits": summary.missed_exits,
            "recorder_runs": summary.runs,
            "max_size": kept.max_bytes,
            "max_age": None if kept.max_age_ns is None else limits.time_text(kept.max_age_ns),
            "min_age": limits.time_text(kept.min_age_ns),
            "pruned": 0 if gone is None else gone.execs,
            "pruned_until": None if gone is None else utc_text(gone.until_ns),
        }
    return facts, [silence for silence in silent if silence.to_ns is None]
