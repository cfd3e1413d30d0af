"""Bring a database to the newest schema; where it can be, in a child, whose memory is free afterwards."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from sqlite3 import DatabaseError
from typing import TYPE_CHECKING

from execaudit import errors
from execaudit.database import files
from execaudit.database.revision import REVISION, schema_revision
from execaudit.errors import StoreError
from execaudit.store import engine
from execaudit.system import child, shipped

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa

    from execaudit.store.engine import Identity

    Progress = Callable[[str, int, int], object]


def silent(_stage: str, _done: int, _whole: int) -> None:
    """Takes progress, and says nothing."""


def is_needed(path: Path) -> bool:
    """Says whether a database has another schema than the newest.

    It is closed again, because a fork must not have it open.
    """
    with (
        contextlib.suppress(DatabaseError),
        contextlib.closing(files.open_to_write(path, busy_seconds=engine.BUSY_SECONDS)) as history,
    ):
        return schema_revision(history) != REVISION
    return False  # whoever opens it next says what is wrong with it


def in_child(path: Path, identity: Identity, *, durable: bool, progress: Progress) -> None:
    """Migrates in a child, with which the memory that Alembic takes is gone. Raises StoreError."""
    said = os.memfd_create("execaudit-migration")
    try:
        output = Path(f"/proc/self/fd/{said}")
        left = child.from_child(
            lambda: (_migrated(path, identity, durable=durable, progress=progress), ()), output
        )
    except child.ChildDiedError as exc:
        if not (text := output.read_text()):
            raise StoreError(
                f"cannot open {path}: the process that migrates it {exc}",
                fix="start again, it goes on where it was",
            ) from exc
        raise RuntimeError(f"the process that migrates {exc}: {text}") from exc
    finally:
        os.close(said)
    if left.facts["error"] is not None:
        raise errors.from_json(left.facts["error"])


def _migrated(path: Path, identity: Identity, *, durable: bool, progress: Progress) -> dict[str, object]:
    """In the child: migrates. Returns what the parent is to raise."""
    try:
        with files.translated(f"cannot open {path}", is_ours=False), contextlib.ExitStack() as opened:
            connection = engine.connect(path, durable=durable)
            opened.callback(engine.disconnect, connection, path, identity)
            to_newest(connection, progress)
    except StoreError as exc:
        return {"error": errors.to_json(exc)}
    return {"error": None}


def to_newest(connection: sa.Connection, progress: Progress) -> None:
    """Migrates if that is needed. Raises StoreError when the database was made by a newer execaudit."""
    # Alembic takes 12 MB and a third of a second, so it is not asked whether there is anything to do.
    if schema_revision(engine.driver_of(connection)) != REVISION:
        with connection.begin():
            upgrade(connection, progress)


_LAST_LOCAL = "0012"
"""The newest migration that only a local history needs. A central database begins after it."""


def upgrade_central(connection: sa.Connection) -> str | None:
    """Brings a central database to the newest schema, in a transaction of the caller.

    Returns its revision before; None: it had none. Raises StoreError as upgrade().
    """
    from alembic.migration import MigrationContext  # noqa: PLC0415  # see to_newest

    before = MigrationContext.configure(connection).get_current_revision()
    if before != REVISION:
        upgrade(connection, first=_LAST_LOCAL if before is None else None)
    return before


def upgrade(connection: sa.Connection, progress: Progress = silent, *, first: str | None = None) -> None:
    """Runs the migrations in a transaction of the caller. 0004 commits midway: see there.

    `progress` is told what is done, how much of it, and of how much. `first`: the migrations up to this one
    are left out. Raises StoreError when the database was made by a newer execaudit.
    """
    from alembic import command, util  # noqa: PLC0415  # see to_newest
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(shipped.folder("migrations")))
    config.attributes["connection"] = connection
    config.attributes["progress"] = progress
    try:
        if first is not None:
            command.stamp(config, first)
        command.upgrade(config, "head")
    except util.CommandError as exc:
        raise StoreError(
            f"cannot migrate the database: {exc}", fix="install the newer execaudit that made it"
        ) from exc
