"""How SQLite goes about every question that the filters can make: by an index or a range of numbers."""

from __future__ import annotations

import contextlib
import re
from dataclasses import fields, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest

from execaudit.cli.query import command
from execaudit.enums import Ended, Kind, Truncated
from execaudit.event import Hole
from execaudit.query import find, stats, summary
from execaudit.query.expression import And, Globs, HasText, IsNull, Not, OneOf, Or, Part
from execaudit.query.filter import Filter, UserMatch
from execaudit.store.writer import Store
from tests.histories import at, make_event, make_history
from tests.watching import tables_read_whole, watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from execaudit.event import ExecEvent
    from tests.watching import Watched

_EXECS = 5000
_HOUR = 3600
# What grows with every exec, or nearly. The other tables are dictionaries, and segments: small beside these.
LARGE = {"argv", "argv_cut", "argv_grams", "argv_used", "exec", "exit", "hit"}
CONTAINER = "ab" * 32
# A statement that finds execs of a span; others look up single ones.
ASKS_FOR_EXECS = re.compile(r"\bexec AS e\b.* WHERE [eh]\.id BETWEEN ").search
# A statement about times, which segments answer but at the edges of a range.
OF_SEGMENTS = re.compile(r"\bFROM seg\b").search
_BY_NUMBERS = "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"
# Of each field values that choose few of the execs: in different ways, where there are different statements.
FIELDS: dict[str, list[Any]] = {
    "pids": [(7,), (7, 8)],
    "ppids": [(3,)],
    "comms": [(b"c3",), (b"c1*",)],
    "exes": [(b"/bin/c3",), (b"/bin/c1?",)],
    "filenames": [(b"/bin/c3",)],
    "cwds": [(b"/home/2",), (b"*/2",)],
    "args": [(b"n47",), (b"-x n47",)],
    "args_regex": [(b"n4[0-9]7$",)],
    "users": [(UserMatch("alice", 1003),), (UserMatch(None, 1003),)],
    "login_users": [(UserMatch("bob", 1002),)],
    "ttys": [(b"pts/3",)],
    "cgroups": [(b"/user.slice",), (b"/docker/*",)],
    "containers": [(CONTAINER[:12],)],
    "hosts": [("db1",), ("db*",)],
    "under": [(2,), (2, 70)],
    "failed": [True],
    "truncated": [True],
    "where": [
        Not(Globs("comm", (b"c[0-9]",))),
        Or((HasText("command", Part.END, b"47"), HasText("argv", Part.END, b"48"), OneOf("exit_code", (7,)))),
        And(
            (
                Not(OneOf("parent_id", (b"x",))),
                IsNull("replaced_by"),
                OneOf("ended", (Ended.UNKNOWN,)),
                OneOf("gid", (0,)),
            )
        ),
    ],
}
# What is looked at in each exec of the range: no other filter has another search because of it.
LOOKED_AT: dict[str, list[Any]] = {
    "euids": [(3,)],
    "interpreters": [(b"/bin/s*",)],
    "kinds": [(Kind.FAILED, Kind.SNAPSHOT)],
    "exit_codes": [(1, 2)],
    "errnos": [(2,)],
    "ok": [True],
    "deleted": [True],
    "privileged": [True],
    "new": [at(2 * 3600 + 700)],
    "not_comms": [(b"c3", b"c1*")],
    "not_exes": [(b"/bin/c1?",)],
    "not_cwds": [(b"*/2",)],
    "not_args": [(b"n47",)],
    "not_users": [(UserMatch("alice", 1003),)],
    "not_cgroups": [(b"/docker/*",)],
    "not_containers": [(CONTAINER[:12],)],
    "not_under": [(2, 70)],
}
_SINCE, _UNTIL = at(2 * _HOUR), at(2 * _HOUR + 1500)
TIMES: list[dict[str, Any]] = [
    {}, {"since_ns": _SINCE}, {"until_ns": _UNTIL}, {"since_ns": _SINCE, "until_ns": _UNTIL},
]  # fmt: skip
CHOICES = [(field, value) for field, values in FIELDS.items() for value in values]
ALONE: list[dict[str, Any]] = [{}, *({field: value} for field, value in CHOICES)]
PAIRS = [dict(pair) for pair in combinations(CHOICES, 2) if pair[0][0] != pair[1][0]]
_SEARCHED = [{field: FIELDS[field][0]} for field in ("pids", "comms", "args", "under")]
MORE_ALONE = [{field: value} for field, values in LOOKED_AT.items() for value in values]
ALONE += MORE_ALONE
PAIRS += [{**more, **searched} for more in MORE_ALONE for searched in _SEARCHED]


def find_all(connection: Watched, wanted: Filter) -> None:
    """Does what `query` and `export` do."""
    find.gaps(connection, wanted)
    summary.pruned(connection)
    for _ in find.find(connection, wanted):
        pass


WAYS: dict[str, Callable[[Watched, Filter], object]] = {
    "all": find_all,
    "newest first": lambda connection, wanted: list(find.find(connection, replace(wanted, reverse=True))),
    "the newest": lambda connection, wanted: list(find.find(connection, replace(wanted, limit=3))),
    "the newest, newest first": lambda connection, wanted: list(
        find.find(connection, replace(wanted, limit=3, reverse=True))
    ),
    "what came later": lambda connection, wanted: list(find.find(connection, wanted, after=_EXECS - 500)),
    "how many": find.count,
    "how many of the newest": lambda connection, wanted: find.count(connection, replace(wanted, limit=3)),
    "statistics": lambda connection, wanted: stats.gather(connection, wanted, now_ns=_UNTIL, top=3),
}
# Of two filters, only what has a statement of its own: the others differ in numbers.
WAYS_OF_PAIRS = ("all", "the newest", "the newest, newest first", "how many", "statistics")


def made() -> Iterator[ExecEvent]:
    """Yields a family of some thousand execs, of two hosts; the clock is set back an hour in the middle."""
    root = None
    for n in range(_EXECS):
        more: dict[str, Any] = {}
        if n % 50 == 9:
            more |= {"kind": Kind.FAILED, "errno": 2}
        if n % 40 == 13:
            more |= {"holes": (Hole(3, 5),), "truncated": Truncated.LIMIT, "argc": 3, "argv_bytes": 9}
        host = "web1" if n < _EXECS - 800 else "db1"
        seconds = 2 * _HOUR + n - (_HOUR if n > _EXECS // 2 else 0)
        event = make_event(
            b"c%d" % (n % 23), b"-x", b"n%d" % n,
            seconds=seconds,
            boot_ns=10**15 + n,
            host=host,
            pid=n % 331,
            ppid=n % 41,
            comm=b"c%d" % (n % 23),
            exe=b"/bin/c%d" % (n % 23),
            cwd=b"/home/%d" % (n % 11),
            uid=1000 + n % 7,
            user=("alice", None, "bob")[n % 3],
            login_user=("bob", None, "carol")[n // 3 % 3],
            auid=1000 + n % 5,
            tty=(None, b"pts/%d" % (n % 5))[n % 2],
            cgroup=(b"/user.slice", f"/docker/{CONTAINER}".encode(), b"/system.slice/x.service")[n % 3],
            parent=root.key if root is not None and n % 9 == 4 else None,
            **more,
        )  # fmt: skip
        if n % 70 == 1:
            root = event
        yield event


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history of several segments, of which a part is in the index of command lines."""
    path = make_history(tmp_path_factory.mktemp("history") / "history.db", made())
    with Store(path) as store:
        while store.index():
            pass
    return path


@pytest.fixture
def connection(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """The history, which is taken for a long one: the index of command lines is asked."""
    monkeypatch.setattr(find, "_NEAR", 500)
    with contextlib.closing(watched(path)) as opened:
        yield opened


def searches_of_execs(wanted: Filter) -> list[str]:
    """Returns how a statement may find the execs that a filter wants of a span: by what leaves the fewest."""
    if wanted.under:
        return ["USING INTEGER PRIMARY KEY (rowid=?)", "USING INDEX ix_exec_pid (pid=? AND rowid=?)"]
    if wanted.pids:
        return ["USING INDEX ix_exec_pid (pid=? AND rowid>? AND rowid<?)"]
    if wanted.comms:
        return ["USING INDEX ix_exec_comm (comm_id=? AND rowid>? AND rowid<?)"]
    return ["USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"]


def comes_in_order(wanted: Filter) -> bool:
    """Says whether what is found comes in the order of recording: of one pid, but not of several names."""
    return bool(wanted.under) or len(wanted.pids) == 1 or not (wanted.pids or wanted.comms)


def mistakes(sql: str, steps: list[str], wanted: Filter) -> Iterator[str]:
    """Yields what is wrong with a plan."""
    for table in tables_read_whole(sql, steps) & LARGE:
        yield f"reads all of {table}"
    if OF_SEGMENTS(sql):
        # The execs of the few segments at the edges of a range are looked at, by their numbers.
        yield from (step for step in steps if step.startswith("SEARCH e ") and step != _BY_NUMBERS)
        return
    for step in steps:
        if "AUTOMATIC" in step:
            yield "makes an index"
        if "CORRELATED" in step:
            yield "asks again for each row"
    if ASKS_FOR_EXECS(sql):
        yield from mistakes_of_search(sql, [step.replace("COVERING ", "") for step in steps], wanted)


def mistakes_of_search(sql: str, steps: list[str], wanted: Filter) -> Iterator[str]:
    """Yields what is wrong with how a plan finds execs."""
    if " GROUP BY e.clock_id" in sql:
        # `stats` of some hosts of several goes from their first exec to their last, whatever else is asked.
        wanted = stats.of_hosts(wanted)
    if " FROM exit AS y" in sql:
        # Few ends come later than their execs: these lead.
        if not {*steps} >= {
            "SEARCH y USING INDEX ix_exit_exec (exec_id>? AND exec_id<?)",
            "SEARCH e USING INTEGER PRIMARY KEY (rowid=?)",
        }:
            yield "does not read the ends of the span alone"
        return
    if not {f"SEARCH e {search}" for search in searches_of_execs(wanted)} & {*steps}:
        yield f"lacks {searches_of_execs(wanted)}"
    if wanted.under and "SEARCH h USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" not in steps:
        yield "reads all descendants"
    if comes_in_order(wanted) and "ORDER BY took" not in sql and "USE TEMP B-TREE FOR ORDER BY" in steps:
        yield "sorts what comes in order"


def check(connection: Watched, asked: Iterable[dict[str, Any]], ways: Iterable[str]) -> None:
    """Asks, and fails with all that is wrong with the statements that were run."""
    wrong: list[str] = []
    execs = 0
    for chosen in asked:
        wanted = Filter(**chosen)
        for way in ways:
            connection.asked.clear()
            WAYS[way](connection, wanted)
            for sql, steps in connection.asked.items():
                wrong += [
                    f"{way} of {chosen}: {what}\n  {sql}\n  " + "\n  ".join(steps)
                    for what in mistakes(sql, steps, wanted)
                ]
            execs += any(map(ASKS_FOR_EXECS, connection.asked))
    assert not wrong, f"{len(wrong)} bad plans\n" + "\n".join(wrong[:10])
    assert execs


def test_all_that_can_be_asked_is_asked_here() -> None:
    """A new filter, or a new option, has to be added above."""
    order = {"since_ns", "until_ns", "limit", "reverse"}
    assert {field.name for field in fields(Filter)} == {*FIELDS, *LOOKED_AT, *order}
    shape = {
        "wide",
        "color",
        "no_pager",
        "utc",
        "follow",
        "fmt",
        "raw",
        "columns",
        "sort",
        "count",
        "config",
        "db",
        "db_password_file",
        "within",
    }
    options = {str(option.name) for option in command.params} - shape
    assert options == {*FIELDS, *LOOKED_AT, "since", "until", "around", "limit", "reverse"}


@pytest.mark.parametrize("way", WAYS)
def test_each_filter_has_its_search(connection: Watched, way: str) -> None:
    """Alone, in any range of time, none reads a large table from end to end, or sorts without need."""
    check(connection, [{**alone, **time} for alone in ALONE for time in TIMES], [way])


@pytest.mark.parametrize("time", [TIMES[0], TIMES[-1]], ids=["all time", "a range"])
def test_two_filters_have_the_better_search(connection: Watched, time: dict[str, Any]) -> None:
    """Of any two filters, the one that leaves fewer is searched for; the other is looked at."""
    check(connection, [{**pair, **time} for pair in PAIRS], WAYS_OF_PAIRS)


@pytest.mark.parametrize("time", [TIMES[0], TIMES[-1]], ids=["all time", "a range"])
def test_several_names_are_one_search(connection: Watched, time: dict[str, Any]) -> None:
    """--comm twice leaves the range of numbers in the search, alone and beside any other filter."""
    names = {"comms": (b"c1", b"c[23]")}
    check(connection, [{**alone, **names, **time} for alone in ALONE if "comms" not in alone], WAYS_OF_PAIRS)
