"""Long command lines: stored once, and shortened where their exec must stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.database import files
from execaudit.enums import Truncated
from execaudit.event import Hole, Nanoseconds
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.store.limits import Limits
from execaudit.store.writer import Store
from tests.daemon.retaining import chain, ended, opened, pids, pruned
from tests.histories import begin_run, make_event, make_exit

if TYPE_CHECKING:
    from pathlib import Path


def test_ancestors_stay_without_their_megabytes(path: Path) -> None:
    """A chain of programs in one process that lives stays, its arguments as heads and tails, and is found."""
    events = chain(40, 100_000)
    with Store(path) as store:
        begin_run(store)
        store.append(events)
        while store.index():
            pass
    pruned(path, Limits(max_bytes=1_000_000, min_age_ns=Nanoseconds(0)), 10_000)

    with open_history(path) as connection:
        found = [each.event for each in find.find(connection, Filter())]
        assert [e.key for e in found] == [e.key for e in events]
        shortened = [(before, after) for before, after in zip(events, found, strict=True) if after.truncated]
        assert 20 < len(shortened)
        for before, after in shortened:
            assert (3, len(before.argv), Truncated.LIMIT) == (after.argc, after.argv_bytes, after.truncated)
            [hole] = after.holes
            assert hole == Hole(hole.at, len(before.argv) - len(after.argv))
            assert before.argv.startswith(after.argv[: hole.at])
            assert before.argv.endswith(after.argv[hole.at :])
            assert len(after.argv) <= 4096
        assert 256 == len(found[0].argv)
        [again] = find.find(connection, Filter(args=(b"tail17",)))
        assert again.event.key == events[17].key
    assert files.size_of(path) < 1_000_000


def test_the_writer_goes_on_after_lines_were_shortened(path: Path) -> None:
    """The numbers that it gives to lines are no others'."""
    with Store(path) as store:
        begin_run(store)
        store.append(chain(30, 50_000))
        pruned(path, Limits(max_bytes=500_000, min_age_ns=Nanoseconds(0)), 10_000)
        store.append(ended(range(100, 200)))
    with open_history(path) as connection:
        found = [each.event.argv for each in find.find(connection, Filter())]
    assert found[30:] == [event.argv for event in ended(range(100, 200))]


def test_equal_long_lines_are_stored_once(path: Path) -> None:
    """In a batch, in another, after a restart; and read back exactly."""
    long = [b"%d" % n * 3000 for n in range(4)]
    events = [make_event(long[n % 3], seconds=n, pid=n + 1) for n in range(30)]
    for start in (0, 20):
        with Store(path) as store:
            begin_run(store)
            for batch in range(start, start + 10, 5):
                store.append(events[batch : batch + 5])
    with open_history(path) as connection:
        found = [each.event.argv for each in find.find(connection, Filter())]
    assert [event.argv for event in [*events[:10], *events[20:]]] == found
    with opened(path) as connection:
        assert (3, 3) == connection.execute(
            "SELECT (SELECT count(*) FROM argv), (SELECT count(*) FROM long_argv)"
        ).fetchone()


def test_long_lines_come_again_after_they_were_pruned(path: Path) -> None:
    """Their digests go with them."""
    first, again = make_event(b"x" * 5000, pid=1), make_event(b"x" * 5000, pid=2, seconds=50)
    with Store(path) as store:
        begin_run(store)
        store.append([first], [], [make_exit(first.key, 5)])
        pruned(path, Limits(max_age_ns=Nanoseconds(1)), 20)
        assert [] == pids(path)
        store.append([again])
        store.append([again._replace(pid=3)])
    with open_history(path) as connection:
        assert [again.argv] * 2 == [each.event.argv for each in find.find(connection, Filter())]
    with opened(path) as connection:
        assert (1,) == connection.execute("SELECT count(*) FROM argv WHERE v != x''").fetchone()
