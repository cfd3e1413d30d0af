"""What `execaudit db prune` does and says."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import click

from execaudit.cli.run.progress import Progress
from execaudit.daemon.settings import upkeep
from execaudit.database import files
from execaudit.escaping import printable
from execaudit.output.summary_line import local_text
from execaudit.store import prune, prune_plan
from execaudit.store.limits import Limits, time_text
from execaudit.store.sealing import Sealer
from execaudit.system import clock, procfs

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    from execaudit.cli.context import State
    from execaudit.event import Nanoseconds
    from execaudit.store.prune_plan import Now, Plan, Preview

_PAUSE_SECONDS = 0.03


def run(
    state: State,
    older_than: Nanoseconds | None,
    max_size: int | None,
    min_age: Nanoseconds | None,
    *,
    dry_run: bool,
) -> None:
    """Deletes what is older or more, or with `dry_run` says what would be deleted; says it on stderr.

    `min_age` None: as configured. Raises StoreError, ConfigError.
    """
    path = state.database() if dry_run else state.database_to_write()
    floor = upkeep(state.settings()).min_age_ns if min_age is None else min_age
    wanted = Limits(older_than, max_size, floor)
    now = prune_plan.Now(clock.boot_id(), clock.wall_ns(), clock.boot_ns(), procfs.start_lookup())
    # Whoever may read the history may ask what would be deleted.
    with _readable(state) if dry_run else _writable(state, path) as connection:
        before = files.size_of(path)
        plan = prune_plan.plan(connection, wanted, now)
        if plan is None:
            within = f"{path} is within these limits: nothing is deleted"
            _say(_too_large(connection, path, wanted) or within)
            return
        if dry_run:
            _say(_would_delete(prune_plan.preview(connection, plan, wanted, now), before))
            return
        deleted = _delete(connection, plan, wanted, now, Sealer(path))
        _say(f"{path}: {deleted} execs deleted, {before} bytes before, {files.size_of(path)} now")
        if still := _too_large(connection, path, wanted):
            _say(still)


def _delete(connection: sqlite3.Connection, first: Plan, wanted: Limits, now: Now, sealer: Sealer) -> int:
    """Deletes a little in each transaction, until the history is within its limits. Returns how much."""
    deleted = 0
    plan: Plan | None = first
    with Progress(lines=False) as progress:
        while plan is not None:
            done = 0
            begun = time.monotonic()
            for done in prune.prune(connection, plan, now, sealer, max_bytes=wanted.max_bytes):
                progress.say(f"deleted {deleted + done} execs")
                # A recorder that waits for the database looks each 25 ms (SQLite's busy handler): let it in.
                time.sleep(max(_PAUSE_SECONDS, time.monotonic() - begun))
                begun = time.monotonic()
            deleted += done
            # A plan by size estimates how many execs are enough: there may be more to delete.
            plan = prune_plan.plan(connection, wanted, now)
    return deleted


def _too_large(connection: sqlite3.Connection, path: Path, wanted: Limits) -> str | None:
    """Returns why a history is larger than it was asked to be; None: it is not."""
    if wanted.max_bytes is None or (used := prune_plan.used_bytes(connection)) <= wanted.max_bytes:
        return None
    return (
        f"{path} still has {used} bytes, more than --max-size: what is younger than --min-age"
        f" ({time_text(wanted.min_age_ns)}) stays, and what runs, and the ancestors of both: lower --min-age"
    )


def _would_delete(preview: Preview, size: int) -> str:
    first, last = ("?" if at is None else local_text(at) for at in (preview.first_ns, preview.last_ns))
    return (
        f"{preview.execs} execs at most, from {first} to {last}, would be deleted:"
        f" about {int(size * preview.share)} of {size} bytes"
    )


@contextlib.contextmanager
def _readable(state: State) -> Iterator[sqlite3.Connection]:
    with state.local() as history:
        yield history.connection


@contextlib.contextmanager
def _writable(state: State, path: Path) -> Iterator[sqlite3.Connection]:
    """Opens a history of this schema for writing, beside a recorder if there is one."""
    with state.local():
        pass  # raises what is wrong with the history
    with files.opened_beside_recorder(path) as connection:
        yield connection


def _say(message: str) -> None:
    click.echo(printable(message), err=True)
