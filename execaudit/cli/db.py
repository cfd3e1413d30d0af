"""`execaudit db`: look after the database."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import time
from typing import TYPE_CHECKING

import click

from execaudit.cli.options import Duration, Size
from execaudit.cli.state import State, config_option, db_option
from execaudit.errors import StoreError
from execaudit.text import printable
from execaudit.times import utc_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from execaudit.event import Nanoseconds
    from execaudit.prune import Preview

_BUSY_SECONDS = 10
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
    from execaudit.reader import revision_of  # noqa: PLC0415  # `--help` needs neither
    from execaudit.revision import REVISION  # noqa: PLC0415

    path = state.database_to_write()
    before = revision_of(path) if path.exists() else None
    if before == REVISION:
        _say(f"{path} has schema {REVISION} already")
        return

    from execaudit.cli.progress import Progress  # noqa: PLC0415  # as below
    from execaudit.store import Store  # noqa: PLC0415  # imports SQLAlchemy

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
    from execaudit.render import json_text  # noqa: PLC0415  # `--help` needs none of it

    facts = _facts(state)
    if fmt == "json":
        click.echo(json_text(facts))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        click.echo(f"{name.replace('_', ' '):<{width}}  {'-' if value is None else printable(str(value))}")


@command.command("prune")
@click.option("--older-than", type=Duration(), metavar="TIME", help="Delete execs older than this: 30d, 12h.")
@click.option("--max-size", type=Size(), metavar="SIZE", help="Delete the oldest, until it is smaller: 5GB.")
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@config_option
@db_option
@click.pass_obj
def prune_command(
    state: State, older_than: Nanoseconds | None, max_size: int | None, *, dry_run: bool
) -> None:
    """Delete the oldest execs, and give the room back; also while recording.

    What stays: the ancestors of what stays, and programs of the running boot that have not ended.
    """
    from execaudit import clock, prune  # noqa: PLC0415  # `--help` needs neither

    if older_than is None and max_size is None:
        raise click.UsageError("say how much is to stay: --older-than, --max-size, or both")
    path = state.database_to_write()
    now_ns = clock.wall_ns()
    with _writable(state, path) as connection:
        before = prune.size_of(path)
        wanted = prune.plan(connection, path, prune.Limits(older_than, max_size), now_ns)
        if wanted is None:
            _say(f"{path} is within these limits: nothing is deleted")
            return
        if dry_run:
            _say(_would_delete(prune.preview(connection, wanted), before))
            return
        deleted = 0
        while wanted is not None:
            done = 0
            begun = time.monotonic()
            for done in prune.prune(connection, wanted, boot_id=clock.boot_id(), now_ns=now_ns):
                _progress(deleted + done)
                # A recorder takes its turn: it looks for one each 25 ms (SQLite's busy handler).
                time.sleep(max(_PAUSE_SECONDS, time.monotonic() - begun))
                begun = time.monotonic()
            deleted += done
            # By size it is a guess how many are enough.
            wanted = prune.plan(connection, path, prune.Limits(older_than, max_size), now_ns)
        _progress(None)
        _say(f"{path}: {deleted} execs deleted, {before} bytes before, {prune.size_of(path)} now")


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
    from execaudit.reader import translated  # noqa: PLC0415  # see prune_command

    with state.history():
        pass  # says what is wrong with it, if anything is
    if not os.access(path, os.W_OK):
        raise StoreError(f"you may not write {path}: run it as root, or as the user whose it is")
    with (
        translated(path),
        contextlib.closing(
            sqlite3.connect(path.absolute(), timeout=_BUSY_SECONDS, isolation_level=None)
        ) as connection,
    ):
        # As the recorder's: what a power cut undoes is done again. Else each commit waits for the disk, and a
        # recorder with it.
        connection.execute("PRAGMA synchronous = NORMAL")
        yield connection


def _say(message: str) -> None:
    click.echo(printable(message), err=True)


def _facts(state: State) -> dict[str, object]:
    from execaudit import query  # noqa: PLC0415
    from execaudit.reader import schema_revision  # noqa: PLC0415

    path = state.database()
    with state.history() as connection:
        summary, gone = query.summary(connection), query.pruned(connection)
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
            "pruned": 0 if gone is None else gone.execs,
            "pruned_until": None if gone is None else utc_text(gone.until_ns),
        }
