"""The central tables in PostgreSQL, as SQL. Pure.

exec, exit and hit are in partitions by day, so that old days are dropped and not deleted. What has a time of
no such day, because a host's clock was wrong, is in the partition `default`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.central import postgresql_functions
from execaudit.central.tables import (
    EXEC,
    EXIT,
    GAP,
    HEAD,
    HIT,
    OF_THE_OWNER,
    PROGRAM,
    RUN,
    SEAL,
    SEAL_ACT,
    SEAL_CHAIN,
    SEAL_CHANGE,
    STREAM,
    TABLES,
    Type,
)
from execaudit.database.enum_codes import KINDS, TRUNCATIONS
from execaudit.enums import GapReason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from execaudit.central.tables import Column, Table

TYPES = {Type.BIG: "int8", Type.SMALL: "int2", Type.BYTES: "bytea", Type.WORD: "bytea"}
_INDEXES = {
    # By time, because answers of several hosts are in its order, and begin and end somewhere.
    EXEC.name: ('"ts"', '"comm", "ts"', '"pid", "ts"', '"stream", "parent"'),
    GAP.name: ('"ts_to"',),
    # An entry of the seals has the ends of some numbers.
    EXIT.name: ('"stream", "id"',),
    SEAL_CHANGE.name: ('"stream", "exec"',),
}
# A path may be longer than what an index takes.
PROGRAM_KEY = 'sha256("exe"), "stream"'
# Who ships a stream first is its owner: a column that only PostgreSQL has.
_OWNER = '"owner" name NOT NULL DEFAULT current_user'
_OWNS = '"owner" = current_user'
# Looked up once in a statement, not for each row.
_OF_OWN = f'"stream" IN (SELECT s."stream" FROM "stream" AS s WHERE s.{_OWNS})'  # noqa: S608  # ours


_REASONS = ", ".join(f"'{reason.value}'" for reason in GapReason)
# What a reader could make nothing of: else one row of one forwarder would end the questions about all hosts.
_CHECKS = {
    EXEC.name: (
        '"seq" BETWEEN 1 AND 1099511627775 AND "ts" >= 0',
        '"pid" BETWEEN 0 AND 4194304 AND "tid" BETWEEN 0 AND 4194304',
        f'"kind" BETWEEN 0 AND {len(KINDS) - 1}',
        f'"truncated" IS NULL OR "truncated" BETWEEN 0 AND {len(TRUNCATIONS) - 1} AND "holes" IS NOT NULL',
        "encode(\"boot_id\", 'escape') ~ '^[0-9a-f]{8}-'",
    ),
    GAP.name: (f"encode(\"reason\", 'escape') IN ({_REASONS})",),
    STREAM.name: ("encode(\"continued\", 'escape') ~ '^[[][0-9,]*[]]$'",),
    HEAD.name: (
        "encode(\"chain\", 'escape') ~ '^[0-9a-f]{16}$' AND encode(\"hash\", 'escape') ~ '^[0-9a-f]{64}$'",
        '"epoch" >= 0 AND "at_ns" >= 0',
    ),
    SEAL_CHAIN.name: ('octet_length("chain") = 16 AND octet_length("reason") <= 64',),
    SEAL_ACT.name: ('octet_length("parts") <= 8388608 AND octet_length("reason") <= 64',),
    SEAL_CHANGE.name: (
        'coalesce(octet_length("line_was"), 0) + coalesce(octet_length("line_now"), 0) <= 1024',
    ),
    SEAL.name: (
        '"id" BETWEEN 1 AND 1099511627775 AND "ts" >= 0',
        'octet_length("chain") = 16 AND octet_length("before") = 32 AND octet_length("hash") = 32',
        '"code" IS NULL OR octet_length("code") = 32',
        'octet_length("start") + octet_length("shifts") + octet_length("entries") <= 131072',
        'octet_length("roots") + octet_length("runs") + octet_length("oldest") + octet_length("gone") <= 8388608',
    ),
}


_SEQS = "BETWEEN 1 AND 1099511627775"
_STATUS = '"status" IS NULL OR "status" BETWEEN 0 AND 65535'
_PAIR = "[[][0-9]{1,10},([0-9]{1,10}|null)[]]"
_SEQ = "[0-9]{1,13}"
_SHIFTED = f'"(exec|exit|run|gap|rule)":[[][[]{_SEQ},{_SEQ}[]](,[[]{_SEQ},{_SEQ}[]])*[]]'


def _is_like(column: str, regex: str) -> str:
    return f"encode(\"{column}\", 'escape') ~ '^{regex}$'"


_LATER_CHECKS = {
    EXEC.name: (
        '"boot_ns" BETWEEN 0 AND 1152921504606846975 AND "run" >= 0',
        f'("parent" IS NULL OR "parent" {_SEQS}) AND ("replaced_by" IS NULL OR "replaced_by" {_SEQS})',
        f'({_STATUS}) AND ("duration_ns" IS NULL OR "duration_ns" >= 0)',
        '"privileged" IS NULL OR "privileged" BETWEEN 0 AND 7',
        f'"holes" IS NULL OR {_is_like("holes", f"[[]({_PAIR}(,{_PAIR})*)?[]]")}',
        f'"redacted" IS NULL OR {_is_like("redacted", f"[[]({_PAIR}(,{_PAIR})*)?[]]")}',
    ),
    EXIT.name: (
        f'"seq" {_SEQS} AND ("replaced_by" IS NULL OR "replaced_by" {_SEQS})',
        f'({_STATUS}) AND "duration_ns" >= 0 AND "ts" >= 0',
    ),
    HIT.name: (f'"seq" {_SEQS} AND "ts" >= 0 AND "left_out" BETWEEN 0 AND 1099511627775',),
    RUN.name: ("encode(\"boot_id\", 'escape') ~ '^[0-9a-f]{8}-' AND \"started_ns\" >= 0",),
    GAP.name: ('"ts_from" >= 0 AND "ts_to" >= 0 AND ("count" IS NULL OR "count" >= 0) AND "exits" >= 0',),
    STREAM.name: (
        _is_like("continued", f"[[]({_SEQ}(,{_SEQ})*)?[]]"),
        _is_like("shifts", f"[{{]({_SHIFTED}(,{_SHIFTED})*)?[}}]"),
        '"contact_ns" >= 0 AND "first_ns" >= 0 AND "last_seq" >= 0 AND "exec_seq" >= 0',
    ),
}
"""What came with schema 0014. What was there before may be otherwise: so it is not looked at."""


def quoted(*names: str) -> str:
    """Returns names as SQL: some are words of it."""
    return ", ".join(f'"{name}"' for name in names)


def statements() -> Iterator[str]:
    """Yields what makes the tables and functions in the schema that is named {schema}."""
    for table in TABLES:
        yield from _table(table)
    for table in TABLES:
        yield from _policies(table)
    yield from later_checks()
    yield from postgresql_functions.days([table.name for table in TABLES if table.day])
    yield from postgresql_functions.notes()


def later_checks() -> Iterator[str]:
    """Yields what refuses odd values in new rows."""
    for name, checks in _LATER_CHECKS.items():
        yield from (f'ALTER TABLE "{name}" ADD CHECK ({check}) NOT VALID' for check in checks)


def _table(table: Table) -> Iterator[str]:
    columns = [f"    {_column(column)}" for column in table.columns]
    key = (*table.key, *([table.day] if table.day else ()))
    if table is STREAM:
        columns.append(f"    {_OWNER}")
    columns += [f"    CHECK ({check})" for check in _CHECKS.get(table.name, ())]
    if table is not PROGRAM:
        columns.append(f"    PRIMARY KEY ({quoted(*key)})")
    by_day = f' PARTITION BY RANGE ("{table.day}")' if table.day else ""
    body = ",\n".join(columns)
    yield f'CREATE TABLE "{table.name}" (\n{body}\n){by_day}'
    if table.day:
        yield f'CREATE TABLE "{table.name}_default" PARTITION OF "{table.name}" DEFAULT'
        if table in {EXIT, HIT}:
            yield f'CREATE INDEX ON "{table.name}" USING brin ("{table.day}") WITH (pages_per_range = 32)'
    for indexed in _INDEXES.get(table.name, ()):
        yield f'CREATE INDEX ON "{table.name}" ({indexed})'
    if table is PROGRAM:
        yield f'CREATE UNIQUE INDEX "program_key" ON "program" ({PROGRAM_KEY})'


def _policies(table: Table) -> Iterator[str]:
    """Yields what keeps a forwarder from writing into the streams of others. The owner of the tables may."""
    own = _OWNS if table is STREAM else _OF_OWN
    yield f'ALTER TABLE "{table.name}" ENABLE ROW LEVEL SECURITY'
    yield f'CREATE POLICY "all" ON "{table.name}" FOR SELECT USING (true)'
    if table in OF_THE_OWNER:
        # The owner of the tables alone says it.
        return
    yield f'CREATE POLICY "own" ON "{table.name}" FOR INSERT WITH CHECK ({own})'
    if not table.is_append_only:
        yield f'CREATE POLICY "change" ON "{table.name}" FOR UPDATE USING ({own})'


def _column(column: Column) -> str:
    return f'"{column.name}" {TYPES[column.type]}{"" if column.is_null else " NOT NULL"}'
