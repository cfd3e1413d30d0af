"""Parquet: real types, exact values, and row groups that keep memory bounded."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from execaudit.enums import GapReason, Truncated
from execaudit.event import Gap, Hole, Nanoseconds
from execaudit.output.parquet import Parquet
from execaudit.output.record import FIELDS, GAP_FIELDS, gap_record, to_record
from tests.histories import changed, make_event
from tests.output.test_record import EVENT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from execaudit.event import ExecEvent


def written(events: Iterable[ExecEvent]) -> bytes:
    """Returns a file of execs."""
    file = io.BytesIO()
    with Parquet(file) as made:
        made.add(events)
    assert made.bytes == len(file.getvalue())
    return file.getvalue()


def read(raw: bytes) -> pa.Table:
    """Returns what is in a file."""
    return parquet.read_table(io.BytesIO(raw))


def rows(raw: bytes) -> list[dict[str, object]]:
    """Returns the rows of a file; times are nanoseconds since 1970."""
    table = read(raw)
    for at, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            table = table.set_column(at, field.name, table.column(at).cast(pa.int64()))
    return table.to_pylist()


def test_types() -> None:
    """Times have nanoseconds and a zone, lists are lists, and names that repeat are dictionaries."""
    table = read(written([EVENT]))
    types = {name: str(table.schema.field(name).type) for name in FIELDS}

    assert list(FIELDS) == table.column_names
    assert "timestamp[ns, tz=UTC]" == types["time"]
    assert {"int64"} == {types[name] for name in ("pid", "uid", "argc", "exit_code", "duration_ns", "mnt_ns")}
    assert "uint64" == types["inode"]
    assert "list<element: string>" == types["argv"]
    assert "list<element: list<element: int64>>" == types["argv_missing"]
    assert {"string"} == {types[name] for name in ("id", "parent_id", "command", "argv_base64")}
    assert {"dictionary<values=string, indices=int32, ordered=0>"} == {
        types[name] for name in ("host", "user", "comm", "exe", "cwd", "kind", "errno", "cgroup")
    }


def test_values_are_those_of_the_record() -> None:
    """Exact ones: also an inode that SQLite cannot count, and a hole of unknown size."""
    event = changed(
        EVENT, inode=2**64 - 1, truncated=Truncated.LIMIT, holes=(Hole(3, None),), argv=b"ls\0\xff\0"
    )
    (row,) = rows(written([event]))
    record = to_record(event)

    assert 2**64 - 1 == row.pop("inode")
    assert EVENT.time_ns == row.pop("time")
    assert {name: record[name] for name in FIELDS if name not in ("inode", "time")} == row


def test_large_answers_are_in_row_groups() -> None:
    """So a writer keeps no more than one of them in memory, whether rows are many or long."""
    many = parquet.ParquetFile(io.BytesIO(written([make_event(b"true")] * 70_000)))
    long = parquet.ParquetFile(io.BytesIO(written([make_event(b"x" * 3_000_000)] * 5)))

    assert [32_768, 32_768, 4464] == [many.metadata.row_group(n).num_rows for n in range(many.num_row_groups)]
    assert [2, 2, 1] == [long.metadata.row_group(n).num_rows for n in range(long.num_row_groups)]


def test_chosen_columns_and_none() -> None:
    """In their order; and an answer with no exec is a file with a schema."""
    file, empty = io.BytesIO(), written([])
    with Parquet(file, ("pid", "time")) as made:
        made.add([EVENT])

    assert ["pid", "time"] == read(file.getvalue()).column_names
    assert 0 == read(empty).num_rows
    assert list(FIELDS) == read(empty).column_names


def test_gaps() -> None:
    """They are a file too."""
    gap = gap_record(Gap("web-1", Nanoseconds(10**18), Nanoseconds(10**18 + 5), GapReason.RING_FULL, 12))
    file = io.BytesIO()
    with Parquet(file, gaps=True) as made:
        made.add_gaps([gap, {**gap, "from": None, "host": None}])
    first, second = rows(file.getvalue())

    assert list(GAP_FIELDS) == list(first)
    assert ("ring_full", 12, 10**18 + 5) == (first["reason"], first["count"], first["to"])
    assert (None, None) == (second["from"], second["host"])


@given(st.lists(st.binary(max_size=30), max_size=4))
def test_whatever_the_bytes_are(arguments: list[bytes]) -> None:
    """Arguments that are not UTF-8 are as the record shows them."""
    event = make_event(*(argument.replace(b"\0", b"") for argument in arguments))
    (row,) = rows(written([event]))

    assert to_record(event)["argv"] == row["argv"]
    assert to_record(event).get("argv_base64") == row["argv_base64"]


def test_without_pyarrow_one_line_says_what_to_do() -> None:
    """Nothing else needs it."""
    script = (
        "import io, sys; sys.modules['pyarrow'] = None\n"
        "from execaudit.output.parquet import Parquet\n"
        "try: Parquet(io.BytesIO())\n"
        "except Exception as exc: print(exc)"
    )
    said = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout

    assert (
        "Parquet needs pyarrow, which is not installed here: `pip install 'execaudit[parquet]'`, or in a checkout `sudo make install EXTRAS=parquet`\n"
        == said
    )


@pytest.mark.parametrize("moment", [0, 1, EVENT.time_ns])
def test_moments(moment: int) -> None:
    """To the nanosecond."""
    (row,) = rows(written([changed(EVENT, time_ns=Nanoseconds(moment))]))

    assert moment == row["time"]
