"""The read side: exactly what a filter says, page by page."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from execaudit.enums import Kind, Truncated
from execaudit.errors import FilterError
from execaudit.event import Hole
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.query.rows import Found
from execaudit.store.writer import Store
from tests.examples import examples
from tests.histories import at, begin_run, make_event, make_gap, make_history
from tests.query.filter_model import FIELDS, found, histories, in_batch, reference, stored, wanted_filters

if TYPE_CHECKING:
    from pathlib import Path

    from tests.events import Batch


@examples(25)
@given(histories, st.lists(wanted_filters, min_size=1, max_size=20))
@example(
    in_batch(make_event(b"ab", holes=(Hole(1, 5),), truncated=Truncated.LIMIT, argc=1, argv_bytes=8)),
    [Filter(args=(b"ab",)), Filter(args_regex=(b"ab",)), Filter(args_regex=(b"^b",)), Filter(args=(b"b",))],
)
@example(
    in_batch(make_event(b"ls", argv=b"l", holes=(Hole(1, 2),), truncated=Truncated.LOST)),
    [Filter(args_regex=(b"l$",)), Filter(args_regex=(b"^l",)), Filter(args=(b"l",))],
)
@example(in_batch(make_event(b"ls")), [Filter(args=(b"ls ",)), Filter(args_regex=(b"s $",))])
@example(in_batch(make_event(b"a", comm=b"\xfe")), [Filter(comms=(b"*\xff",)), Filter(comms=(b"?",))])
@example(in_batch(make_event(b"a", comm=b"[x")), [Filter(comms=(b"[x",)), Filter(comms=(b"[*",))])
def test_a_filter_finds_what_it_says(
    tmp_path_factory: pytest.TempPathFactory, batches: list[Batch], asked: list[Filter]
) -> None:
    """Whatever the history and the filter, just the execs that pass are found, in order, and counted."""
    with stored(tmp_path_factory.mktemp("history"), batches) as (connection, everything):
        for wanted in asked:
            expected = reference(everything, wanted)

            assert expected == found(connection, wanted)
            assert len(expected) == find.count(connection, wanted)


@pytest.mark.parametrize("first", sorted(FIELDS))
def test_each_filter_combines_with_each(tmp_path_factory: pytest.TempPathFactory, first: str) -> None:
    """No two of them are left to chance, nor the two with a range of time, a limit and a direction."""
    others = [name for name in sorted(FIELDS) if not name.startswith("not_")]
    pairs = [st.fixed_dictionaries({first: FIELDS[first], name: FIELDS[name]}) for name in others]
    rest = {name: FIELDS[name] for name in ("since_ns", "until_ns", "limit", "reverse")}

    @examples(4)
    @given(histories, st.tuples(*pairs), st.fixed_dictionaries({}, optional=rest))
    def check(batches: list[Batch], asked: tuple[dict[str, Any], ...], more: dict[str, Any]) -> None:
        with stored(tmp_path_factory.mktemp("history"), batches) as (connection, everything):
            for wanted in (Filter(**{**given, **chosen}) for chosen in asked for given in ({}, more)):
                expected = reference(everything, wanted)

                assert expected == found(connection, wanted)
                assert len(expected) == find.count(connection, wanted)

    check()


@examples(15)
@given(histories, st.lists(wanted_filters, min_size=1, max_size=10), st.integers(1, 3), st.integers(0, 12))
def test_pages_do_not_show(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[Batch],
    asked: list[Filter],
    rows: int,
    size: int,
) -> None:
    """Read in pages and strides of any size the answer is the same, every exec once."""
    with stored(tmp_path_factory.mktemp("history"), batches) as (connection, _):
        for wanted in asked:
            whole = list(find.find(connection, wanted))
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(find, "PAGE_ROWS", rows)
                patched.setattr(find, "_PAGE_BYTES", size)
                patched.setattr(find, "_NEAR", rows)
                patched.setattr(find, "_COUNTED", rows)
                assert whole == list(find.find(connection, wanted))
                assert len(whole) == find.count(connection, wanted)


@examples(15)
@given(histories, wanted_filters, st.integers(0, 21))
def test_reading_goes_on_after_a_number(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[Batch],
    wanted: Filter,
    after: int,
) -> None:
    """`after` leaves out the execs up to that number, or from it on when the newest come first."""
    with stored(tmp_path_factory.mktemp("history"), batches) as (connection, everything):
        follows = everything[: max(0, after - 1)] if wanted.reverse else everything[after:]
        whole = reference(everything, replace(wanted, limit=None, reverse=False))
        expected = reference([event for event in whole if event in follows], replace(wanted, under=()))

        assert expected == found(connection, wanted, after)


def test_between_pages_the_writer_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While an answer is read slowly, the writer's log can be emptied, and later execs are found."""
    monkeypatch.setattr(find, "PAGE_ROWS", 2)
    path = tmp_path / "history.db"
    with Store(path) as opened, contextlib.closing(sqlite3.connect(path)) as checkpointer:
        begin_run(opened)
        opened.append([make_event(b"%d" % number, seconds=number) for number in range(3)])
        with open_history(path) as connection:
            slowly = find.find(connection, Filter())
            next(slowly)
            opened.append([make_event(b"3", seconds=3)])
            assert checkpointer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)

            assert [b"1\0", b"2\0", b"3\0"] == [each.event.argv for each in slowly]


def test_a_large_page_frees_the_writer_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that ends early because its command lines are long is no open transaction either."""
    monkeypatch.setattr(find, "_PAGE_BYTES", 1)
    path = tmp_path / "history.db"
    with Store(path) as opened, contextlib.closing(sqlite3.connect(path)) as checkpointer:
        begin_run(opened)
        opened.append([make_event(b"%d" % number, seconds=number) for number in range(3)])
        with open_history(path) as connection:
            slowly = find.find(connection, Filter())
            next(slowly)
            assert checkpointer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)


@pytest.mark.parametrize("text", [b"(", b"[a", b"*", b"a{9999999999999}", b"\\"])
def test_a_regex_that_is_none_is_refused(history: sqlite3.Connection, text: bytes) -> None:
    """A mistake in a regular expression is one line that names the option."""
    with pytest.raises(FilterError, match=r"^--args-regex: [^\n]*$"):
        found(history, Filter(args_regex=(text,)))
    with pytest.raises(FilterError, match="--args-regex"):
        find.count(history, Filter(args_regex=(text,)))


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (None, None, [1, 2]),
        (10, 20, [1]),
        (20, 30, [1]),
        (21, 30, []),
        (21, 31, [2]),
        (0, 10, []),
        (0, 10.5, [1]),
        (12, 13, [1]),
        (40, None, [2]),
        (40.5, None, []),
        (None, 10, []),
    ],
)
def test_gaps_that_overlap_the_range_are_told(
    tmp_path: Path, since: float | None, until: float | None, expected: list[int]
) -> None:
    """A gap counts when any moment of it, its ends included, is in the range that was asked for."""
    make_history(
        tmp_path / "h.db", [make_event(b"a")], [make_gap(10, 20, count=1), make_gap(30, 40, count=2)]
    )
    wanted = Filter(
        since_ns=None if since is None else at(since),
        until_ns=None if until is None else at(until),
        pids=(1,),
    )
    with open_history(tmp_path / "h.db") as connection:
        assert expected == [gap.count for gap in find.gaps(connection, wanted)]
        assert expected == [gap.count for gap in find.gaps(connection, replace(wanted, hosts=("x", "web1")))]
        assert expected == [gap.count for gap in find.gaps(connection, replace(wanted, hosts=("x", "w*1")))]
        assert [] == find.gaps(connection, replace(wanted, hosts=("x", "w?")))


@examples(15)
@given(histories, st.lists(st.integers(0, 22), max_size=8))
def test_execs_are_fetched_by_number(
    tmp_path_factory: pytest.TempPathFactory, batches: list[Batch], numbers: list[int]
) -> None:
    """Those that are there, in the order asked for, with the numbers of their parents."""
    with stored(tmp_path_factory.mktemp("history"), batches) as (connection, everything):
        places = {
            event.key: number for number, event in enumerate(everything, 1) if event.kind is not Kind.FAILED
        }
        expected = [
            Found(number, event, None if event.parent is None else places[event.parent])
            for number, event in enumerate(everything, 1)
        ]

        assert [expected[n - 1] for n in numbers if 0 < n <= len(expected)] == find.fetch(connection, numbers)
        assert expected == list(find.find(connection, Filter()))


def test_more_execs_are_fetched_than_a_statement_takes(
    history: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are asked for, all come, each as often as it was asked for."""
    monkeypatch.setattr(find, "PAGE_ROWS", 3)
    numbers = [7, 3, 1000, 7, 5000, 1, 2]

    assert [7, 3, 1000, 7, 1, 2] == [each.number for each in find.fetch(history, numbers)]


@examples(15)
@given(histories)
def test_an_exec_is_located_by_its_id(tmp_path_factory: pytest.TempPathFactory, batches: list[Batch]) -> None:
    """Its key leads to its number, whatever the wall clock was then; no other key leads anywhere."""
    with stored(tmp_path_factory.mktemp("history"), batches) as (connection, everything):
        for number, event in enumerate(everything, 1):
            assert number == find.locate(connection, event.key)
            for other in (
                event.key._replace(boot=event.key.boot ^ 1),
                event.key._replace(boot_ns=event.boot_ns + 100),
                event.key._replace(task=4),
            ):
                assert find.locate(connection, other) is None


def test_the_history_stays_read_only(history: sqlite3.Connection) -> None:
    """The table of descendants is the connection's own; nothing else can be written."""
    list(find.find(history, Filter(under=(1,))))

    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        history.execute("DELETE FROM exec")
