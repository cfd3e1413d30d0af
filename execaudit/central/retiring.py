"""Retire a host of a central database: its owner says that nothing more is expected of it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from execaudit.central.tables import RETIRED
from execaudit.database.url import Engine

if TYPE_CHECKING:
    from execaudit.database.url import Central

_ITS_STREAMS = 'SELECT {columns} FROM {stream} WHERE "host" = {host} OR "stream" IN (SELECT "stream" FROM {run} WHERE "host" = {host})'


def retire(location: Central, password: str | None, host: bytes, at_ns: int) -> bool:
    """Retires the host that has or had this name. Returns False if none has it. Raises StoreError."""
    if location.engine is Engine.CLICKHOUSE:
        return _in_clickhouse(location, password, host, at_ns)
    return _in_postgresql(location, password, host, at_ns)


def _in_postgresql(location: Central, password: str | None, host: bytes, at_ns: int) -> bool:
    from execaudit.central.postgresql import connected  # noqa: PLC0415  # of its engine alone, and heavy
    from execaudit.central.postgresql_schema import quoted  # noqa: PLC0415
    from execaudit.central.revision import check_revision  # noqa: PLC0415

    its = _ITS_STREAMS.format(
        columns='"stream", %(host)s, "contact_ns", %(at)s', stream='"stream"', run='"run"', host="%(host)s"
    )
    sql = (
        f'INSERT INTO "retired" ({quoted(*RETIRED.names)}) {its}'
        f" ON CONFLICT ({quoted(*RETIRED.key)}) DO UPDATE"
        ' SET "heard_ns" = excluded."heard_ns", "at_ns" = excluded."at_ns"'
    )
    with connected(location, password=password, reads=False) as connection:
        driver: Any = connection.connection.driver_connection
        check_revision(location, lambda asked: driver.execute(asked).fetchall())
        done = connection.exec_driver_sql(sql, {"host": host, "at": at_ns})
        return done.rowcount > 0


def _in_clickhouse(location: Central, password: str | None, host: bytes, at_ns: int) -> bool:
    from execaudit.central import clickhouse  # noqa: PLC0415  # of its engine alone, and heavy
    from execaudit.central.clickhouse_schema import insert_statement  # noqa: PLC0415

    with contextlib.closing(clickhouse.Session(location, password)) as session:
        clickhouse.check_revision(session)
        # In two steps: an old server does not look for streams on other shards in the middle of a statement.
        by_name = session.execute('SELECT "stream" FROM "run" FINAL WHERE "host" = {host}', {"host": host})
        streams = session.execute('SELECT "stream", "host", "contact_ns" FROM "stream" FINAL')
        former = {stream for (stream,) in by_name}
        rows = [
            (stream, host, heard_ns, at_ns)
            for stream, name, heard_ns in streams
            if name == host or stream in former
        ]
        if rows:
            session.insert(insert_statement(RETIRED, RETIRED.names), rows)
        return bool(rows)
