"""The histories that `make bench` asks: what they are made of is what `Making` says."""

from __future__ import annotations

import re
from collections import Counter
from itertools import islice, pairwise
from typing import TYPE_CHECKING

import pytest

from bench import auditlog, history
from bench.history import Making
from execaudit.enums import Kind
from execaudit.event import ExecEvent
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.query.find import count, find
from execaudit.query.summary import summary

if TYPE_CHECKING:
    from pathlib import Path

    from execaudit.exec_id import ExecKey

EXECS = 30_000


class Made:
    """A whole history in memory."""

    def __init__(self, execs: int) -> None:
        self.making = Making(execs)
        self.batches = list(self.making.batches())
        self.events = [event for _, events, _ in self.batches for event in events]
        self.exits = [end for _, _, exits in self.batches for end in exits]


@pytest.fixture(scope="module")
def made() -> Made:
    """Makes one for all tests, which change nothing of it."""
    return Made(EXECS)


def share(events: list[ExecEvent], wanted: int) -> float:
    """Returns which share of events so many are."""
    return wanted / len(events)


def test_the_same_number_makes_the_same_history() -> None:
    """Each run measures the same; another number is another history."""
    first, second = (list(islice(Making(EXECS).batches(), 3)) for _ in range(2))

    assert first == second
    assert first != list(islice(Making(EXECS + 1).batches(), 3))


@pytest.mark.parametrize("execs", [1, 999, 5000])
def test_there_are_as_many_as_were_asked_for(execs: int) -> None:
    """In batches as the recorder's, none of two boots."""
    batches = list(Making(execs).batches())

    assert execs == sum(len(events) for _, events, _ in batches)
    assert all(0 < len(events) <= 500 for _, events, _ in batches)
    assert all({boot} == {event.boot_id for event in events} for boot, events, _ in batches)


def test_events_are_what_the_recorder_makes(made: Made) -> None:
    """They are made by position: each value is of its field's kind, and sizes are those of the bytes."""
    for event in made.events:
        rebuilt = ExecEvent(**event._asdict())
        assert rebuilt == event
        assert isinstance(event.time_ns, int)
        assert isinstance(event.ppid, int)
        assert isinstance(event.launch.user, str)
        assert isinstance(event.launch.comm, bytes)
        assert isinstance(event.origin.cgroup, bytes)
        assert isinstance(event.origin.tty, bytes | None)
        assert isinstance(event.replaces, bool)
        assert event.argv.endswith(b"\0")
        assert (event.argc, event.argv_bytes) == (event.argv.count(b"\0"), len(event.argv))
        assert (event.errno is not None) == (event.kind is Kind.FAILED)


def test_the_mix_is_what_is_said(made: Made) -> None:
    """80 % of 20 000 lines, 20 % unique, some in folders of their own, some no UTF-8, some fail."""
    events = made.events
    lines = Counter(event.argv for event in events)
    once = sum(1 for event in events if event.argv.startswith((b"cc1\0", b"x86_64-linux-gnu", b"job\0")))
    own = {event.launch.cwd for event in events if (event.launch.cwd or b"").startswith(b"/build/")}

    assert pytest.approx(0.2, abs=0.01) == share(events, once)
    assert pytest.approx(0.03, abs=0.005) == share(events, len(own))
    assert pytest.approx(0.03, abs=0.005) == share(events, sum(e.kind is Kind.FAILED for e in events))
    assert pytest.approx(0.002, abs=0.0008) == share(events, sum(not _is_text(e.argv) for e in events))
    # Zipf: the most frequent line's weight is 1.
    weights = sum(rank**-1.1 for rank in range(1, 20_001))
    assert pytest.approx(0.8 / weights, rel=0.1) == share(events, lines.most_common(1)[0][1])
    cgroups = {event.origin.cgroup for event in events}
    assert 300 == len(cgroups)
    assert 120 == sum(len(cgroup or b"") > 150 for cgroup in cgroups)
    assert 100_000 == pytest.approx(max(len(event.argv) for event in events), rel=0.1)
    assert history.RARE in b"".join(lines)
    assert 11 == sum(history.RARE in line for line in lines)


def test_a_few_lines_are_huge() -> None:
    """Of more than a megabyte, in the second half of each half million."""
    argv, _, _ = Making(1000).unique(400_005, 0.9)

    assert 1_100_000 < len(argv) < 1_300_000


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_a_month_has_bursts_boots_and_clock_steps(made: Made) -> None:
    """Times never go back, but for the clock's steps; most execs come right after another."""
    events = made.events
    pauses = [later.time_ns - earlier.time_ns for earlier, later in pairwise(events)]
    offsets = {(e.boot_id, e.time_ns - e.boot_ns) for e in events}

    # An hour back, less the pause just then; that of half a second is shorter than most pauses.
    assert -3_600_000_000_000 < min(pauses) < -1_000_000_000_000
    assert share(events, sum(pause < 10_000_000 for pause in pauses)) > 0.85
    assert 28 < (events[-1].time_ns - events[0].time_ns) / 86_400e9 < 32
    assert 3 == len({event.boot_id for event in events})
    assert 5 == len(offsets)


def test_parents_come_before_their_children(made: Made) -> None:
    """Each names an exec of its boot that is there, and had not failed; `ppid` is its process."""
    seen: dict[ExecKey, ExecEvent] = {}
    children = 0
    for event in made.events:
        if event.parent is not None:
            children += 1
            parent = seen[event.parent]
            assert event.parent.task == (event.pid if event.replaces else event.ppid)
            assert parent.boot_ns < event.boot_ns
        if event.kind is Kind.EXEC:
            assert event.key not in seen
            seen[event.key] = event

    assert share(made.events, children) > 0.85


def test_most_programs_end_and_those_that_are_known_only(made: Made) -> None:
    """95 % of what did not fail, once each, after they began."""
    began = {event.key: event.boot_ns for event in made.events if event.kind is Kind.EXEC}
    ends = Counter(end.exec for end in made.exits)

    assert pytest.approx(0.95, abs=0.01) == len(ends) / len(began)
    assert {1} == set(ends.values())
    assert all(began[end.exec] < end.boot_ns for end in made.exits)


def test_what_is_written_is_found(tmp_path: Path) -> None:
    """By the recorder's writer, and the questions that are measured."""
    path = tmp_path / "history.db"
    known, curve = history.write(path, 6000)
    again = Made(6000)

    assert known.execs == 6000 == curve[-1].execs
    with open_history(path) as connection:
        assert 6000 == summary(connection).execs
        sample = again.events[::500]
        for event in sample:
            wanted = Filter(pids=(event.pid,), since_ns=event.time_ns)
            found = [each.event for each in find(connection, wanted)]
            assert event._replace(end=None) in [each._replace(end=None) for each in found]
        assert known.exec_id in {each.event.id for each in find(connection, Filter(pids=(known.pid,)))}
        assert 11 == count(connection, Filter(args=(history.RARE,)))
        [family] = [number for number, event in enumerate(again.events, 1) if event.id == known.family_id]
        assert known.family == 599 == count(connection, Filter(under=(family,)))


def test_an_audit_log_has_what_auditd_writes(made: Made) -> None:
    """Each record names its exec; a failed one has no arguments, long lines have several records of them."""
    for serial, event in enumerate(made.events[:3000], 1):
        lines = list(auditlog.records(event, serial))
        types = [line.split(b" ", 1)[0].removeprefix(b"type=") for line in lines]
        assert types[0] == b"SYSCALL"
        assert types[-1] == b"PROCTITLE"
        assert types.count(b"PATH") == 2
        assert all(b":%d): " % serial in line for line in lines)
        assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)
        assert max(map(len, lines)) < 8000
        said = [
            word.partition(b"=")[2]
            for line in lines
            if line.startswith(b"type=EXECVE")
            for word in line.split()
            if re.match(rb"a\d+=", word)
        ]
        assert (event.kind is Kind.FAILED) == (not said)
        if said:
            assert event.argv == b"".join(_unquoted(word) + b"\0" for word in said)


def _unquoted(word: bytes) -> bytes:
    return word[1:-1] if word.startswith(b'"') else bytes.fromhex(word.decode())
