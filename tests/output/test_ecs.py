"""Documents of the Elastic Common Schema: each field of the record is in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from execaudit.enums import Ended, GapReason, Kind
from execaudit.event import End, Gap, Nanoseconds
from execaudit.fields import FIELDS
from execaudit.output import ecs
from execaudit.output.record import gap_record, to_record
from tests.histories import changed, exec_of
from tests.output.test_record import EVENT

# Types in ECS 8.17 (generated/csv/fields.csv of github.com/elastic/ecs, tag v8.17.0).
KEYWORD, LONG, DATE = str, int, str
SCHEMA: dict[str, object] = {
    "@timestamp": DATE, "ecs.version": KEYWORD, "container.id": KEYWORD, "error.code": KEYWORD,
    "event.action": KEYWORD, "event.category": [KEYWORD], "event.dataset": KEYWORD, "event.duration": LONG, "event.end": DATE,
    "event.kind": KEYWORD, "event.module": KEYWORD, "event.outcome": KEYWORD, "event.reason": KEYWORD, "event.start": DATE,
    "event.type": [KEYWORD], "file.device": KEYWORD, "file.inode": KEYWORD, "file.path": KEYWORD, "host.boot.id": KEYWORD,
    "host.hostname": KEYWORD, "host.name": KEYWORD, "process.args": [KEYWORD], "process.args_count": LONG,
    "process.command_line": KEYWORD, "process.end": DATE, "process.entity_id": KEYWORD, "process.executable": KEYWORD,
    "process.exit_code": LONG, "process.group.id": KEYWORD, "process.name": KEYWORD, "process.parent.entity_id": KEYWORD,
    "process.parent.name": KEYWORD, "process.parent.pid": LONG, "process.pid": LONG, "process.real_group.id": KEYWORD,
    "process.real_user.id": KEYWORD, "process.real_user.name": KEYWORD, "process.start": DATE, "process.thread.id": LONG,
    "process.user.id": KEYWORD, "process.working_directory": KEYWORD, "user.effective.id": KEYWORD, "user.id": KEYWORD,
    "user.name": KEYWORD,
}  # fmt: skip
# The values that ECS allows for these.
ALLOWED = {
    "event.kind": {"event", "state", "pipeline_error"},
    "event.type": {"start", "end", "info"},
    "event.outcome": {"success", "failure"},
    "event.category": {"process"},
}


def flat(document: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Returns a document with dotted keys."""
    found: dict[str, Any] = {}
    for name, value in document.items():
        found |= flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return found


def checked(document: dict[str, Any]) -> dict[str, Any]:
    """Returns a document with dotted keys, after a look at its names, types and values."""
    keys = flat(document)
    for name, value in keys.items():
        if not name.startswith("execaudit."):
            kind = SCHEMA[name]
            values = value if isinstance(kind, list) else [value]
            assert {kind[0] if isinstance(kind, list) else kind} >= {type(each) for each in values}, name
            assert set(values) <= ALLOWED.get(name, set(values))
    return keys


@pytest.mark.parametrize("kind", list(Kind))
def test_each_field_has_a_place_in_the_schema(kind: Kind) -> None:
    """What the record has is in a field of ECS with its type, or under `execaudit`: nothing is lost."""
    event = changed(EVENT, kind=kind, errno=2 if kind is Kind.FAILED else None)
    record = to_record(event)
    (document,) = ecs.documents(event)
    keys = checked(document)

    assert {name for name in record if name not in ecs.PLACES} == {
        field.name for field in FIELDS if field.name not in ecs.PLACES and field.name in record
    }
    for name, value in record.items():
        for place in ecs.PLACES.get(name, (f"execaudit.{name}",)):
            shown = keys.get(place)
            assert shown == value or shown == str(value) or (value is None and shown is None), name


def test_a_start_and_an_end() -> None:
    """A program that ended has both in one document, with its times."""
    event = changed(EVENT, end=End(Ended.EXITED, code=3, duration_ns=1_000_000_001))
    (document,) = ecs.documents(event)

    assert ["start", "end"] == document["event"]["type"]
    assert {"code": 3} == {"code": document["process"]["exit_code"]}
    assert "2026-11-22T14:05:08.123456790Z" == document["event"]["end"] == document["process"]["end"]
    assert "success" == document["event"]["outcome"]


def test_a_failed_exec() -> None:
    """It is a start that failed, with the error's name; nothing started."""
    (document,) = ecs.documents(changed(EVENT, kind=Kind.FAILED, errno=13))

    assert ("failure", "EACCES") == (document["event"]["outcome"], document["error"]["code"])
    assert "start" not in document["process"]


def test_what_is_not_known_is_left_out() -> None:
    """Never null, never 0."""
    bare = exec_of(
        kind=Kind.EXEC, host="h", boot_id="8f6a1c2e-1111-4222-8333-444455556666", time_ns=Nanoseconds(1), boot_ns=Nanoseconds(1),
        pid=7, tid=7, ppid=None, argv=b"", argc=None, argv_bytes=None, holes=(), truncated=None, errno=None,
    )  # fmt: skip
    (document,) = ecs.documents(bare)

    assert None not in checked(document).values()
    assert "user" not in document
    assert "parent" not in document["process"]


def test_a_gap() -> None:
    """It is an error of the pipeline, from when to when, and says how many execs are missing."""
    gap = Gap("web-1", Nanoseconds(10**18), Nanoseconds(10**18 + 5), GapReason.RING_FULL, 12, 3, 33)
    keys = checked(ecs.gap_document(gap_record(gap)))

    assert ("pipeline_error", "ring_full") == (keys["event.kind"], keys["event.reason"])
    assert (12, 3, 33) == tuple(keys[f"execaudit.gap.{name}"] for name in ("count", "exits", "uid"))
    assert "2001-09-09T01:46:40.000000000Z" == keys["@timestamp"] == keys["event.start"]
    assert "2001-09-09T01:46:40.000000005Z" == keys["event.end"]


def test_the_page_has_all_places() -> None:
    """docs/exporting.md says where each field is."""
    page = (Path(__file__).parents[2] / "docs" / "exporting.md").read_text(encoding="utf-8")
    section = page.partition("## ECS")[2].partition("\n## ")[0]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| `")]

    for name, places in ecs.PLACES.items():
        (row,) = [row for row in rows if f"`{name}`" in row[1]]
        assert all(f"`{place}`" in row[2] for place in places), name
