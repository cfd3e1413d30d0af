"""Traces: a span for each exec, in the format that Perfetto reads."""

from __future__ import annotations

import json
from typing import Any

from execaudit.enums import Ended, GapReason, Kind
from execaudit.event import End, Gap, Nanoseconds
from execaudit.output import trace
from execaudit.output.record import gap_record, to_record
from tests.histories import changed
from tests.output.test_record import EVENT

EPOCH = Nanoseconds(EVENT.time_ns - 1_500)


def of(**values: Any) -> list[dict[str, Any]]:  # noqa: ANN401  # any field
    """Returns the events of an exec with some fields changed."""
    return list(trace.events(changed(EVENT, **values), EPOCH))


def test_a_program_that_ended_is_a_span() -> None:
    """In microseconds, to the nanosecond; its process has a track with a name."""
    name, span = of(end=End(Ended.EXITED, code=0, duration_ns=2_000_001))

    assert {"name": "process_name", "ph": "M", "pid": 4242, "args": {"name": "ls"}} == name
    assert ("X", 1.5, 2000.001, 4242, 4242) == tuple(span[key] for key in ("ph", "ts", "dur", "pid", "tid"))
    assert "ls -l 'my file'" == span["args"]["command"]


def test_all_that_is_known_is_in_its_arguments() -> None:
    """As in the record."""
    event = changed(EVENT, end=End(Ended.EXITED, code=0, duration_ns=2))
    known = {name: value for name, value in to_record(event).items() if value is not None}

    assert known == [*trace.events(event, EPOCH)][-1]["args"]


def test_an_exec_in_the_same_process_names_no_track() -> None:
    """The track has its name from the first one."""
    (span,) = of(replaces=True, end=End(Ended.EXITED, code=0, duration_ns=2))

    assert "X" == span["ph"]


def test_what_runs_has_no_end() -> None:
    """And what nobody saw the end of is a moment, as is an exec that failed."""
    phases = [
        of(end=End(Ended.RUNNING))[-1]["ph"],
        of(end=End(Ended.UNKNOWN))[-1]["ph"],
        of(end=None)[-1]["ph"],
        *(event["ph"] for event in of(kind=Kind.FAILED, errno=2)),
    ]

    assert ["B", "i", "i", "i"] == phases
    assert "./ls: ENOENT" == of(kind=Kind.FAILED, errno=2)[0]["name"]


def test_a_gap_has_its_own_track() -> None:
    """With how many execs are missing; one that goes on has no end."""
    gap = gap_record(
        Gap("web-1", Nanoseconds(EPOCH + 1000), Nanoseconds(EPOCH + 5000), GapReason.RING_FULL, 12)
    )
    shown = trace.gap_event(gap, EPOCH)
    endless = trace.gap_event({**gap, "from": None, "to": None}, EPOCH)

    assert ("X", 0, 1.0, 4.0, 12) == (
        shown["ph"],
        shown["pid"],
        shown["ts"],
        shown["dur"],
        shown["args"]["count"],
    )
    assert ("B", 0.0) == (endless["ph"], endless["ts"])


def test_the_text_is_one_object() -> None:
    """From head to tail, with nothing between them as well."""
    about = json.loads(trace.head(EPOCH) + trace.TAIL)["otherData"]

    assert str(EPOCH) == about["epoch_ns"]
    assert "2026-11-22T14:05:07.123455289Z" == about["epoch"]
