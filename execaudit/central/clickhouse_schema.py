"""The tables of a central database in ClickHouse. Pure.

Each is a ReplacingMergeTree, so what arrives twice is there once, at the latest when parts are merged. A
statement that must not see it before says FINAL. Of rows with the same key the one that was inserted first
stays where rows never change, so nobody who may insert changes what is there; else the last one.

The server computes some columns when a row is inserted, and nobody else can set them: see _computed().

Servers before 23.3 get the types alone. Newer ones also get codecs, indexes that skip what cannot match, and
blocks that are on the disk before the server says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.central.tables import (
    EXEC,
    MOST_PID,
    MOST_SEQ,
    NEWEST_DAYS,
    OLDEST_DAYS,
    PROGRAM,
    STREAM,
    TABLES,
    Type,
)
from execaudit.database.enum_codes import KINDS, TRUNCATIONS
from execaudit.enums import GAINED_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from execaudit.central.tables import Column, Table

REVISION = "4"
"""Of these tables. It stands in VERSION_TABLE."""
VERSION_TABLE = "execaudit_schema"
RECENT = "recent"
"""A column of STREAM that only this engine has: what clickhouse_target sent last, as recent_blocks has it."""

_MODERN = (23, 3)
_LOCAL = "_local"
DAY_NS = 86_400_000_000_000
IS_SANE = "is_sane"
"""A column of EXEC that only this engine has, which cannot refuse a row: 0 where no reader understands it."""

_TYPES = {Type.BIG: "Int64", Type.SMALL: "Int16", Type.BYTES: "String", Type.WORD: "String"}
_RISING = frozenset({"seq", "ts", "boot_ns", "id", "ts_from", "ts_to", "first_ts"})
# For each row of a granule (8192) such a filter has one or two bytes.
_GRAMS = "ngrambf_v1(4, 16384, 2, 0)"
_WORDS = "bloom_filter(0.01)"
_INDEXES = {
    "ts": "minmax",
    "argv": _GRAMS,
    "pid": _WORDS,
    "parent": _WORDS,
    "comm": _WORDS,
    "exe": _WORDS,
    "uid": "set(64)",
}


class Layout(NamedTuple):
    """How the tables are kept."""

    version: tuple[int, int]
    """The server's, major and minor."""
    database: str
    cluster: str | None = None
    """The shards that have the rows; None: the server alone."""
    is_replicated: bool = False
    """Each shard has replicas: the servers know their names by the macros `shard` and `replica`."""
    keep_days: int | None = None
    """After so many days rows are deleted; None: they stay."""

    @property
    def is_modern(self) -> bool:
        """Says whether the server has what came after 2018."""
        return self.version >= _MODERN


def quoted(name: str) -> str:
    """Returns a name as statements have it."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def group_of(time_ns: int, today: int) -> int | None:
    """Returns which rows surely are of one partition: a day, in days since 1970; None: any of a mad clock.

    `today` is the server's, more or less a day.
    """
    day = time_ns // DAY_NS
    return day if today - OLDEST_DAYS - 2 <= day <= today + NEWEST_DAYS + 2 else None


def _computed(table: Table) -> Iterator[tuple[str, str, str]]:
    """Yields the columns that the server computes: name, type, and the expression."""
    today = "intDiv(toUInt32(now()), 86400)"
    if table is PROGRAM:
        # The least time has the greatest version.
        yield "version", "UInt64", "toUInt64(9223372036854775807 - `first_ts`)"
    elif table.is_append_only:
        # The first that came has the greatest one.
        yield "version", "UInt32", "toUInt32(4294967295 - toUInt32(now()))"
    if table.day is not None:
        day = f"intDiv({quoted(table.day)}, {DAY_NS})"
        is_near = f"{day} >= {today} - {OLDEST_DAYS} AND {day} <= {today} + {NEWEST_DAYS}"
        yield "is_mad", "UInt8", f"if({is_near}, 0, 1)"
        yield "arrived", "Int64", f"toInt64({today})"
    if table is EXEC:
        yield IS_SANE, "UInt8", f"if({_SANE}, 1, 0)"


# As PostgreSQL checks them.
_SANE = " AND ".join(
    (
        f"`seq` >= 1 AND `seq` <= {MOST_SEQ} AND `ts` >= 0",
        *(f"`{name}` >= 0 AND `{name}` <= {MOST_PID}" for name in ("pid", "tid")),
        f"`kind` >= 0 AND `kind` < {len(KINDS)}",
        f"(isNull(`truncated`) OR `truncated` >= 0 AND `truncated` < {len(TRUNCATIONS)} AND isNotNull(`holes`))",
        f"(isNull(`privileged`) OR `privileged` >= 0 AND `privileged` < {len(GAINED_WORDS)})",
        "match(`boot_id`, '^[0-9a-f]{8}-')",
    )
)


def _day(column: str) -> str:
    """Returns the day by which a row is kept: of its time, but if that is a mad clock's, when it arrived."""
    return f"if(`is_mad` = 1, `arrived`, intDiv({quoted(column)}, {DAY_NS}))"


def columns_of(table: Table) -> tuple[str, ...]:
    """Returns the names of a table's columns here."""
    return (*table.names, RECENT) if table is STREAM else table.names


def local_name(table: Table, layout: Layout) -> str:
    """Returns the name of the table that has the rows of a server."""
    return table.name if layout.cluster is None else table.name + _LOCAL


def local_statements(layout: Layout) -> Iterator[str]:
    """Yields what makes the tables on each server that keeps rows. Any may be there already."""
    for table in TABLES:
        yield _local(table, layout)
    yield _version_table(layout)


def distributed_statements(layout: Layout) -> Iterator[str]:
    """Yields what makes the tables on each server that is asked, over those of the shards."""
    if layout.cluster is None:
        return
    for table in TABLES:
        columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in _typed(table, layout))
        if table is EXEC:
            # Old servers would send a column that is MATERIALIZED to the shards, which refuse it.
            columns += f", {quoted(IS_SANE)} UInt8 ALIAS if({_SANE}, 1, 0)"
        # All rows of a stream are on one shard, so a block of them is one insert there.
        where = f"{_text(layout.cluster)}, {_text(layout.database)}, {_text(table.name + _LOCAL)}, `stream`"
        yield f"CREATE TABLE IF NOT EXISTS {quoted(table.name)} ({columns}) ENGINE = Distributed({where})"


def keep_statements(layout: Layout) -> Iterator[str]:
    """Yields what sets after how many days each server deletes rows. Only modern ones know it."""
    for table in TABLES:
        if table.day is not None:
            seconds = f"toDateTime({_day(table.day)} * 86400)"
            name = quoted(local_name(table, layout))
            yield f"ALTER TABLE {name} MODIFY TTL {seconds} + INTERVAL {layout.keep_days} DAY"


def _version_table(layout: Layout) -> str:
    return (
        f"CREATE TABLE IF NOT EXISTS {quoted(VERSION_TABLE)} (`one` UInt8, `revision` String, `cluster` String)"
        f" ENGINE = {_engine(VERSION_TABLE, layout, '')} ORDER BY `one`"
    )


def _local(table: Table, layout: Layout) -> str:
    lines = [
        f"{quoted(name)} {kind}{_codec(name, kind) if layout.is_modern else ''}"
        for name, kind in _typed(table, layout)
    ]
    name = local_name(table, layout)
    computed = [*_computed(table)]
    lines += [
        f"{quoted(name)} {kind} MATERIALIZED {how}{_codec(name, kind) if layout.is_modern else ''}"
        for name, kind, how in computed
    ]
    version = "`version`" if any(each == "version" for each, _, _ in computed) else ""
    if layout.is_modern and table is EXEC:
        lines += [
            f"INDEX {name}_index {quoted(name)} TYPE {kind} GRANULARITY 1" for name, kind in _INDEXES.items()
        ]
    parts = [
        f"CREATE TABLE IF NOT EXISTS {quoted(name)} ({', '.join(lines)})",
        f"ENGINE = {_engine(name, layout, version)}",
    ]
    if table.day is not None:
        # The flag keeps mad times in parts of their own. The server chooses parts by what is named here.
        parts.append(f"PARTITION BY ({_day(table.day)}, `is_mad`)")
    parts.append(f"ORDER BY ({', '.join(map(quoted, table.key))})")
    if layout.is_modern:
        parts.append(f"SETTINGS {_settings(layout)}")
    return " ".join(parts)


def _settings(layout: Layout) -> str:
    settings = ["fsync_after_insert = 1", "fsync_part_directory = 1", "ttl_only_drop_parts = 1"]
    if not layout.is_replicated:
        settings.append("non_replicated_deduplication_window = 1000")
    return ", ".join(settings)


def _engine(name: str, layout: Layout, version: str) -> str:
    if not layout.is_replicated:
        return f"ReplacingMergeTree({version})"
    path = _text(f"/clickhouse/tables/{{shard}}/{layout.database}/{name}")
    return f"ReplicatedReplacingMergeTree({path}, '{{replica}}'{', ' if version else ''}{version})"


def _typed(table: Table, layout: Layout) -> Iterator[tuple[str, str]]:
    for column in table.columns:
        yield column.name, _type(column, layout, is_key=column.name in table.key)
    if table is STREAM:
        yield RECENT, "String"


def _type(column: Column, layout: Layout, *, is_key: bool) -> str:
    kind = f"Nullable({_TYPES[column.type]})" if column.is_null else _TYPES[column.type]
    return f"LowCardinality({kind})" if column.type is Type.WORD and layout.is_modern and not is_key else kind


def _codec(name: str, kind: str) -> str:
    if name in _RISING:
        return " CODEC(Delta, ZSTD(1))"
    if "Int" in kind:
        return " CODEC(T64, ZSTD(1))"
    return " CODEC(ZSTD(3))" if name == "argv" else " CODEC(ZSTD(1))"


def literal(value: object) -> str:
    """Returns a value as statements have it. Bytes are written as hexadecimal digits, so any are exact.

    Raises TypeError for a value that no table has.
    """
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"unhex('{value.hex()}')"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, (list, tuple)):
        return f"({', '.join(map(literal, value))})"
    raise TypeError(f"{type(value).__name__} is no value of a table")


def _text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def insert_statement(table: Table, columns: Sequence[str]) -> str:
    """Returns the statement that the rows of a block follow."""
    return f"INSERT INTO {quoted(table.name)} ({', '.join(map(quoted, columns))}) VALUES"
