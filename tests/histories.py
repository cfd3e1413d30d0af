"""Make small histories with the real store, for tests of readers."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from execaudit.enums import GapReason, Kind
from execaudit.event import ExecEvent, ExitEvent, Gap, Hit, HuntRule, Nanoseconds
from execaudit.fields import Launch, Origin
from execaudit.store.prune_plan import Now
from execaudit.store.writer import Run, Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import pytest

    from execaudit.exec_id import ExecKey

SECOND = 1_000_000_000
START = 1_795_370_919
"""The wall clock, in seconds, at which these histories begin; 2026-11-22 18:08:39 UTC."""
HOST = "web1"
BOOT_ID = "11111111-2222-4333-8444-555555555555"
_BOOTED_NS = (START - 1000) * SECOND


def at(seconds: float) -> Nanoseconds:
    """Returns the moment that is so many seconds after START."""
    return Nanoseconds(START * SECOND + round(seconds * SECOND))


def now_at(seconds: float, boot_id: str = BOOT_ID) -> Now:
    """Returns the same moment, on the clocks of the boot."""
    return Now(boot_id, at(seconds), at(seconds) - _BOOTED_NS)


def set_clock(patch: pytest.MonkeyPatch, seconds: float) -> None:
    """Sets the clocks to that moment."""
    _, wall_ns, boot_ns, _ = now_at(seconds)
    patch.setattr("execaudit.system.clock.wall_ns", lambda: wall_ns)
    patch.setattr("execaudit.system.clock.boot_ns", lambda: boot_ns)


def make_event(*arguments: bytes, seconds: float = 0, **overrides: Any) -> ExecEvent:  # noqa: ANN401  # any field
    """Returns an ordinary exec of these arguments, with some fields overridden."""
    argv = b"".join(argument + b"\0" for argument in arguments)
    time_ns = overrides.get("time_ns", at(seconds))
    plain: dict[str, Any] = {
        "kind": Kind.EXEC,
        "host": HOST,
        "boot_id": BOOT_ID,
        "time_ns": time_ns,
        "boot_ns": time_ns - _BOOTED_NS,
        "pid": 4242,
        "tid": overrides.get("pid", 4242),
        "ppid": 4241,
        "uid": 0,
        "euid": 0,
        "gid": 0,
        "user": "root",
        "comm": b"true",
        "filename": b"/bin/true",
        "exe": b"/usr/bin/true",
        "cwd": b"/",
        "argv": argv,
        "argc": len(arguments),
        "argv_bytes": len(argv),
        "holes": (),
        "truncated": None,
        "errno": None,
    }
    return exec_of(**{**plain, **overrides})


def make_ran(*arguments: bytes, **overrides: Any) -> ExecEvent:  # noqa: ANN401  # any field
    """Returns an ordinary exec of these arguments, of which the first says the program that runs."""
    image = b"/usr/bin/" + arguments[0]
    return make_event(*arguments, **{"filename": image, "exe": image, **overrides})


def exec_of(**values: Any) -> ExecEvent:  # noqa: ANN401  # any field
    """Returns an exec of these values, also those of its launch and origin, by their names."""
    launch, origin = (
        part(**{name: values.pop(name) for name in part._fields if name in values})
        for part in (Launch, Origin)
    )
    return ExecEvent(launch=launch, origin=origin, **values)  # type: ignore[arg-type]  # as the loop has them


def changed(event: ExecEvent, **values: Any) -> ExecEvent:  # noqa: ANN401  # any field
    """Returns an exec with other values, each by its own name wherever it stands in the event."""
    parts: dict[str, Any] = {}
    for name in ("launch", "origin"):
        part = getattr(event, name)
        parts[name] = part._replace(**{each: values.pop(each) for each in part._fields if each in values})
    return event._replace(**parts, **values)


def make_exit(ended: ExecKey, seconds: float, status: int = 0) -> ExitEvent:
    """Returns the end of a program so many seconds after START."""
    return ExitEvent(ended, at(seconds), Nanoseconds(at(seconds) - _BOOTED_NS), ended.task, status)


def make_gap(begin: float, end: float, count: int | None = 7, exits: int = 0) -> Gap:
    """Returns a gap between two numbers of seconds after START."""
    return Gap(HOST, at(begin), at(end), GapReason.RING_FULL, count, exits)


def make_hit(number: int, title: str = "a rule", level: str | None = "high", left_out: int = 0) -> Hit:
    """Returns a hit of the exec in this row."""
    rule = HuntRule(None, title, level, ("attack.t1059",), f"{title}.yml")
    return Hit(number, rule, left_out, "an id", at(0), HOST, 1, 0, "root", "a", "/bin/a")


def make_history(
    path: Path, events: Iterable[ExecEvent], gaps: Sequence[Gap] = (), exits: Iterable[ExitEvent] = ()
) -> Path:
    """Stores events, a run for each change of host, and gaps and ends with the first. Returns the path."""
    with Store(path) as store:
        for host, of_host in groupby(events, lambda event: event.host):
            begin_run(store, host)
            store.append(of_host, gaps, exits)
            gaps, exits = (), ()
            store.end_run(at(1000))
    return path


def begin_run(store: Store, host: str = HOST) -> None:
    """Starts a run, to which events can then be appended."""
    store.begin_run(Run(boot_id=BOOT_ID, host=host, version="0", started_ns=at(-1)))
