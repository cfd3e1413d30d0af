"""Make the tables of a central database in ClickHouse, drop old days, and say what is there."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from execaudit.central import clickhouse, clickhouse_schema
from execaudit.central.clickhouse_schema import (
    REVISION,
    VERSION_TABLE,
    Layout,
    insert_statement,
    local_name,
    quoted,
)
from execaudit.central.content import Content, Pruned
from execaudit.central.tables import DROPPED, EXEC, TABLES
from execaudit.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from execaudit.central.clickhouse import Session
    from execaudit.database.url import Central

_SERVERS = "SELECT host_name, port, replica_num FROM system.clusters WHERE cluster = {cluster} ORDER BY shard_num, replica_num"
_PARTS = (
    "SELECT partition_id, sum(rows) AS `rows`, sum(bytes_on_disk) AS `bytes` FROM system.parts"
    " WHERE active AND database = {database} AND table = {table} GROUP BY partition_id"
)
_BYTES = "SELECT sum(bytes_on_disk) AS `bytes` FROM system.parts WHERE active AND database = {database}"


def upgrade(location: Central, password: str | None, cluster: str | None, keep_days: int | None) -> str:
    """Makes what is missing of the tables, on all servers of the cluster if one is named.

    Returns what it did. Raises StoreError, and ConfigError for what the server does not have.
    """
    database = location.database or "default"
    with contextlib.closing(clickhouse.Session(location, password, database="")) as first:
        before, known = _made(first, database)
        if before is not None and cluster not in {None, known}:
            raise ConfigError(
                f"{location} has no tables of the cluster {cluster}: they are of {known or 'this server alone'}",
                fix="make a new database for the cluster",
            )
        layout = Layout(first.version, database, cluster or known, keep_days=keep_days)
        if keep_days is not None and not layout.is_modern:
            raise ConfigError(
                f"{location} is too old to delete rows by itself", fix="run `db prune` from a timer instead"
            )
        servers = _servers(first, layout.cluster)
    layout = layout._replace(is_replicated=any(replica > 1 for _, replica in servers))
    for server, _ in servers:
        with contextlib.closing(clickhouse.Session(server, password, database="")) as session:
            session.execute(f"CREATE DATABASE IF NOT EXISTS {quoted(database)}")
    for server, _ in servers:
        with clickhouse.session(server._replace(database=database), password) as session:
            _make(session, layout)
    if keep_days is not None:
        with clickhouse.session(location, password) as session:
            _note(session, keep_ns=keep_days * clickhouse_schema.DAY_NS)
    if before == REVISION:
        return f"{location} has tables {REVISION} already"
    return f"{location} has tables {REVISION} now (before: {before or 'none'})"


def prune(location: Central, password: str | None, before_ns: int, *, dry_run: bool = False) -> Pruned:
    """Drops whole days before a time; of what a mad clock said, when it arrived. Raises StoreError."""
    until = before_ns // clickhouse_schema.DAY_NS
    days: set[int] = set()
    execs = size = 0
    if not dry_run:
        # First, so that nobody takes it for something else.
        with clickhouse.session(location, password) as session:
            _note(session, before_ns=until * clickhouse_schema.DAY_NS)
    for session, layout in _every_server(location, password):
        for table in (table for table in TABLES if table.day is not None):
            name = local_name(table, layout)
            parts = session.execute(_PARTS, {"database": layout.database.encode(), "table": name.encode()})
            for partition, rows, on_disk in parts:
                day = int(partition.partition(b"-")[0])
                if day >= until:
                    continue
                days.add(day)
                size += on_disk
                execs += rows if table is EXEC else 0
                if not dry_run:
                    session.execute(f"ALTER TABLE {quoted(name)} DROP PARTITION ID '{partition.decode()}'")
    return Pruned(len(days), execs, size)


def _note(session: Session, *, before_ns: int = 0, keep_ns: int = 0) -> None:
    """Notes what is deleted, so that it is not taken for something else."""
    session.insert(insert_statement(DROPPED, DROPPED.names), [(0, time.time_ns(), before_ns, keep_ns)])


def content(location: Central, password: str | None) -> Content:
    """Returns what the database has. Raises StoreError."""
    size = servers = 0
    for session, layout in _every_server(location, password):
        servers += 1
        size += session.execute(_BYTES, {"database": layout.database.encode()})[0][0]
    with clickhouse.session(location, password) as session:
        cluster = clickhouse.check_revision(session)
        execs, first, last = session.execute(
            "SELECT count() AS `n`, min(ts) AS `first`, max(ts) AS `last` FROM `exec` FINAL"
        )[0]
        streams, hosts = session.execute(
            "SELECT count() AS `n`, uniqExact(host) AS `hosts` FROM `stream` FINAL"
        )[0]
    first_ns, last_ns = (first, last) if execs else (None, None)
    return Content(REVISION, cluster, servers, size, execs, first_ns, last_ns, hosts, streams)


def _made(session: Session, database: str) -> tuple[str | None, str | None]:
    """Returns the revision of the tables that are there, and their cluster."""
    try:
        rows = session.execute(
            f"SELECT `revision`, `cluster` FROM {quoted(database)}.{quoted(VERSION_TABLE)} FINAL"  # noqa: S608  # ours
        )
    except clickhouse.ClickHouseError as exc:
        if exc.code in clickhouse.NOTHING_THERE:
            return None, None
        raise
    if not rows:
        return None, None
    revision, cluster = (text.decode("utf-8", "replace") for text in rows[0])
    if not revision.isdigit() or int(revision) > int(REVISION):
        raise StoreError(f"{session.location} was made by a newer execaudit", fix="upgrade with that version")
    return revision, cluster or None


def _servers(session: Session, cluster: str | None) -> list[tuple[Central, int]]:
    """Returns where each server of a cluster is, and its number among the replicas of its shard."""
    if cluster is None:
        return [(session.location, 1)]
    rows = session.execute(_SERVERS, {"cluster": cluster.encode()})
    if not rows:
        raise ConfigError(
            f"{session.location} knows no cluster {cluster}", fix="name one of its remote_servers"
        )
    return [
        (session.location._replace(host=host.decode(), port=port), replica) for host, port, replica in rows
    ]


def _every_server(location: Central, password: str | None) -> Iterator[tuple[Session, Layout]]:
    """Yields a connection to each server that has rows."""
    with clickhouse.session(location, password) as first:
        cluster = clickhouse.check_revision(first)
        servers = _servers(first, cluster)
    for server, _ in servers:
        with clickhouse.session(server, password) as session:
            yield session, Layout(session.version, location.database or "default", cluster)


def _make(session: Session, layout: Layout) -> None:
    for statement in clickhouse_schema.local_statements(layout):
        session.execute(statement)
    for statement in clickhouse_schema.distributed_statements(layout):
        session.execute(statement)
    if layout.keep_days is not None:
        for statement in clickhouse_schema.keep_statements(layout):
            session.execute(statement)
    session.insert(
        f"INSERT INTO {quoted(VERSION_TABLE)} (`one`, `revision`, `cluster`) VALUES",
        [(1, REVISION.encode(), (layout.cluster or "").encode())],
    )
