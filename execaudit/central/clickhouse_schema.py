"""The tables of a central database in ClickHouse. Pure.

Each is a ReplacingMergeTree: of rows with the same key the one that was inserted last stays, so what arrives
twice is there once, at the latest when parts are merged. A statement that must not see it before says FINAL.

Servers before 23.3 get the types alone. Newer ones also get codecs, indexes that skip what cannot match, and
blocks that are on the disk before the server says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.central.tables import EXEC, PROGRAM, STREAM, TABLES, Type

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from execaudit.central.tables import Column, Table

REVISION = "3"
"""Of these tables. It stands in VERSION_TABLE."""
VERSION_TABLE = "execaudit_schema"
RECENT = "recent"
"""A column of STREAM that only this engine has: what clickhouse_target sent last, as recent_blocks has it."""

_MODERN = (23, 3)
_LOCAL = "_local"
DAY_NS = 86_400_000_000_000
# From 2000 to 2100. What a mad clock says is kept together, so it makes few parts.
_FIRST_NS, _LAST_NS = 946_684_800_000_000_000, 4_102_444_800_000_000_000

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


def day_of(time_ns: int) -> int:
    """Returns the partition of a time: days since 1970, 0 for a mad clock's."""
    return time_ns // DAY_NS if _FIRST_NS <= time_ns < _LAST_NS else 0


def first_day_kept(time_ns: int) -> int:
    """Returns the first partition that has, or may have, times since this one."""
    return time_ns // DAY_NS


def _day(column: str) -> str:
    time = quoted(column)
    return f"if({time} >= {_FIRST_NS} AND {time} < {_LAST_NS}, intDiv({time}, {DAY_NS}), 0)"


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
        # All rows of a stream are on one shard, so a block of them is one insert there.
        where = f"{_text(layout.cluster)}, {_text(layout.database)}, {_text(table.name + _LOCAL)}, `stream`"
        yield f"CREATE TABLE IF NOT EXISTS {quoted(table.name)} ({columns}) ENGINE = Distributed({where})"


def keep_statements(layout: Layout) -> Iterator[str]:
    """Yields what sets after how many days each server deletes rows. Only modern ones know it."""
    for table in TABLES:
        if table.day is not None:
            seconds = f"toDateTime(intDiv({quoted(table.day)}, 1000000000))"
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
    name, version = local_name(table, layout), ""
    if table is PROGRAM:
        # The least time has the greatest version.
        lines.append("`version` UInt64 DEFAULT toUInt64(9223372036854775807 - `first_ts`)")
        version = "`version`"
    if layout.is_modern and table is EXEC:
        lines += [
            f"INDEX {name}_index {quoted(name)} TYPE {kind} GRANULARITY 1" for name, kind in _INDEXES.items()
        ]
    parts = [
        f"CREATE TABLE IF NOT EXISTS {quoted(name)} ({', '.join(lines)})",
        f"ENGINE = {_engine(name, layout, version)}",
    ]
    if table.day is not None:
        parts.append(f"PARTITION BY {_day(table.day)}")
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
