"""What `execaudit db` does with a central database."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from execaudit.central.password import password
from execaudit.database.revision import REVISION
from execaudit.database.url import Engine
from execaudit.errors import ConfigError
from execaudit.escaping import printable
from execaudit.output.json_lines import json_text
from execaudit.output.summary_line import local_text
from execaudit.sizes import size_text
from execaudit.system import clock
from execaudit.times import utc_text

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from execaudit.database.url import Central

_DAY_NS = 86_400_000_000_000


def upgrade(
    location: Central,
    password_file: Path | None,
    cluster: str | None = None,
    keep_ns: int | None = None,
) -> str:
    """Makes the tables, or brings them to this version's. Returns what it did.

    `cluster` and `keep_ns` are ClickHouse's: on which servers, and how long rows stay. Raises StoreError, and
    ConfigError for what the engine does not have.
    """
    secret = password(password_file, os.environ)
    if location.engine is Engine.CLICKHOUSE:
        from execaudit.central import clickhouse_admin  # noqa: PLC0415  # of its engine alone

        keep_days = None if keep_ns is None else max(-(-keep_ns // _DAY_NS), 1)
        return clickhouse_admin.upgrade(location, secret, cluster, keep_days)
    if cluster is not None or keep_ns is not None:
        raise ConfigError("--cluster and --keep are of ClickHouse", fix="leave them out, and use `db prune`")
    from execaudit.central import postgresql_admin  # noqa: PLC0415  # of its engine alone
    from execaudit.central.postgresql import connected  # noqa: PLC0415
    from execaudit.store import migrate  # noqa: PLC0415  # imports SQLAlchemy

    with connected(location, password=secret, reads=False) as opened:
        connection = opened.execution_options(isolation_level="READ COMMITTED")
        with connection.begin():
            # Of two who upgrade, the second waits.
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('execaudit_upgrade'))")
            before = migrate.upgrade_central(connection)
    postgresql_admin.add_days(location, secret)
    if before == REVISION:
        return f"{location} has schema {REVISION} already"
    return f"{location} has schema {REVISION} now (before: {before or 'none'})"


def prune(location: Central, password_file: Path | None, older_than_ns: int, *, dry_run: bool) -> str:
    """Drops whole days that are older. Returns what it did. Raises StoreError."""
    before_ns = clock.wall_ns() - older_than_ns
    gone = admin_of(location).prune(location, password(password_file, os.environ), before_ns, dry_run=dry_run)
    what = "would be deleted" if dry_run else "deleted"
    return f"{location}: {gone.execs} execs of {gone.days} days {what}, {size_text(gone.size)}"


def info(location: Central, password_file: Path | None, *, as_json: bool) -> None:
    """Writes what the database has to standard output. Raises StoreError."""
    found = admin_of(location).content(location, password(password_file, os.environ))
    text = utc_text if as_json else local_text
    facts: dict[str, object] = {
        "database": str(location),
        "schema": found.revision,
        "cluster": found.cluster,
        "servers": found.servers,
        "size": found.size,
        "execs": found.execs,
        "first": None if found.first_ns is None else text(found.first_ns),
        "last": None if found.last_ns is None else text(found.last_ns),
        "hosts": found.hosts,
        "streams": found.streams,
    }
    if as_json:
        click.echo(json_text(facts))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        click.echo(f"{name:<{width}}  {'-' if value is None else printable(str(value))}")


def admin_of(location: Central) -> ModuleType:
    """Returns what looks after databases of the engine."""
    if location.engine is Engine.POSTGRESQL:
        from execaudit.central import postgresql_admin  # noqa: PLC0415  # of its engine alone

        return postgresql_admin
    from execaudit.central import clickhouse_admin  # noqa: PLC0415  # as above

    return clickhouse_admin
