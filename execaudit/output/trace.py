"""Write execs as a trace that Perfetto shows: a span for each exec, processes as tracks. Pure.

Source: the JSON format of https://perfetto.dev/docs/getting-started/other-formats, and its specification
"Trace Event Format". Times there are microseconds in a float, so they are counted from `epoch_ns`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from execaudit import __version__
from execaudit.enums import Ended, Kind
from execaudit.output.json_lines import json_text
from execaudit.output.record import to_record
from execaudit.times import utc_ns, utc_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from execaudit.event import ExecEvent, Nanoseconds

_MICROSECOND = 1000
# Not a process: the track of gaps.
_GAPS = 0


def head(epoch_ns: Nanoseconds, seals: Sequence[Mapping[str, Any]] = ()) -> str:
    """Returns what begins a trace whose times are counted from `epoch_ns`; `seals` are records."""
    about = {
        "recorder": "execaudit",
        "version": __version__,
        "epoch_ns": str(epoch_ns),
        "epoch": utc_text(epoch_ns),
        "seals": json_text(seals),
    }
    first = {"name": "process_name", "ph": "M", "pid": _GAPS, "args": {"name": "gaps: execs were missed"}}
    return f'{{"displayTimeUnit":"ns","otherData":{json_text(about)},"traceEvents":[\n{json_text(first)}'


TAIL = "\n]}\n"


def events(event: ExecEvent, epoch_ns: Nanoseconds) -> Iterator[dict[str, Any]]:
    """Yields the name of a process's track, if the exec is its first, and the span of the exec.

    A failed exec, and one whose end nobody knows, is a moment. One that has not ended has no end either.
    """
    args = {name: value for name, value in to_record(event).items() if value is not None}
    name = str(args.get("comm", args["command"]))
    common = {"pid": event.pid, "tid": event.pid, "ts": (event.time_ns - epoch_ns) / _MICROSECOND}
    if event.kind is Kind.FAILED:
        what = f"{args.get('filename', name)}: {args.get('errno', 'failed')}"
        yield {"name": what, "cat": "failed", "ph": "i", "s": "t", **common, "tid": event.tid, "args": args}
        return
    if not event.replaces:
        yield {"name": "process_name", "ph": "M", "pid": event.pid, "args": {"name": name}}
    span = {"name": name, "cat": event.kind.value, **common, "args": args}
    end = event.end
    if end is not None and end.duration_ns is not None:
        yield {**span, "ph": "X", "dur": end.duration_ns / _MICROSECOND}
    elif end is not None and end.how is Ended.RUNNING:
        yield {**span, "ph": "B"}
    else:
        yield {**span, "ph": "i", "s": "t"}


def gap_event(gap: Mapping[str, Any], epoch_ns: Nanoseconds) -> dict[str, Any]:
    """Returns a gap, of which this is the record, on a track of its own."""
    start, end = (None if gap[name] is None else utc_ns(gap[name]) - epoch_ns for name in ("from", "to"))
    begin = 0 if start is None else start
    shown = {
        "name": f"gap: {gap['reason']}", "cat": "gap", "pid": _GAPS, "tid": _GAPS, "ts": begin / _MICROSECOND,
        "args": {name: value for name, value in gap.items() if value is not None},
    }  # fmt: skip
    if end is None:
        return {**shown, "ph": "B"}
    return {**shown, "ph": "X", "dur": max(end - begin, 0) / _MICROSECOND}
