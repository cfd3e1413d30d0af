"""Whatever an administrator of a central database changes there is found by `verify`, in its table."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import pytest

from execaudit.central.tables import (
    EXEC,
    EXIT,
    GAP,
    HIT,
    RULE,
    RUN,
    SEAL,
    SEAL_CHAIN,
    Table,
    Type,
)
from execaudit.cli.run import verify_text
from tests.fleet.centre import Centre, central, make_central, ship
from tests.fleet.sealed_centre import found_in, kinds, record
from tests.seal.histories import make_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.fleet.clickhouse_servers import ClickHouse
    from tests.fleet.servers import PostgresServer


class Sealed(NamedTuple):
    """A history that was shipped to PostgreSQL."""

    centre: Centre
    path: Path


@pytest.fixture(scope="module")
def sealed(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sealed]:
    """Returns one that tests put back as it was."""
    name = postgres.new_database()
    centre = Centre(make_central(postgres.url(name)))
    path = tmp_path_factory.mktemp("sealed") / "x.db"
    make_key(path)
    record(path)
    ship(path, centre.url, batch=50)
    yield Sealed(centre, path)
    postgres.drop_database(name)


@pytest.fixture(scope="module")
def sealed_clickhouse(
    modern_clickhouse: ClickHouse, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Returns the URL of the same in ClickHouse."""
    name = modern_clickhouse.new_database()
    url = make_central(modern_clickhouse.url(name))
    path = tmp_path_factory.mktemp("sealed") / "x.db"
    make_key(path)
    record(path)
    ship(path, url, batch=50)
    yield url
    modern_clickhouse.drop_database(name)


# What is not in a hash, or only says where to look: docs/seals.md.
_NOT_SEALED = {"run": {"seen_ns", "stopped_ns"}, "seal": {"id", "ts", "oldest", "last_epoch"}}
# The first that the server takes.
_OTHERS = {
    Type.BIG: ("coalesce({0}, 0) + 1", "coalesce({0}, 0) + 1000", "coalesce({0}, 0) - 1"),
    Type.SMALL: ("1 - coalesce({0}, 0)", "NULL", "2"),
}
_OTHER_BYTES = (
    "coalesce({0}, '') || '\\x41'::bytea",
    "set_byte({0}, 0, 255 - get_byte({0}, 0))",
    "set_byte({0}, 0, get_byte({0}, 0) # 1)",
    "'[]'",
    "'[[1,2]]'",
    "'unstorable'",
    "NULL",
)


def _changes(table: Table) -> Iterator[tuple[str, ...]]:
    """Yields for each column what may be made of it."""
    for column in table.columns:
        if column.name not in {"stream", *_NOT_SEALED.get(table.name, ())}:
            name = f'"{column.name}"'
            others = _OTHERS.get(column.type, _OTHER_BYTES)
            yield tuple(f"{name} = {other.format(name)}" for other in others)


def _changed(
    owner: psycopg.Connection[Any], sql: str, changes: Sequence[str], values: Sequence[Any]
) -> str | None:
    """Changes a row as far as the server lets its owner. Returns how; None: in no way."""
    for change in changes:
        is_other = change.replace(" = ", " IS DISTINCT FROM ", 1)
        with contextlib.suppress(psycopg.Error):
            if owner.execute(f"{sql.format(change)} AND {is_other}".encode(), values).rowcount:
                return change
    return None


_SEALED = (
    EXEC,
    EXIT,
    SEAL,
    *(pytest.param(each, marks=pytest.mark.long_fleet) for each in (HIT, RULE, RUN, GAP, SEAL_CHAIN)),
)


def _put(owner: psycopg.Connection[Any], table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Has a table have these rows."""
    columns = ", ".join(f'"{name}"' for name in table.names)
    owner.execute(f'DELETE FROM "{table.name}"'.encode())
    with owner.cursor().copy(f'COPY "{table.name}" ({columns}) FROM STDIN'.encode()) as copy:
        for row in rows:
            copy.write_row(row)


@pytest.mark.parametrize("table", _SEALED, ids=lambda table: table.name)
def test_each_cell_that_an_administrator_changes_is_found(table: Table, sealed: Sealed) -> None:
    """One after the other, in the middle of the history. It is found in its table."""
    key = " AND ".join(f'"{name}" = %s' for name in table.key)
    url, rows = sealed.centre.url, sealed.centre.table(table)
    its = rows[len(rows) // 2]
    where = [its[table.names.index(name)] for name in table.key]
    not_found, refused = [], []
    with psycopg.connect(url, autocommit=True) as owner:
        for changes in _changes(table):
            change = _changed(owner, f'UPDATE "{table.name}" SET {{}} WHERE {key}', changes, where)
            if change is None:
                refused.append(changes)
                continue
            problems = found_in(url).problems
            # What chains are enters into seals.
            if {table.name, "seal"}.isdisjoint({each.table for each in problems}):
                not_found.append((change, problems))
            _put(owner, table, rows)
    assert [] == not_found
    assert len(refused) <= 1, refused
    assert not found_in(url).problems


@pytest.mark.parametrize("table", _SEALED, ids=lambda table: table.name)
def test_each_row_that_is_deleted_or_added_is_found(table: Table, sealed: Sealed) -> None:
    """At the beginning, in the middle and at the end. It is found in its table."""
    url, rows = sealed.centre.url, sealed.centre.table(table)
    last = len(rows) - 1
    not_found: list[tuple[object, object]] = []
    with psycopg.connect(url, autocommit=True) as owner:
        for at in {0, last // 2, last}:
            _put(owner, table, [*rows[:at], *rows[at + 1 :]])
            found = found_in(url)
            # The newest seals may still come.
            is_told = found.unsealed if table is SEAL and at == last else found.problems
            tables = {each.table for each in found.problems}
            if not is_told or (table.name not in tables and table is not SEAL):
                not_found.append((at, found.problems))
        for row in [] if table in {SEAL, SEAL_CHAIN} else _more(table, rows[-1]):
            _put(owner, table, [*rows, row])
            problems = found_in(url).problems
            if ("added", table.name) not in {(each.kind, each.table) for each in problems}:
                not_found.append((row, problems))
        _put(owner, table, rows)
    assert [] == not_found
    assert not found_in(url).problems


def test_a_piece_that_makes_no_sense_ends_nothing(sealed: Sealed) -> None:
    """A forwarder that means harm may ship any numbers and bytes, and so may who changes them."""
    url, rows = sealed.centre.url, sealed.centre.table(SEAL)
    with psycopg.connect(url, autocommit=True) as owner:
        for column in SEAL.columns[3:]:
            for odd in (
                "9223372036854775807",
                "-9223372036854775808",
                "'\\\\xff'",
                "''",
                "'{\"exec\":[[5,9]]}'",
            ):
                with contextlib.suppress(psycopg.Error):
                    owner.execute(f'UPDATE "seal" SET "{column.name}" = {odd}'.encode())
                found = found_in(url)
                assert column.name != "at_us" or found.problems or sealed.centre.table(SEAL) == rows
                assert [*verify_text.lines(found), verify_text.record(found, (), ())]
                _put(owner, SEAL, rows)


def _more(table: Table, row: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Yields rows with numbers that no host has given."""
    number = table.names.index("seq" if table in {EXEC, HIT} else "id")
    for value in (10**9, 0) if table not in {EXEC, HIT} else (10**9,):
        other = [*row]
        if table is EXIT:
            other[table.names.index("seq")] = 10**9
        other[number] = value
        yield tuple(other)


def _long(*values: object) -> object:
    return pytest.param(*values, marks=pytest.mark.long_fleet)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("ALTER TABLE exec UPDATE pid = 7 WHERE seq = 50", ("changed", "exec")),
        _long("ALTER TABLE exec DELETE WHERE seq = 50", ("missing", "exec")),
        _long("ALTER TABLE exit UPDATE status = 7 WHERE id = 3", ("changed", "exit")),
        _long("ALTER TABLE run UPDATE host = 'x' WHERE id = 1", ("changed", "run")),
        _long("ALTER TABLE seal DELETE WHERE id = 1", ("missing", "seal")),
    ],
)
def test_what_an_administrator_changes_in_clickhouse_is_found(
    change: str, expected: tuple[str, str], sealed_clickhouse: str, modern_clickhouse: ClickHouse
) -> None:
    """As in PostgreSQL, where each cell is tried."""
    database = central(sealed_clickhouse).database or ""
    table = change.split()[2]
    modern_clickhouse.execute(f"CREATE TABLE kept AS {table}", database=database)
    modern_clickhouse.execute(f"INSERT INTO kept SELECT * FROM {table}", database=database)
    modern_clickhouse.execute(f"{change} SETTINGS mutations_sync = 2", database=database)
    found = found_in(sealed_clickhouse)
    modern_clickhouse.execute(f"DROP TABLE {table}", database=database)
    modern_clickhouse.execute(f"RENAME TABLE kept TO {table}", database=database)

    assert expected in kinds(found)
    assert not found_in(sealed_clickhouse).problems
