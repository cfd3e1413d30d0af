"""How `query` writes its answer: chosen fields, another order, or only how many there are."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.fields import BY_NAME, FIELDS, Form
from execaudit.output.columns import columns_text
from execaudit.output.format import Format
from execaudit.output.record import to_record
from execaudit.output.timecolumn import TimeColumn
from execaudit.query import sorting
from execaudit.query.filter import Filter
from execaudit.query.local_history import LocalHistory
from tests.commands import execaudit
from tests.examples import examples
from tests.query.filter_model import histories, similar_events, stored

if TYPE_CHECKING:
    from pathlib import Path

    from execaudit.event import ExecEvent
    from tests.events import Batch

_names = st.lists(st.sampled_from([*BY_NAME]), min_size=1, max_size=5)
_SORTABLE = [field.name for field in FIELDS if field.form is not Form.PAIRS and field.name != "argv_base64"]


def test_chosen_fields_in_each_format(history: Path) -> None:
    """In the order in which they are named; a table has them as columns."""
    asked = ("--db", history, "query", "--pid=100", "--pid=101", "--columns=pid,user, exe,errno,duration")
    table = execaudit(*asked, "--format=table").out.decode()
    lines = execaudit(*asked, "--format=jsonl").out.decode().splitlines()

    assert [
        "PID  USER     EXE           ERRNO  DURATION_NS",
        "100  alice    /usr/bin/curl -      7000000000",
        "101  alice    /usr/bin/bash ENOENT -",
    ] == table.splitlines()
    assert execaudit(*asked, "--format=csv").out == (
        b"pid,user,exe,errno,duration_ns\n100,alice,/usr/bin/curl,,7000000000\n101,alice,/usr/bin/bash,ENOENT,\n"
    )
    assert [
        {"pid": 100, "user": "alice", "exe": "/usr/bin/curl", "errno": None, "duration_ns": 7 * 10**9}
    ] == [json.loads(lines[0])]
    assert len(lines) == 2


@given(st.lists(similar_events("web1"), max_size=6), _names)
def test_the_fields_are_those_of_the_record(events: list[ExecEvent], names: list[str]) -> None:
    """JSON has the record's values, exact CSV the same texts, and each line of a table is safe to show."""
    texts = {
        fmt: "".join(columns_text(events, names, fmt, raw=True, times=TimeColumn(None, now_ns=0)))
        for fmt in Format
    }
    records = [{name: to_record(event).get(name) for name in names} for event in events]

    assert records == [json.loads(line) for line in texts[Format.JSONL].splitlines()]
    header, *rows = csv.reader(texts[Format.CSV].splitlines(keepends=True))
    assert names == header
    assert [[_csv_cell(record[name]) for name in names] for record in records] == rows
    table = texts[Format.TABLE].split("\n")
    assert len(table) == len(events) + 2
    assert all(line.isprintable() for line in table)


def _csv_cell(value: object) -> str:
    if isinstance(value, list):
        return json.dumps(value, separators=(",", ":"))
    return "" if value is None else str(value)


@examples(25)
@given(histories, st.sampled_from(_SORTABLE), st.none() | st.integers(0, 5), st.booleans())
def test_the_order_is_that_of_the_field(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[Batch],
    name: str,
    limit: int | None,
    reverse: bool,  # noqa: FBT001  # drawn
) -> None:
    """Ascending, or with --reverse descending; equal ones as recorded, null last, and the first so many."""
    with stored(tmp_path_factory.mktemp("history"), batches) as (connection, everything):
        wanted = Filter(limit=limit, reverse=reverse)
        found = list(sorting.sorted_events(LocalHistory(connection), wanted, name))

    known = [event for event in everything if to_record(event)[name] is not None]
    unknown = [event for event in everything if to_record(event)[name] is None]
    expected = sorted(known, key=lambda event: _order(event, name), reverse=reverse) + unknown
    assert found == expected[:limit]


def _order(event: ExecEvent, name: str) -> Any:  # noqa: ANN401  # of one type for each field
    field, record = BY_NAME[name], to_record(event)
    value = record[name]
    if field.form is Form.UNSIGNED_64:
        return int(str(value))
    if field.form is Form.DEVICE:
        return [int(part) for part in str(value).split(":")]
    if name == "argv":
        return _raw_arguments(event)
    raw = {**event.launch._asdict(), **event.origin._asdict()}.get(field.source)
    return raw if isinstance(raw, bytes) and field.form is not Form.CONTAINER else value


def _raw_arguments(event: ExecEvent) -> tuple[bytes, ...]:
    from execaudit.arguments import split_argv  # noqa: PLC0415  # bytes, which the record shows as text

    return split_argv(event.argv, event.holes).parts


@pytest.mark.parametrize(
    ("typed", "pids"),
    [
        ("--sort=pid", [0, 1, 100, 101, 102, 103, 104, 200]),
        ("--sort=pid --reverse --limit=2", [200, 104]),
        ("--sort=duration --limit=2", [100, 1]),
        ("--sort=exe --user=root", [104, 200, 103, 1, 0]),
        ("--sort=pid --failed", [101]),
    ],
)
def test_an_order_goes_with_filters(history: Path, typed: str, pids: list[int]) -> None:
    """With --limit, the first so many of that order."""
    done = execaudit("--db", history, "query", *typed.split(), "--format=jsonl")

    assert (0, pids) == (done.status, done.pids())


@pytest.mark.parametrize(
    ("typed", "said"), [("", b"8\n"), ("--user=alice", b"2\n"), ("--limit=3", b"3\n"), ("--pid=9", b"0\n")]
)
def test_how_many_there_are(history: Path, typed: str, said: bytes) -> None:
    """One number, in each format."""
    assert said == execaudit("--db", history, "query", "--count", *typed.split()).out


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("--columns=usr", "the record has no 'usr': did you mean user?"),
        ("--columns=", "the record has no ''"),
        ("--columns=pid,,uid", "the record has no ''"),
        ("--sort=Pid", "the record has no 'Pid': did you mean pid?"),
        ("--sort=argv_missing", "argv_missing has no order"),
        ("--count --columns=pid", "--count and --columns exclude each other"),
        ("--count --sort=pid", "--count and --sort exclude each other"),
        ("--follow --sort=pid", "--follow and --sort exclude each other"),
        ("--follow --count", "--follow and --count exclude each other"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(history: Path, typed: str, said: str) -> None:
    """One line says why."""
    done = execaudit("--db", history, "query", *typed.split())

    assert done.status == 2
    assert said in done.err.decode()
    assert b"Traceback" not in done.err
