"""The read side: exactly what a filter says, page by page, and fast where an index helps."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from execaudit import query, store
from execaudit.errors import DamagedStoreError, FilterError
from execaudit.event import ExecEvent, Hole, Kind, Nanoseconds, Truncated
from execaudit.query import Filter, UserMatch
from execaudit.reader import open_history
from execaudit.store import Store
from tests.events import events
from tests.histories import at, begin_run, make_event, make_gap, make_history

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOSTS = ("web1", "db1")
_WORDS = (b"", b"a", b"b", b"ab", b"a b", b" ", b"a ", b"\xff", b"-l", b"\n")
_NAMES = (
    b"", b"a", b"b", b"ab", b"a/b", b"A", b"\xff", b"\xfe", b"\xc0\x80", "é".encode(), "\ufffd".encode(),
    b"[", b"]", b"a]", b"!", b"^", b"-", b"*", b"a?", b"\\",
)  # fmt: skip
_PATTERN = (
    b"*", b"?", b"[a-z]", b"[!a]", b"[^a]", b"[]a]", b"[!]]", b"[[]", b"[", b"]", b"[z-a]", b"[!z-a]", b"[a-]",
    b"[a^]", b"[[^]", "[é]".encode(), b"[\xff]", b"[!\xff]", b"a", b"b", b"/", b"-", "é".encode(), b"\xff", b"\\",
)  # fmt: skip
_REGEXES = (
    b"^a", b"b$", b"a.b", rb"a\sb", b"^$", b"\xff", b"a|b$", b"^a b", b"(?i)A", b"(?m)^$", b" $", rb"\0", b".", b"",
)  # fmt: skip
_few = st.integers(0, 3)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, list[ExecEvent]]]:
    """Draws batches, each of a host, of execs that have much in common, with stepped clocks."""
    hosts = draw(st.lists(st.sampled_from(HOSTS), max_size=4))
    return [(host, draw(st.lists(similar_events(host), max_size=5))) for host in hosts]


def similar_events(host: str) -> st.SearchStrategy[ExecEvent]:
    """Returns a strategy for execs of few values."""
    return events(
        host=host,
        boot_clock=st.integers(0, 10),
        offsets=st.sampled_from((0, 5, 10)),
        tasks=_few,
        numbers=_few,
        texts=st.sampled_from(_NAMES),
        arguments=st.sampled_from(_WORDS),
        users=st.sampled_from((None, "a", "b", "\udcff")),
    )


def some(values: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    """Returns a strategy for the one or more values of an option."""
    return st.lists(values, min_size=1, max_size=3).map(tuple)


globs = st.lists(st.sampled_from(_PATTERN), max_size=4).map(b"".join)
moments = st.integers(0, 21) | st.just(2**63 - 1)
texts = st.lists(st.sampled_from((b"a", b"b", b" ", b"-l", b"\xff", b"\n")), max_size=4).map(b"".join)
FIELDS: dict[str, st.SearchStrategy[object]] = {
    "since_ns": moments,
    "until_ns": moments,
    "pids": some(_few),
    "ppids": some(_few),
    "comms": some(globs),
    "exes": some(globs),
    "cwds": some(globs),
    "args": some(texts),
    "args_regex": some(st.sampled_from(_REGEXES)),
    "users": some(
        st.builds(UserMatch, st.none(), _few)
        | st.builds(UserMatch, st.sampled_from(("a", "b", "\udcff", "c")), st.none() | _few)
    ),
    "hosts": some(st.sampled_from((*HOSTS, "nowhere"))),
    "failed": st.just(True),  # noqa: FBT003  # its value
    "truncated": st.just(True),  # noqa: FBT003
    "limit": st.integers(0, 6) | st.sampled_from((2**63, 2**70)),
    "reverse": st.just(True),  # noqa: FBT003
}
alone = st.sampled_from(sorted(FIELDS)).flatmap(lambda name: FIELDS[name].map(lambda value: {name: value}))


def filter_of(chosen: list[dict[str, Any]]) -> Filter:
    """Returns the filter of some fields, of each the last."""
    return Filter(**{name: value for each in chosen for name, value in each.items()})


filters = st.lists(alone, max_size=3).map(filter_of)


def reference(history: list[ExecEvent], wanted: Filter) -> list[ExecEvent]:
    """Says the same as query.find, slowly and in other words."""
    found = [event for event in history if is_wanted(event, wanted)]
    if wanted.limit is not None:
        found = found[max(0, len(found) - wanted.limit) :]
    return found[::-1] if wanted.reverse else found


def is_wanted(event: ExecEvent, wanted: Filter) -> bool:
    """Says whether an exec passes, but for the limit."""
    line = searched_text(event)
    return all(
        (
            wanted.since_ns is None or wanted.since_ns <= event.time_ns,
            wanted.until_ns is None or event.time_ns < wanted.until_ns,
            not wanted.pids or event.pid in wanted.pids,
            not wanted.ppids or event.ppid in wanted.ppids,
            not wanted.comms or any(glob_matches(glob, event.comm) for glob in wanted.comms),
            not wanted.exes or any(glob_matches(glob, event.exe) for glob in wanted.exes),
            not wanted.cwds or any(glob_matches(glob, event.cwd) for glob in wanted.cwds),
            not wanted.args or any(text in line for text in wanted.args),
            not wanted.args_regex or any(re.search(text, line, re.DOTALL) for text in wanted.args_regex),
            not wanted.users or any(is_user(event, match) for match in wanted.users),
            not wanted.hosts or event.host in wanted.hosts,
            not wanted.failed or event.kind is Kind.FAILED,
            not wanted.truncated or event.truncated is not None,
        )
    )


def is_user(event: ExecEvent, match: UserMatch) -> bool:
    """Says whether an exec was the user's."""
    if match.name is None:
        return event.uid == match.uid
    if event.user is None:
        return match.uid is not None and event.uid == match.uid
    return event.user == match.name


def searched_text(event: ExecEvent) -> bytes:
    """Returns the command line as filters see it."""
    text = bytearray(event.argv)
    if text.endswith(b"\0") and len(text) not in {hole.at for hole in event.holes}:
        del text[-1]
    text = bytearray(text.replace(b"\0", b" "))
    for hole in reversed(event.holes):
        text[hole.at : hole.at] = b"\0"
    return bytes(text)


def glob_matches(glob: bytes, value: bytes | None) -> bool:
    """Says whether a shell would match; a byte that is no UTF-8 is a character of its own."""
    return value is not None and _matches(
        glob.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape")
    )


def _matches(glob: str, text: str) -> bool:
    if not glob:
        return not text
    if glob[0] == "*":
        return any(_matches(glob[1:], text[start:]) for start in range(len(text) + 1))
    inverted = glob[1:2] in {"!", "^"}
    first = 2 if inverted else 1
    end = glob.find("]", first + 1) if glob[0] == "[" else -1
    if end == -1:
        return bool(text) and glob[0] in {"?", text[0]} and _matches(glob[1:], text[1:])
    return (
        bool(text) and _in_set(glob[first:end], text[0]) != inverted and _matches(glob[end + 1 :], text[1:])
    )


def _in_set(members: str, char: str) -> bool:
    ranges = re.findall(r"(.)-(.)|(.)", members, re.DOTALL)
    return any(char == one if one else low <= char <= high for low, high, one in ranges)


class Stored(NamedTuple):
    """A history and what is in it, in the order of recording."""

    connection: sqlite3.Connection
    events: list[ExecEvent]


@contextlib.contextmanager
def stored(folder: Path, batches: list[tuple[str, list[ExecEvent]]]) -> Iterator[Stored]:
    """Stores batches, a run each, in a store that remembers little, and opens the history."""
    path = folder / "history.db"
    everything: list[ExecEvent] = []
    with pytest.MonkeyPatch.context() as patched, Store(path) as opened:
        patched.setattr(store, "_REMEMBERED", 2)
        patched.setattr(store, "BATCH_EVENTS", 4)
        for host, batch in batches:
            begin_run(opened, host)
            opened.append(batch)
            for start in range(0, len(batch), 4):
                everything += sorted(batch[start : start + 4], key=lambda event: event.time_ns)
    with open_history(path) as connection:
        yield Stored(connection, everything)


def found(connection: sqlite3.Connection, wanted: Filter, after: int | None = None) -> list[ExecEvent]:
    """Returns the execs that are wanted."""
    return [each.event for each in query.find(connection, wanted, after=after)]


@settings(deadline=None, max_examples=120)
@given(histories(), st.lists(filters, min_size=1, max_size=20))
@example(
    [("web1", [make_event(b"ab", holes=(Hole(1, 5),), truncated=Truncated.LIMIT, argc=1, argv_bytes=8)])],
    [Filter(args=(b"ab",)), Filter(args_regex=(b"ab",)), Filter(args_regex=(b"^b",)), Filter(args=(b"b",))],
)
@example(
    [("web1", [make_event(b"ls", argv=b"l", holes=(Hole(1, 2),), truncated=Truncated.LOST)])],
    [Filter(args_regex=(b"l$",)), Filter(args_regex=(b"^l",)), Filter(args=(b"l",))],
)
@example([("web1", [make_event(b"ls")])], [Filter(args=(b"ls ",)), Filter(args_regex=(b"s $",))])
@example([("web1", [make_event(b"a", comm=b"\xfe")])], [Filter(comms=(b"*\xff",)), Filter(comms=(b"?",))])
@example([("web1", [make_event(b"a", comm=b"[x")])], [Filter(comms=(b"[x",)), Filter(comms=(b"[*",))])
def test_a_filter_finds_what_it_says(
    tmp_path_factory: pytest.TempPathFactory, batches: list[tuple[str, list[ExecEvent]]], asked: list[Filter]
) -> None:
    """Whatever the history and the filter, just the execs that pass are found, in order, and counted."""
    with stored(tmp_path_factory.mktemp("history"), batches) as (connection, everything):
        for wanted in asked:
            expected = reference(everything, wanted)

            assert expected == found(connection, wanted)
            assert len(expected) == query.count(connection, wanted)


@settings(deadline=None, max_examples=40)
@given(histories(), st.lists(filters, min_size=1, max_size=10), st.integers(1, 3), st.integers(0, 12))
def test_pages_do_not_show(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[tuple[str, list[ExecEvent]]],
    asked: list[Filter],
    rows: int,
    size: int,
) -> None:
    """Read in pages of any size the answer is the same, every exec once."""
    with stored(tmp_path_factory.mktemp("history"), batches) as (connection, _):
        for wanted in asked:
            whole = list(query.find(connection, wanted))
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(query, "_PAGE_ROWS", rows)
                patched.setattr(query, "_PAGE_BYTES", size)
                assert whole == list(query.find(connection, wanted))


@settings(deadline=None, max_examples=40)
@given(histories(), filters, st.integers(0, 21))
def test_reading_goes_on_after_a_number(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[tuple[str, list[ExecEvent]]],
    wanted: Filter,
    after: int,
) -> None:
    """`after` leaves out the execs up to that number, or from it on when the newest come first."""
    with stored(tmp_path_factory.mktemp("history"), batches) as (connection, everything):
        follows = everything[: max(0, after - 1)] if wanted.reverse else everything[after:]

        assert reference(follows, wanted) == found(connection, wanted, after)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A thousand execs, of which each tenth is an ls."""
    names = [b"ls" if number % 10 == 0 else b"true" for number in range(1000)]
    made = [make_event(name, comm=name, pid=number, seconds=number) for number, name in enumerate(names)]
    make_history(tmp_path / "history.db", made)
    with open_history(tmp_path / "history.db") as connection:
        yield connection


def plan(connection: sqlite3.Connection, wanted: Filter) -> str:
    """Returns how SQLite goes about a page of what is wanted."""
    query.prepare(connection, wanted)
    sql, parameters = query.statement(wanted)
    return "\n".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters))


@pytest.mark.parametrize(
    ("wanted", "step"),
    [
        (Filter(comms=(b"ls",)), "SEARCH e USING INDEX ix_exec_comm (comm_id=?"),
        (Filter(comms=(b"l*",)), "SEARCH e USING INDEX ix_exec_comm (comm_id=?"),
        (Filter(comms=(b"ls",), reverse=True), "SEARCH e USING INDEX ix_exec_comm (comm_id=?"),
        (Filter(pids=(7,)), "SEARCH e USING INDEX ix_exec_pid (pid=?"),
        (Filter(pids=(7, 8)), "SEARCH e USING INDEX ix_exec_pid (pid=?"),
        (Filter(since_ns=at(9)), "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        (Filter(until_ns=at(9)), "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        (
            Filter(since_ns=at(9), until_ns=at(20), args=(b"x",)),
            "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        ),
    ],
)
def test_an_index_is_used(history: sqlite3.Connection, wanted: Filter, step: str) -> None:
    """Names, pids and times are searched for, and the execs never read from end to end."""
    steps = plan(history, wanted)

    assert step in steps
    assert "SCAN e\n" not in f"{steps}\n"


def test_the_newest_are_found_without_reading_on(history: sqlite3.Connection) -> None:
    """A limit ends the search, so that the newest of many cost a fraction of them all."""
    steps = []
    history.set_progress_handler(lambda: steps.append(1), 10)
    assert len(found(history, Filter(args=(b"ls",)))) == 100
    for_all = len(steps)
    steps.clear()
    assert [990] == [event.pid for event in found(history, Filter(args=(b"ls",), limit=1, reverse=True))]

    assert len(steps) < for_all / 10


def test_values_are_bound() -> None:
    """The text of a statement has none of the values that were asked for, its parameters have all."""
    number, name = 987_654_321, "zqx"
    word, glob = name.encode(), b"*zqx?"
    wanted = Filter(
        since_ns=Nanoseconds(number),
        until_ns=Nanoseconds(number + 1),
        pids=(number + 2,),
        ppids=(number + 3,),
        comms=(word, glob),
        exes=(glob,),
        cwds=(b"zqx*",),
        args=(word, b"zqx y"),
        args_regex=(b"zqx$",),
        users=(UserMatch(name, number + 4), UserMatch(None, number + 5)),
        hosts=("zqx.example",),
    )
    for sql, parameters in (
        query.statement(wanted, after=number + 6, most=number + 7),
        query.newest_statement(wanted, number + 8),
    ):
        assert not re.search(r"zqx|98765432|['\"]", sql)
        assert set(re.findall(r":(p\d+)", sql)) == set(parameters)
        for value in (word, glob, b"zqx*", b"zqx y", b"zqx$", "zqx.example", *range(number, number + 6)):
            assert value in parameters.values()


def test_between_pages_the_writer_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While an answer is read slowly, the writer's log can be emptied, and later execs are found."""
    monkeypatch.setattr(query, "_PAGE_ROWS", 2)
    path = tmp_path / "history.db"
    with Store(path) as opened, contextlib.closing(sqlite3.connect(path)) as checkpointer:
        begin_run(opened)
        opened.append([make_event(b"%d" % number, seconds=number) for number in range(3)])
        with open_history(path) as connection:
            slowly = query.find(connection, Filter())
            next(slowly)
            opened.append([make_event(b"3", seconds=3)])
            assert checkpointer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)

            assert [b"1\0", b"2\0", b"3\0"] == [each.event.argv for each in slowly]


def test_a_large_page_frees_the_writer_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that ends early because its command lines are long is no open transaction either."""
    monkeypatch.setattr(query, "_PAGE_BYTES", 1)
    path = tmp_path / "history.db"
    with Store(path) as opened, contextlib.closing(sqlite3.connect(path)) as checkpointer:
        begin_run(opened)
        opened.append([make_event(b"%d" % number, seconds=number) for number in range(3)])
        with open_history(path) as connection:
            slowly = query.find(connection, Filter())
            next(slowly)
            assert checkpointer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)


@pytest.mark.parametrize("text", [b"(", b"[a", b"*", b"a{9999999999999}", b"(?P<n>a)(?P<n>b)", b"\\"])
def test_a_regex_that_is_none_is_refused(history: sqlite3.Connection, text: bytes) -> None:
    """A mistake in a regular expression is one line that names the option."""
    with pytest.raises(FilterError, match=r"^--args-regex: [^\n]*$"):
        found(history, Filter(args_regex=(text,)))
    with pytest.raises(FilterError, match="--args-regex"):
        query.count(history, Filter(args_regex=(text,)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", UserMatch(None, 0)),
        ("1000", UserMatch(None, 1000)),
        ("4294967295", UserMatch(None, 4294967295)),
        ("root", UserMatch("root", 0)),
        ("gone", UserMatch("gone", None)),
        ("g\udcffne", UserMatch("g\udcffne", None)),
    ],
)
def test_a_user_is_a_uid_or_a_name(tmp_path: Path, text: str, expected: UserMatch) -> None:
    """Digits are a uid; a name is one of this host, or one that only the history knows."""
    make_history(tmp_path / "h.db", [make_event(b"a", user="gone"), make_event(b"a", user="g\udcffne")])
    with open_history(tmp_path / "h.db") as connection:
        assert expected == query.user_match(connection, text)


@pytest.mark.parametrize(
    "text", ["nobody-at-all", "", "-1", "1.5", "²", "4294967296", "9" * 5000, "a\0b", "Root"]
)
def test_an_unknown_user_is_refused(history: sqlite3.Connection, text: str) -> None:
    """Who is known nowhere, and a number that is no uid, is a mistake rather than an empty answer."""
    with pytest.raises(FilterError, match=r"^--user: [^\n]*$"):
        query.user_match(history, text)


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
        assert expected == [gap.count for gap in query.gaps(connection, wanted)]
        assert expected == [gap.count for gap in query.gaps(connection, replace(wanted, hosts=("x", "web1")))]
        assert [] == query.gaps(connection, replace(wanted, hosts=("x",)))


def test_the_summary_adds_up(tmp_path: Path) -> None:
    """Execs, times, gaps, missed execs and runs of a history are as they were stored."""
    made = [make_event(b"a", seconds=5), make_event(b"b", seconds=2), make_event(b"c", seconds=9, host="db1")]
    make_history(tmp_path / "h.db", made, [make_gap(1, 2, count=3), make_gap(2, 3, count=None)])
    with open_history(tmp_path / "h.db") as connection:
        assert query.Summary(3, at(2), at(9), gaps=2, missed=3, runs=2) == query.summary(connection)
        assert query.last_number(connection) == 3


def test_an_empty_history_is_a_history(tmp_path: Path) -> None:
    """Before the first exec every question has an answer."""
    make_history(tmp_path / "h.db", [])
    with open_history(tmp_path / "h.db") as connection:
        assert query.Summary(0, None, None, gaps=0, missed=0, runs=0) == query.summary(connection)
        assert [] == found(connection, Filter(since_ns=at(0), limit=5))
        assert query.last_number(connection) == 0


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM argv",
        "DELETE FROM clock",
        "UPDATE exec SET kind = 7",
        "UPDATE exec SET truncated = 7",
        "UPDATE argv_cut SET holes = '[['",
        "UPDATE argv_cut SET holes = '7'",
        "UPDATE argv_cut SET holes = '[[1, 2, 3]]'",
        "DELETE FROM argv_cut",
    ],
)
def test_an_exec_that_makes_no_sense_is_damage(tmp_path: Path, damage: str) -> None:
    """An exec of which a part is missing, or means nothing, is named, and is no traceback."""
    path = tmp_path / "h.db"
    make_history(path, [make_event(b"a", holes=(Hole(1, 5),), truncated=Truncated.LIMIT)])
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(damage)
    with (
        open_history(path) as connection,
        pytest.raises(DamagedStoreError, match=r"exec number 1 makes no sense[^\n]*keep a copy"),
    ):
        found(connection, Filter())


def test_a_gap_that_makes_no_sense_is_damage(tmp_path: Path) -> None:
    """A gap for a reason that there is not is no traceback."""
    path = tmp_path / "h.db"
    make_history(path, [make_event(b"a")], [make_gap(1, 2)])
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE gap SET reason = 'boredom'")
    with open_history(path) as connection, pytest.raises(DamagedStoreError, match="gap makes no sense"):
        query.gaps(connection, Filter())
