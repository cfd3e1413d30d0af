"""The table of fields says what records are."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given

from execaudit.enums import GapReason
from execaudit.event import Redaction
from execaudit.fields import FIELDS, GAP_FIELDS, GAP_REASONS, Field, Type
from execaudit.output import record
from tests.commands import execaudit, found
from tests.events import events
from tests.histories import make_event, make_history
from tests.incident import recorded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from execaudit.event import ExecEvent

CHECKOUT = Path(__file__).parent.parent
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")


def is_number(value: object) -> bool:
    """Says whether a value is a whole number; Python has truth as one too."""
    return isinstance(value, int) and not isinstance(value, bool)


def fits(field: Field, value: Any) -> bool:  # noqa: ANN401  # it is what JSON gives
    """Says whether a value that is not null is of the field's type."""
    if field.type is Type.NUMBER:
        return is_number(value)
    if field.type is Type.TEXTS:
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    if field.type is Type.PAIRS:
        return isinstance(value, list) and all(
            is_number(index) and (size is None or is_number(size)) for index, size in value
        )
    if not isinstance(value, str):
        return False
    if field.type is Type.TIME:
        return _TIME.fullmatch(value) is not None
    return not field.values or set(value.split(",")) <= {*field.values}


def wrong(fields: Sequence[Field], row: dict[str, Any]) -> list[tuple[str, object]]:
    """Returns what in a record is not as the table says."""
    known = {field.name: field for field in fields}
    return [
        (name, value)
        for name, value in row.items()
        if not (fits(known[name], value) if value is not None else known[name].null)
    ]


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The JSON lines of a history that has each kind of exec, and gaps; and of an exec that was redacted."""
    folder = tmp_path_factory.mktemp("fields")
    with recorded(folder / "history.db"):
        pass
    done = execaudit(
        "--db", folder / "history.db", "query", "--format", "jsonl", "--since", "2026-11-22 12:00"
    )
    event = make_event(b"mysql", b"-pREDACTED:0123456789ab", redacted=(Redaction(1, 2),))
    rows = found(make_history(folder / "redacted.db", [event]))
    return [*map(json.loads, done.out.splitlines()), *rows]


def test_the_tables_have_what_records_have() -> None:
    """The same names in the same order; each reason of a gap."""
    assert record.FIELDS == tuple(field.name for field in FIELDS)
    assert record.GAP_FIELDS == tuple(field.name for field in GAP_FIELDS)
    assert set(GapReason) == set(GAP_REASONS)


def test_examples_fit() -> None:
    """Each example could be a value."""
    assert [] == [each.name for each in (*FIELDS, *GAP_FIELDS) if not fits(each, each.example)]


def test_real_records_fit(lines: list[dict[str, Any]]) -> None:
    """Each value of a query has the type that the table says; each key has a value somewhere."""
    execs = [line for line in lines if line["kind"] != "gap"]

    assert [] == [found for line in execs for found in wrong(FIELDS, line)]
    assert [] == [each.name for each in FIELDS if not any(line.get(each.name) is not None for line in execs)]


def test_real_records_of_gaps_fit(lines: list[dict[str, Any]]) -> None:
    """Of a gap that was stored, of the time before the first recorder, and of that after the last."""
    gaps = [line for line in lines if line["kind"] == "gap"]

    assert ["recorder_stopped", "ring_full", "recorder_stopped"] == [gap["reason"] for gap in gaps]
    assert [] == [found for gap in gaps for found in wrong(GAP_FIELDS, gap)]
    assert {*record.GAP_FIELDS} == set().union(*(gap.keys() for gap in gaps))


@given(events())
def test_records_of_any_event_fit(event: ExecEvent) -> None:
    """What is never null is not, whatever was lost."""
    assert [] == wrong(FIELDS, record.to_record(event))


def test_csv_has_the_same_columns(tmp_path: Path) -> None:
    """In the same order; a value that is not known is an empty cell."""
    with recorded(tmp_path / "history.db"):
        pass
    done = execaudit("--db", tmp_path / "history.db", "export", "--raw", "--limit", "1")
    rows = [*csv.DictReader(io.StringIO(done.out.decode()))]

    assert list(record.FIELDS) == list(rows[0])
    assert ["" for each in FIELDS if each.name in ("auid", "errno", "argv_base64")] == [
        rows[0][name] for name in ("auid", "errno", "argv_base64")
    ]
    assert rows[0]["inode"].isdecimal()


def test_the_page_is_up_to_date(tmp_path: Path) -> None:
    """`make pages` makes it anew."""
    made = tmp_path / "record.md"
    subprocess.run([sys.executable, "-m", "tools.record_page", made], cwd=CHECKOUT, check=True)

    assert made.read_text() == (CHECKOUT / "docs/record.md").read_text(), "stale: run `make pages`"
