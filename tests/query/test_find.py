"""The read side: exactly what a filter says, page by page, and fast where an index helps."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from execaudit.database import id_lookup
from execaudit.enums import Ended, Kind, Truncated
from execaudit.errors import DamagedStoreError, FilterError, StoreError
from execaudit.event import End, ExecEvent, Gap, Hole, Nanoseconds
from execaudit.exec_id import ExecKey
from execaudit.query import find, summary, users
from execaudit.query.connection import open_history
from execaudit.query.find import Filter, Found, UserMatch
from execaudit.query.statements import Span, descendants_statement, newest_statement, statement
from execaudit.store import inserts, interning
from execaudit.store.writer import Store
from tests.events import Batch, events, lineages, with_ends
from tests.examples import examples
from tests.histories import at, begin_run, make_event, make_exit, make_gap, make_history
from tests.nobody import as_nobody, public_folder

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
_ID, _OTHER_ID = "ab" * 32, "abac" * 16
_CGROUPS: dict[bytes, str | None] = {
    b"/": None,
    b"/user.slice": None,
    b"/\xff": None,
    f"/system.slice/docker-{_ID}.scope".encode(): _ID,
    f"/docker/{_OTHER_ID}/init.scope".encode(): _OTHER_ID,
    b"/machine.slice/systemd-nspawn@abab.service/payload": "abab",
    b"/machine.slice/machine-a.scope": "a",
}
_few = st.integers(0, 3)


def similar_events(host: str) -> st.SearchStrategy[ExecEvent]:
    """Returns a strategy for execs of few values."""
    return events(
        host=host,
        boot_clock=st.just(0),
        offsets=st.sampled_from((0, 5, 10)),
        tasks=_few,
        numbers=_few,
        texts=st.sampled_from(_NAMES),
        arguments=st.sampled_from(_WORDS),
        users=st.sampled_from((None, "a", "b", "\\xff")),
        cgroups=st.sampled_from(sorted(_CGROUPS)),
    )


histories = lineages({host: similar_events(host) for host in HOSTS})


def some(values: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    """Returns a strategy for the one or more values of an option."""
    return st.lists(values, min_size=1, max_size=3).map(tuple)


globs = st.lists(st.sampled_from(_PATTERN), max_size=4).map(b"".join)
moments = st.integers(0, 31) | st.just(2**63 - 1)
texts = st.lists(st.sampled_from((b"a", b"b", b" ", b"-l", b"\xff", b"\n")), max_size=4).map(b"".join)
FIELDS: dict[str, st.SearchStrategy[object]] = {
    "since_ns": moments,
    "until_ns": moments,
    "pids": some(_few),
    "ppids": some(_few),
    "comms": some(globs),
    "exes": some(globs),
    "filenames": some(globs),
    "cwds": some(globs),
    "args": some(texts),
    "args_regex": some(st.sampled_from(_REGEXES)),
    "users": some(
        st.builds(UserMatch, st.none(), _few)
        | st.builds(UserMatch, st.sampled_from(("a", "b", "\\xff", "c")), st.none() | _few)
    ),
    "login_users": some(
        st.builds(UserMatch, st.none(), _few)
        | st.builds(UserMatch, st.sampled_from(("a", "b", "\\xff", "c")), st.none() | _few)
    ),
    "ttys": some(st.sampled_from(_NAMES)),
    "cgroups": some(st.sampled_from((b"*", b"/", b"/*.scope", b"/?", b"/[!a-z]", b"*\xff", b"nowhere"))),
    "containers": some(st.sampled_from((_ID, _OTHER_ID, "abab", "aba", "abac", "a", "abab" * 17, ""))),
    "hosts": some(st.sampled_from((*HOSTS, "nowhere"))),
    "under": some(st.integers(1, 9)),
    "failed": st.just(True),  # noqa: FBT003  # its value
    "truncated": st.just(True),  # noqa: FBT003
    "limit": st.integers(0, 6) | st.sampled_from((2**63, 2**70)),
    "reverse": st.just(True),  # noqa: FBT003
}
alone = st.sampled_from(sorted(FIELDS)).flatmap(lambda name: FIELDS[name].map(lambda value: {name: value}))


def filter_of(chosen: list[dict[str, Any]]) -> Filter:
    """Returns the filter of some fields, of each the last."""
    return Filter(**{name: value for each in chosen for name, value in each.items()})


wanted_filters = st.lists(alone, max_size=3).map(filter_of)


def reference(history: list[ExecEvent], wanted: Filter) -> list[ExecEvent]:
    """Says the same as query.find, slowly and in other words."""
    found = [event for event in history if is_wanted(event, wanted) and is_under(event, wanted, history)]
    if wanted.limit is not None:
        found = found[max(0, len(found) - wanted.limit) :]
    return found[::-1] if wanted.reverse else found


def is_under(event: ExecEvent, wanted: Filter, history: list[ExecEvent]) -> bool:
    """Says whether an exec descends from one of those that are asked for, walking up."""
    if not wanted.under:
        return True
    roots = {history[number - 1].key for number in wanted.under if number <= len(history)}
    parents = {each.key: each.parent for each in history if each.kind is not Kind.FAILED}
    above = event.parent
    while above is not None and above not in roots:
        above = parents[above]
    return above is not None


def is_wanted(event: ExecEvent, wanted: Filter) -> bool:
    """Says whether an exec passes, but for the limit."""
    line = searched_text(event)
    return all(
        (
            wanted.since_ns is None or wanted.since_ns <= event.time_ns,
            wanted.until_ns is None or event.time_ns < wanted.until_ns,
            not wanted.pids or event.pid in wanted.pids,
            not wanted.ppids or event.ppid in wanted.ppids,
            not wanted.comms or any(glob_matches(glob, event.launch.comm) for glob in wanted.comms),
            not wanted.exes or any(is_image(glob, event) for glob in wanted.exes),
            not wanted.filenames
            or any(glob_matches(glob, event.launch.filename) for glob in wanted.filenames),
            not wanted.cwds or any(glob_matches(glob, event.launch.cwd) for glob in wanted.cwds),
            not wanted.args or any(text in line for text in wanted.args),
            not wanted.args_regex or any(is_found(text, line) for text in wanted.args_regex),
            not wanted.users
            or any(is_user(event.launch.user, event.launch.uid, match) for match in wanted.users),
            not wanted.login_users
            or any(
                is_user(event.origin.login_user, event.origin.auid, match) for match in wanted.login_users
            ),
            not wanted.ttys or event.origin.tty in wanted.ttys,
            not wanted.cgroups or any(glob_matches(glob, event.origin.cgroup) for glob in wanted.cgroups),
            not wanted.containers or any(is_in(event.origin.cgroup, text) for text in wanted.containers),
            not wanted.hosts or event.host in wanted.hosts,
            not wanted.failed or event.kind is Kind.FAILED,
            not wanted.truncated or event.truncated is not None,
        )
    )


def is_image(glob: bytes, event: ExecEvent) -> bool:
    """Says whether an image is meant: outside of a chroot or inside, or as a failed exec asked for it."""
    paths = [event.launch.exe]
    if (
        event.launch.root is not None
        and event.launch.exe is not None
        and event.launch.exe.startswith(event.launch.root + b"/")
    ):
        paths.append(event.launch.exe[len(event.launch.root) :])
    if event.kind is Kind.FAILED:
        paths.append(event.launch.filename)
        if glob.startswith(b"*/") and glob_matches(glob[2:], event.launch.filename):
            return True
    return any(glob_matches(glob, path) for path in paths)


def is_found(expression: bytes, line: bytes) -> bool:
    """Says whether Python's own `re` finds it, in text."""
    text, searched = (raw.decode("utf-8", "surrogateescape") for raw in (expression, line))
    return re.search(text, searched, re.DOTALL) is not None


def is_user(name: str | None, uid: int | None, match: UserMatch) -> bool:
    """Says whether an exec was the user's."""
    if match.name is None:
        return uid == match.uid
    if name is None:
        return match.uid is not None and uid == match.uid
    return name == match.name


def is_in(cgroup: bytes | None, text: str) -> bool:
    """Says whether a cgroup is in the container that a text names."""
    container = None if cgroup is None else _CGROUPS[cgroup]
    if container in {_ID, _OTHER_ID}:
        return len(text) >= 4 and str(container)[: len(text)] == text
    return container == text


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
def stored(folder: Path, batches: list[Batch]) -> Iterator[Stored]:
    """Stores batches, a run each, in a store that remembers little, and opens the history."""
    path = folder / "history.db"
    with pytest.MonkeyPatch.context() as patched, Store(path) as opened:
        patched.setattr(interning, "_MEGABYTE", 1000)
        patched.setattr(inserts, "BATCH_EVENTS", 4)
        for batch in batches:
            begin_run(opened, batch.host)
            opened.append(batch.events, (), batch.exits)
    with open_history(path) as connection:
        yield Stored(connection, with_ends(batches))


def in_batch(*events: ExecEvent) -> list[Batch]:
    """Returns the batch that stores these."""
    return [Batch("web1", list(events), [])]


def found(connection: sqlite3.Connection, wanted: Filter, after: int | None = None) -> list[ExecEvent]:
    """Returns the execs that are wanted."""
    return [each.event for each in find.find(connection, wanted, after=after)]


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
    pairs = [st.fixed_dictionaries({first: FIELDS[first], name: FIELDS[name]}) for name in sorted(FIELDS)]
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
                patched.setattr(find, "_PAGE_ROWS", rows)
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
    find.prepare(connection, wanted)
    sql, parameters = statement(wanted, Span(1, 1000))
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
        (Filter(under=(1,)), "SEARCH e USING INTEGER PRIMARY KEY (rowid=?)"),
        (Filter(under=(1,), since_ns=at(9)), "SEARCH h USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
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
        filenames=(glob,),
        cwds=(b"zqx*",),
        args=(word, b"zqx y"),
        args_regex=(b"zqx$",),
        users=(UserMatch(name, number + 4), UserMatch(None, number + 5)),
        login_users=(UserMatch(name, number + 4), UserMatch(None, number + 5)),
        ttys=(word,),
        cgroups=(glob, b"zqx*"),
        containers=(name,),
        hosts=("zqx.example",),
    )
    for sql, parameters in (
        statement(wanted, Span(number + 6, number + 7), most=number + 8),
        newest_statement(wanted, Span(number + 6, number + 7), number + 8),
    ):
        assert not re.search(r"zqx|98765432|['\"]", sql)
        assert set(re.findall(r":(p\d+)", sql)) == set(parameters)
        for value in (
            word, glob, b"zqx*", b"zqx y", b"zqx$", name, "zqx.example", *range(number, number + 6)
        ):  # fmt: skip
            assert value in parameters.values()


def test_between_pages_the_writer_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While an answer is read slowly, the writer's log can be emptied, and later execs are found."""
    monkeypatch.setattr(find, "_PAGE_ROWS", 2)
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
        assert expected == users.user_match(connection, text)


@pytest.mark.parametrize(
    "text", ["nobody-at-all", "", "-1", "1.5", "²", "4294967296", "9" * 5000, "a\0b", "Root"]
)
def test_an_unknown_user_is_refused(history: sqlite3.Connection, text: str) -> None:
    """Who is known nowhere, and a number that is no uid, is a mistake rather than an empty answer."""
    with pytest.raises(FilterError, match=r"^--user: [^\n]*$"):
        users.user_match(history, text)


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
        assert [] == find.gaps(connection, replace(wanted, hosts=("x",)))


def test_the_summary_adds_up(tmp_path: Path) -> None:
    """Execs, times, gaps, what is missing, ends and runs of a history are as they were stored."""
    made = [make_event(b"a", seconds=5), make_event(b"b", seconds=2), make_event(b"c", seconds=9, host="db1")]
    gaps = [make_gap(1, 2, count=3, exits=5), make_gap(2, 3, count=None, exits=6)]
    exits = [make_exit(made[0].key, 6), make_exit(ExecKey(0, 1, 2), 6), make_exit(ExecKey(0, 1, 3), 6)]
    make_history(tmp_path / "h.db", made, gaps, exits)
    with open_history(tmp_path / "h.db") as connection:
        assert summary.Summary(
            3, at(2), at(9), gaps=2, missed=3, runs=2, exits=1, stray_exits=2, missed_exits=11
        ) == summary.summary(connection)
        assert find.last_number(connection) == 3


def test_an_empty_history_is_a_history(tmp_path: Path) -> None:
    """Before the first exec every question has an answer."""
    make_history(tmp_path / "h.db", [])
    with open_history(tmp_path / "h.db") as connection:
        assert summary.Summary(
            0, None, None, gaps=0, missed=0, runs=0, exits=0, stray_exits=0, missed_exits=0
        ) == summary.summary(connection)
        assert [] == found(connection, Filter(since_ns=at(0), limit=5))
        assert [] == found(connection, Filter(under=(1,)))
        assert find.last_number(connection) == 0
        assert find.locate(connection, make_event().key) is None


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
    monkeypatch.setattr(find, "_PAGE_ROWS", 3)
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


def test_an_exec_is_located_without_reading_the_others(history: sqlite3.Connection) -> None:
    """The pid is searched for among the few that the time leaves."""
    for sql, step in (
        (id_lookup.FIND_EXEC, "SEARCH e USING INDEX ix_exec_pid (pid=? AND rowid>? AND rowid<?)"),
        (id_lookup.FIND_FAILED, "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    ):
        parameters = id_lookup.parameters(make_event().key)
        assert step in [row[3] for row in history.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]


@contextlib.contextmanager
def recording(path: Path, *appended: Any) -> Iterator[sqlite3.Connection]:  # noqa: ANN401  # what append takes
    """Keeps a store open that has stored this, and opens its history."""
    with Store(path) as opened:
        begin_run(opened)
        opened.append(*appended)
        with open_history(path) as connection:
            yield connection


def ends(connection: sqlite3.Connection) -> list[End | None]:
    """Returns how the execs ended."""
    return [each.event.end for each in find.find(connection, Filter())]


def test_what_has_not_ended_is_running(tmp_path: Path) -> None:
    """While it is recorded: an exec without an end runs, a failed one has none."""
    events = [
        make_event(b"a", pid=1, seconds=1),
        make_event(b"b", pid=2, seconds=2, kind=Kind.FAILED, errno=2),
        make_event(b"c", pid=3, seconds=3, kind=Kind.SNAPSHOT),
        make_event(b"d", pid=4, seconds=4),
    ]
    with recording(tmp_path / "h.db", events, (), [make_exit(events[3].key, 5, 256)]) as connection:
        exited = End(Ended.EXITED, code=1, duration_ns=1_000_000_000)
        assert [End(Ended.RUNNING), None, End(Ended.RUNNING), exited] == ends(connection)


def test_what_ended_when_nobody_recorded_is_unknown(tmp_path: Path) -> None:
    """After the recorder's end, orderly or not, nobody knows; nor of a run before the one that goes on."""
    path = tmp_path / "h.db"
    with Store(path) as opened:
        begin_run(opened)
        opened.append([make_event(b"a")])
    with open_history(path) as connection:
        assert [End(Ended.UNKNOWN)] == ends(connection)
    with recording(path, [make_event(b"b", seconds=1)]) as connection:
        assert [End(Ended.UNKNOWN), End(Ended.RUNNING)] == ends(connection)
    with Store(path) as opened:
        begin_run(opened)
        opened.append([make_event(b"c", seconds=2)])
        opened.end_run(at(3))
        with open_history(path) as connection:
            assert [End(Ended.UNKNOWN)] * 3 == ends(connection)


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        (make_gap(0, 4, count=0, exits=1), Ended.RUNNING),
        (make_gap(0, 5, count=0, exits=1), Ended.RUNNING),
        (make_gap(0, 6, count=0, exits=1), Ended.UNKNOWN),
        (make_gap(6, 7, count=0, exits=1), Ended.UNKNOWN),
        (make_gap(6, 7, count=9, exits=0), Ended.RUNNING),
    ],
)
def test_an_end_that_may_have_been_lost_is_unknown(tmp_path: Path, gap: Gap, expected: Ended) -> None:
    """When ends were missed after an exec, its own may have been among them."""
    with recording(tmp_path / "h.db", [make_event(b"a", seconds=5)], [gap]) as connection:
        assert [End(expected)] == ends(connection)


def test_a_database_elsewhere_is_not_being_recorded(tmp_path: Path) -> None:
    """A copy of a history that goes on stands still."""
    with recording(tmp_path / "h.db", [make_event(b"a")]) as connection:
        assert [End(Ended.RUNNING)] == ends(connection)
        with contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
            connection.backup(copy)
    with open_history(tmp_path / "copy.db") as connection:
        assert [End(Ended.UNKNOWN)] == ends(connection)


def test_a_link_to_a_database_leads_to_its_recorder(tmp_path: Path) -> None:
    """Whether the recorder or the reader was given a link, there is one lock."""
    (tmp_path / "link.db").symlink_to("h.db")
    with recording(tmp_path / "h.db", [make_event(b"a")]), open_history(tmp_path / "link.db") as connection:
        assert [End(Ended.RUNNING)] == ends(connection)
    with recording(tmp_path / "link.db", [make_event(b"b", seconds=1)]):
        with open_history(tmp_path / "h.db") as connection:
            assert End(Ended.RUNNING) == ends(connection)[1]
        with pytest.raises(StoreError, match="another execaudit"):
            Store(tmp_path / "h.db")


def test_who_may_not_write_sees_what_runs() -> None:
    """Neither write permission nor leave to read the lock's file is needed."""
    with public_folder() as folder:
        path = folder / "h.db"
        path.touch(0o644)
        with recording(path, [make_event(b"a")]):
            for mode in (0o644, 0o600):
                (folder / "h.db.lock").chmod(mode)
                assert [End(Ended.RUNNING)] == as_nobody(lambda: ends_of(path))
        assert [End(Ended.UNKNOWN)] == as_nobody(lambda: ends_of(path))


def ends_of(path: Path) -> list[End | None]:
    """Returns how the execs of a history ended."""
    with open_history(path) as connection:
        return ends(connection)


@examples(12)
@given(histories, some(st.integers(1, 9)), st.sets(st.integers(0, 4)))
def test_descendants_that_come_later_are_found_too(
    tmp_path_factory: pytest.TempPathFactory, batches: list[Batch], under: tuple[int, ...], asked: set[int]
) -> None:
    """Asked again and again while it is recorded, each answer is right."""
    path = tmp_path_factory.mktemp("history") / "history.db"
    wanted = Filter(under=under)
    with Store(path) as opened, open_history(path) as connection:
        for number, batch in enumerate(batches):
            begin_run(opened, batch.host)
            opened.append(batch.events)
            if number in asked:
                assert count_under(batches[: number + 1], under) == find.count(connection, wanted)
        assert count_under(batches, under) == find.count(connection, wanted)


def count_under(batches: list[Batch], under: tuple[int, ...]) -> int:
    """Returns how many descendants there are."""
    return len(reference(with_ends(batches), Filter(under=under)))


def test_descendants_are_found_by_the_index(history: sqlite3.Connection) -> None:
    """From parent to child by the index alone; only what is new is looked at one by one."""
    find.prepare(history, Filter(under=(7, 8)))
    steps = {}
    for known in (None, 990):
        sql, parameters = descendants_statement((7, 8), known=known, last=1000)
        steps[known] = [row[3] for row in history.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]

    from_parent = "SEARCH e USING COVERING INDEX ix_exec_parent (parent_id=? AND rowid>? AND rowid<?)"
    assert from_parent in steps[None]
    assert "SEARCH e USING COVERING INDEX ix_exec_parent (parent_id=? AND rowid<?)" in steps[None]
    assert from_parent in steps[990]
    assert "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in steps[990]
    assert not [step for each in steps.values() for step in each if step.startswith("SCAN e")]
    assert "SCAN e\n" not in f"{plan(history, Filter(under=(7, 8), comms=(b'ls',)))}\n"


def test_a_damaged_lineage_has_an_end(tmp_path: Path) -> None:
    """Execs that are made each other's ancestors are no endless search, and no wrong answer."""
    path = make_history(tmp_path / "h.db", [make_event(b"%d" % n, pid=n, seconds=n) for n in range(1, 5)])
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE exec SET parent_id = CASE id WHEN 1 THEN 4 ELSE id - 1 END")
    with open_history(path) as connection:
        assert [3, 4] == [each.number for each in find.find(connection, Filter(under=(2,)))]
        assert [2, 3, 4] == [each.number for each in find.find(connection, Filter(under=(1, 2)))]


def test_the_history_stays_read_only(history: sqlite3.Connection) -> None:
    """The table of descendants is the connection's own; nothing else can be written."""
    list(find.find(history, Filter(under=(1,))))

    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        history.execute("DELETE FROM exec")


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
        find.gaps(connection, Filter())
