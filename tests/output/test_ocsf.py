"""Events of OCSF: valid by the schema, as a package of it has it, whatever an exec's bytes are."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from execaudit.enums import Ended, GapReason, Kind
from execaudit.event import End, Gap, Nanoseconds
from execaudit.output import ocsf
from execaudit.output.record import gap_record, to_record
from tests.histories import changed, exec_of
from tests.output.test_record import EVENT

GAP = Gap("web-1", Nanoseconds(10**18), Nanoseconds(10**18 + 5_000_000), GapReason.RING_FULL, 12, 3, 33)


@cache
def validator(name: str) -> Draft202012Validator:
    """Returns what validates the events of a class; it refuses names that it does not know."""
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(ocsf.VERSION))
    return Draft202012Validator(schema.get_class_schema(name, profiles=["host", "container"]))


def valid(event: dict[str, Any], name: str = "process_activity") -> dict[str, Any]:
    """Returns an event that is valid."""
    errors = [f"{error.json_path}: {error.message}" for error in validator(name).iter_errors(event)]
    assert not errors
    return event


def test_the_validator_refuses() -> None:
    """What is wrong, and what is unknown: else the other tests say nothing."""
    (launch,) = ocsf.events(EVENT)
    for wrong in ({**launch, "time": "now"}, {**launch, "comm": "ls"}, {**launch, "actor": {}}):
        assert not validator("process_activity").is_valid(wrong)


def test_a_launch_and_its_terminate() -> None:
    """A program that ended is two events of one process."""
    event = changed(EVENT, end=End(Ended.EXITED, code=3, duration_ns=1_000_000_001))
    launch, terminate = map(valid, ocsf.events(event))

    assert (100701, "Exec", 1) == (launch["type_uid"], launch["launch_type"], launch["status_id"])
    assert (100702, 3, 1000) == (terminate["type_uid"], terminate["exit_code"], terminate["duration"])
    assert launch["process"]["uid"] == terminate["process"]["uid"] == event.id
    assert launch["time"] + 1000 == terminate["time"] == terminate["process"]["terminated_time"]
    assert "launch_type_id" not in terminate


def test_the_process_and_who_started_it() -> None:
    """The names of OCSF have the record's values."""
    (launch,) = ocsf.events(EVENT)
    process = launch["process"]

    assert (4242, 4243, "ls", "/usr/bin/ls") == tuple(
        process[name] for name in ("pid", "tid", "name", "path")
    )
    assert "ls -l 'my file'" == process["cmd_line"]
    assert {"uid": "1000", "name": "alice"} == process["user"] == launch["actor"]["user"]
    assert {"uid": "3", "terminal": "pts/3"} == process["session"]
    assert (4200, "bash") == (process["parent_process"]["pid"], process["parent_process"]["name"])
    assert {"uid": "ab" * 32} == process["container"]
    assert ("ls", "1234567") == (process["file"]["name"], process["file"]["uid"])
    assert ("web-1", EVENT.boot_id) == (launch["device"]["hostname"], launch["device"]["boot_uid"])


def test_nothing_is_lost() -> None:
    """What has no place in OCSF is unmapped, by its name in the record, and so is the exact time."""
    record = to_record(EVENT)
    (launch,) = ocsf.events(EVENT)

    assert {
        name: value for name, value in record.items() if name not in ocsf.MAPPED and value is not None
    } == launch["unmapped"]
    assert "2026-11-22T14:05:07.123456789Z" == launch["unmapped"]["time"]


def test_a_failed_exec_and_a_snapshot() -> None:
    """A launch that failed; and what ran already, which nobody launched."""
    (failed,) = map(valid, ocsf.events(changed(EVENT, kind=Kind.FAILED, errno=2)))
    (running,) = map(valid, ocsf.events(changed(EVENT, kind=Kind.SNAPSHOT, end=End(Ended.RUNNING))))

    assert (100701, 2, "ENOENT") == (failed["type_uid"], failed["status_id"], failed["status_code"])
    assert "created_time" not in failed["process"]
    assert (100799, "Running") == (running["type_uid"], running["activity_name"])
    assert "launch_type_id" not in running


def test_a_program_that_was_replaced_goes_on() -> None:
    """The process did not terminate."""
    (launch,) = map(valid, ocsf.events(changed(EVENT, end=End(Ended.REPLACED, duration_ns=5))))

    assert "replaced" == launch["unmapped"]["ended"]


def test_of_a_gap() -> None:
    """It is another activity of the log, and valid too; also one that has no end."""
    event = valid(ocsf.gap_event(gap_record(GAP)), "event_log_actvity")
    endless = {**gap_record(GAP), "from": None, "to": None, "host": None, "count": None}

    assert (100899, "ring_full", 12) == (
        event["type_uid"],
        event["status_detail"],
        event["unmapped"]["count"],
    )
    assert 5 == event["end_time"] - event["start_time"]
    valid(ocsf.gap_event(endless), "event_log_actvity")


@given(
    st.binary(max_size=40),
    st.sampled_from(list(Kind)),
    st.none() | st.integers(0, 2**64 - 1),
    st.none() | st.binary(max_size=20).map(lambda raw: raw.replace(b"\0", b"/")),
)
def test_whatever_the_bytes_are(argv: bytes, kind: Kind, inode: int | None, path: bytes | None) -> None:
    """Hostile arguments and names, and values that are not known, make valid events."""
    event = exec_of(
        kind=kind, host="h", boot_id=EVENT.boot_id, time_ns=Nanoseconds(1), boot_ns=Nanoseconds(1), pid=7, tid=7,
        ppid=None if path is None else 1, argv=argv + b"\0", argc=None, argv_bytes=None, holes=(), truncated=None,
        errno=2 if kind is Kind.FAILED else None, exe=path, comm=path, cwd=path, cgroup=path, inode=inode, tty=path,
    )  # fmt: skip
    for each in ocsf.events(event):
        valid(each)


@pytest.mark.parametrize("name", ["process_activity", "event_log_actvity"])
def test_the_schema_has_the_classes(name: str) -> None:
    """So a typo in a name would not make a validator of nothing."""
    schema = validator(name).schema
    assert isinstance(schema, dict)
    assert {"class_uid", "time"} <= set(schema["required"])
