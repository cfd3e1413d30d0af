"""Equal values are stored once, and the memory for that is bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from execaudit.store import interning
from tests.histories import make_event
from tests.store.recording import TABLES, from_somewhere, recording_to, rows, stored

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_forgotten_is_stored_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few values the store remembers, every exec keeps its own."""
    monkeypatch.setattr(interning, "_MEGABYTE", 1000)
    monkeypatch.setattr(interning, "LONGEST_REMEMBERED", 3)
    values = [b"a", b"bb", b"ccc", b"dddd", b"a", b"dddd", b"bb", b"", b"a"]
    execs = [
        make_event(v, comm=v, exe=v, filename=v, user=v.decode(), seconds=n) for n, v in enumerate(values)
    ]
    with recording_to(path) as opened:
        opened.append(execs)
        opened.append(execs)

    assert execs * 2 == stored(path)


def test_equal_values_are_stored_once(path: Path) -> None:
    """Values that the store remembers have one row, whatever their number of execs and batches."""
    with recording_to(path) as opened:
        opened.append([make_event(b"a")] * 3)
        opened.append([make_event(b"a")])

    # filename, exe and cwd differ in make_event
    assert [(1, 3, 1, 1, 0, 1, 1)] == rows(
        path, f"SELECT {', '.join(f'(SELECT count(*) FROM {table})' for table in (*TABLES, 'clock'))}"
    )


def test_where_execs_come_from_is_stored_once(path: Path) -> None:
    """Origins and launches that the store remembers have one row; those of which nothing is known none."""
    nothing = dict.fromkeys(("uid", "euid", "gid", "user", "comm", "filename", "exe", "cwd"))
    unknown = make_event(b"a", seconds=6, **nothing)
    with recording_to(path) as opened:
        opened.append([from_somewhere(n) for n in range(3)])
        opened.append([from_somewhere(4, tty=None), from_somewhere(5, nlink=0), unknown])

    assert [(2, 2)] == rows(path, "SELECT (SELECT count(*) FROM origin), (SELECT count(*) FROM launch)")
    assert [(None, None)] == rows(path, "SELECT origin_id, launch_id FROM exec WHERE id = 6")
    assert unknown == stored(path)[-1]


@pytest.mark.parametrize("length", [1, 300])
def test_what_is_remembered_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    """However much is stored, the store holds some values of each kind, and the latest; fewer if long."""
    monkeypatch.setattr(interning, "_MEGABYTE", 40_000)
    with recording_to(path) as opened:
        for start in range(0, 2000, 20):
            values = [b"%d" % number * length for number in range(start, start + 20)]
            opened.append(
                from_somewhere(n, comm=v, exe=v, user=v.decode(), argv=v + b"\0", tty=v, inode=n, pid=n)
                for n, v in enumerate(values, start)
            )
            # Of those that are asked for again, too.
            opened.append(from_somewhere(n, argv=b"%d" % n * length + b"\0") for n in range(5))
        known = opened._inserts
        for each in (*known._tables, known._execs):
            values = [*each.known, *each._older]
            texts = sum(map(len, values)) if isinstance(each, interning.Texts) else 0
            held = len(values) * each._entry_bytes + texts
            # A generation is full after the batch that fills it: two halves, and a batch for each.
            assert held <= each._most_bytes + 2 * 21 * (each._entry_bytes + 5 * 4 * length)
            assert held >= each._most_bytes / 4 or len(values) >= 20


def test_what_is_forgotten_is_found_again_by_its_number(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that comes again long after it was forgotten has its row again, and never another."""
    monkeypatch.setattr(interning, "_MEGABYTE", 100)
    with recording_to(path) as opened:
        for _ in range(3):
            for n in range(60):
                opened.append([from_somewhere(n, argv=b"%d\0" % n, tty=b"%d" % n, inode=n, cwd=b"/%d" % n)])
    found = rows(path, "SELECT v, count(*) FROM argv GROUP BY v")
    assert len(found) == 60
    assert max(count for _, count in found) == 1
    assert [(60, 60)] == rows(path, "SELECT (SELECT count(*) FROM origin), (SELECT count(*) FROM launch)")
    assert [event.argv for event in stored(path)] == [b"%d\0" % n for _ in range(3) for n in range(60)]
