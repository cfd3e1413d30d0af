"""The parent of an exec is found, in whatever batch it was stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from execaudit.enums import Kind
from execaudit.event import Nanoseconds
from execaudit.store import interning
from execaudit.store.writer import Run, Store
from tests.histories import SECOND, at, make_event
from tests.store.recording import POISON, child_of, recording_to, rows

if TYPE_CHECKING:
    from pathlib import Path


def parents(path: Path) -> list[tuple[Any, ...]]:
    """Returns each exec's row number and its parent's."""
    return rows(path, "SELECT id, parent_id FROM exec ORDER BY id")


def test_a_parent_is_found_in_its_batch_and_in_earlier_ones(path: Path) -> None:
    """Parents stand before their children, in whatever order they come, and whatever the clock did."""
    first = make_event(b"a", seconds=1)
    stepped = make_event(b"b", seconds=2, parent=first.key, pid=2)
    stepped = stepped._replace(time_ns=Nanoseconds(first.time_ns - 500 * SECOND))
    with recording_to(path) as opened:
        opened.append([child_of(stepped, 3), stepped, first])
        opened.append([child_of(stepped, 5), child_of(first, 4)])

    assert [(1, None), (2, 1), (3, 2), (4, 1), (5, 2)] == parents(path)


def test_what_ran_at_the_beginning_keeps_its_order(path: Path) -> None:
    """Snapshot rows have the same time, and each stands after its parent's when they come."""
    init = make_event(b"init", seconds=1, pid=1, kind=Kind.SNAPSHOT)
    shells = [child_of(init, 1, pid=pid, kind=Kind.SNAPSHOT) for pid in (9, 5, 7)]
    with recording_to(path) as opened:
        opened.append([child_of(shells[1], 3), init, *shells])

    assert [(1, None), (2, 1), (3, 1), (4, 1), (5, 3)] == parents(path)


def test_a_forgotten_parent_is_looked_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The history knows what the store forgot, of earlier recorders of this boot too; not of another."""
    monkeypatch.setattr(interning, "_MEGABYTE", 1000)
    other_boot = "99999999-2222-4333-8444-555555555555"
    with Store(path) as opened:
        opened.begin_run(Run(boot_id=other_boot, host="web1", version="0", started_ns=at(0)))
        opened.append([make_event(b"other", seconds=1, boot_id=other_boot)])
    with recording_to(path) as opened:
        opened.append([make_event(b"a", seconds=1)])
    with recording_to(path) as opened:
        opened.append([make_event(b"b", seconds=2 + n, pid=n) for n in range(9)])
        opened.append([child_of(make_event(b"a", seconds=1), 20)])
        opened.append([child_of(make_event(b"b", seconds=2, pid=0), 21)])
        opened.append([child_of(make_event(b"b", seconds=2, pid=1), 22)])

    assert [(12, 2), (13, 3), (14, None)] == parents(path)[-3:]


def test_a_failed_exec_is_no_parent(path: Path) -> None:
    """Nothing ran: what has the same key, as one of a thread has, is not found for a parent."""
    failed = make_event(b"a", seconds=1, kind=Kind.FAILED, errno=2)
    for _ in range(2):
        with recording_to(path) as opened:
            opened.append([failed, child_of(failed, 2)])
        failed = failed._replace(argv=b"b\0")

    assert [(1, None), (2, None), (3, None), (4, None)] == parents(path)


def test_a_parent_that_is_not_there_is_unknown(path: Path) -> None:
    """A lost parent leaves its children without one; when it comes late, the next ones have it."""
    lost = make_event(b"lost", seconds=1)
    with recording_to(path) as opened:
        opened.append([child_of(lost, 2), child_of(lost, 3, replaces=True)])
        opened.append([lost])
        opened.append([child_of(lost, 4)])

    assert [(1, None), (2, None), (3, None), (4, 3)] == parents(path)
    assert [] == rows(path, "SELECT * FROM exit")


def test_a_parent_that_was_not_stored_is_not_remembered(path: Path) -> None:
    """What a failed batch would have been is nobody's parent, and its number somebody else's."""
    with recording_to(path) as opened:
        with pytest.raises(OverflowError):
            opened.append([make_event(b"a", seconds=1), POISON])
        opened.append([make_event(b"b", seconds=2), child_of(make_event(b"a", seconds=1), 3)])

    assert [(1, None), (2, None)] == parents(path)
