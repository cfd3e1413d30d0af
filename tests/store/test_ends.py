"""The end of an exec is stored with it, in a later batch, or apart when the exec was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from execaudit.enums import Ended, Kind
from execaudit.event import End
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from tests.histories import SECOND, at, make_event, make_exit
from tests.store.recording import ENDS, REFUSED, child_of, execute, recording_to, rows, stored

if TYPE_CHECKING:
    from pathlib import Path

_LATER_ENDS = "SELECT exec_id, duration_ns, status, replaced_by FROM exit ORDER BY exec_id"


def test_ends_are_stored_with_their_execs(path: Path) -> None:
    """An end is found in its exec's batch, in a later one, and by a later recorder of the boot."""
    execs = [make_event(b"%d" % n, seconds=n, pid=n) for n in range(1, 5)]
    with recording_to(path) as opened:
        opened.append(execs, (), [make_exit(execs[0].key, 5.5, 256)])
        opened.append([], (), [make_exit(execs[1].key, 6, 9)])
    with recording_to(path) as opened:
        opened.append([], (), [make_exit(execs[2].key, 7, 139)])

    assert [(1, 4_500_000_000, 256, None)] == rows(path, ENDS)
    assert [(2, 4 * SECOND, 9, None), (3, 4 * SECOND, 139, None)] == rows(path, _LATER_ENDS)
    with open_history(path) as connection:
        ends = [found.event.end for found in find.find(connection, Filter())]
    assert [
        End(Ended.EXITED, code=1, duration_ns=4_500_000_000),
        End(Ended.SIGNALED, signal=9, duration_ns=4 * SECOND),
        End(Ended.SIGNALED, signal=11, duration_ns=4 * SECOND),
        End(Ended.UNKNOWN),
    ] == ends


def test_being_replaced_is_an_end(path: Path) -> None:
    """The next exec of a process ends the one before, also one of an earlier batch; a fork's does not."""
    first = make_event(b"a", seconds=1)
    second = child_of(first, 2, replaces=True)
    with recording_to(path) as opened:
        opened.append([first, second])
        opened.append([child_of(second, 5, replaces=True)])
        opened.append([child_of(second, 6)])

    assert [(1, SECOND, None, 2)] == rows(path, ENDS)
    assert [(2, 3 * SECOND, None, 3)] == rows(path, _LATER_ENDS)
    with open_history(path) as connection:
        found = [found.event for found in find.find(connection, Filter())]
    assert [found[1].key, found[2].key] == [event.end and event.end.replaced_by for event in found[:2]]
    assert [False, True, True, False] == [event.replaces for event in found]


def test_a_second_end_is_ignored(path: Path) -> None:
    """The first one holds, and the batch is stored all the same."""
    event = make_event(b"a", seconds=1)
    with recording_to(path) as opened:
        opened.append([event], (), [make_exit(event.key, 2, 0), make_exit(event.key, 3, 9)])
        opened.append([make_event(b"b", seconds=4)], (), [make_exit(event.key, 5, 9)])

    with open_history(path) as connection:
        ended, running = find.find(connection, Filter())
    assert End(Ended.EXITED, code=0, duration_ns=SECOND) == ended.event.end
    assert End(Ended.UNKNOWN) == running.event.end


def test_the_end_of_a_lost_exec_is_kept_apart(path: Path) -> None:
    """What ended, when, and after how long is known, though not what it was; a failed exec cannot end."""
    lost, failed = make_event(b"lost", seconds=1, pid=7), make_event(b"a", seconds=2, kind=Kind.FAILED)
    with recording_to(path) as opened:
        opened.append([failed], (), [make_exit(lost.key, 3.5, 9), make_exit(failed.key, 4)])

    assert [(at(3.5), 7, 2_500_000_000, 9), (at(4), 4242, 2 * SECOND, 0)] == rows(
        path, "SELECT ts, pid, duration_ns, status FROM stray_exit ORDER BY id"
    )
    assert [] == rows(path, "SELECT * FROM exit")


def test_a_refused_end_takes_its_execs_with_it(path: Path) -> None:
    """Execs and ends are stored together, so that they can be tried again together."""
    event, more = make_event(b"a", seconds=1), make_exit(make_event(b"lost").key, 3)
    with recording_to(path) as opened:
        execute(path, "ALTER TABLE stray_exit RENAME TO away")
        with pytest.raises(REFUSED, match="no such table: stray_exit"):
            opened.append([event], (), [make_exit(event.key, 2), more])
        assert [] == stored(path)
        execute(path, "ALTER TABLE away RENAME TO stray_exit")
        opened.append([event], (), [make_exit(event.key, 2), more])

    assert [event] == stored(path)
    assert [(1, SECOND, 0, None)] == rows(path, ENDS)
    assert [(1,)] == rows(path, "SELECT count(*) FROM stray_exit")
