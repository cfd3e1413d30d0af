"""A history in a central database answers as the file of its host does."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.central import postgresql
from execaudit.central.tables import TABLES
from execaudit.database.url import Central, location_of
from execaudit.fleet.central_history import CentralHistory
from execaudit.fleet.conditions import Conditions
from execaudit.fleet.dialects import FALSE, TRUE, PostgreSQL
from execaudit.fleet.postgresql_reader import PostgresReader
from execaudit.hunt.paged import PagedHunt, hunt_of
from execaudit.hunt.rule import Rule
from execaudit.hunt.sieve import Sieve
from execaudit.query.connection import Reading, open_history
from execaudit.query.expression import And, Like, LineMatches, Not, Or, Passes, Text, Wild
from execaudit.query.filter import Filter
from execaudit.query.local_history import LocalHistory
from tests.examples import examples
from tests.fleet.centre import make_central, ship
from tests.histories import at, make_history, make_ran
from tests.hunt.rules import rule_expressions
from tests.query.expression_model import expressions, leaves
from tests.query.filter_model import histories, stored, wanted_filters

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from execaudit.query.expression import Expression
    from execaudit.query.history import History
    from tests.events import Batch
    from tests.fleet.servers import PostgresServer


@pytest.fixture(scope="module")
def central_url(postgres: PostgresServer) -> Iterator[str]:
    """Returns the URL of a central database that the module's tests fill anew."""
    name = postgres.new_database()
    make_central(postgres.url(name))
    yield postgres.url(name)
    postgres.drop_database(name)


@contextlib.contextmanager
def opened(url: str) -> Iterator[CentralHistory]:
    """Opens the central database."""
    location = location_of(url)
    assert isinstance(location, Central)
    with postgresql.connected(location, reads=True) as connection:
        yield CentralHistory(PostgresReader(connection, location))


@contextlib.contextmanager
def both(folder: Path, url: str, batches: list[Batch]) -> Iterator[tuple[LocalHistory, CentralHistory]]:
    """Stores batches in a file, and ships it."""
    with stored(folder, batches) as (connection, _):
        with psycopg.connect(url, autocommit=True) as connection_:
            connection_.execute(f"TRUNCATE {', '.join(table.name for table in TABLES)}".encode())
        ship(folder / "history.db", url)
        with opened(url) as central:
            yield LocalHistory(connection), central


class Asked(NamedTuple):
    """What is asked of a history."""

    wanted: list[Filter]
    said: list[Expression]
    rules: list[list[Expression]]
    """Of several hunts."""
    numbers: list[int]
    most: int


questions = st.builds(
    Asked,
    st.lists(wanted_filters, min_size=1, max_size=8),
    st.lists(leaves | expressions, min_size=1, max_size=8),
    st.lists(st.lists(rule_expressions, min_size=1, max_size=4), min_size=1, max_size=4),
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
    st.integers(1, 5),
)


# To store a history takes longer than to ask it, so each is asked all.
@examples(40)
@given(histories, questions)
def test_the_answers_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, central_url: str, batches: list[Batch], asked: Asked
) -> None:
    """To filters and expressions of each kind, of counts and of relatives."""
    with both(tmp_path_factory.mktemp("history"), central_url, batches) as (local, central):
        same_answers(local, central, asked)


def same_answers(local: History, central: History, asked: Asked) -> None:
    """All that is asked has the same answer."""
    for wanted in asked.wanted:
        same_execs(local, central, wanted)
        same_counts(local, central, wanted)
    for said in asked.said:
        for expression in (said, Not(said), Or((said, Not(said))), And((said, Not(said)))):
            same_execs(local, central, Filter(where=expression))
    for said_by in asked.rules:
        same_hits(local, central, said_by)
    for since in (0, 5, 10, 15):
        assert local.sightings(since) == central.sightings(since)
    same_relatives(local, central, asked.numbers, asked.most)


def same_execs(local: History, central: History, wanted: Filter) -> None:
    """The execs with their numbers and parents, in the same order; and as many are counted."""
    found = [*local.find(wanted)]
    assert found == [*central.find(wanted)], wanted
    assert len(found) == central.count(wanted), wanted


def same_hits(local: History, central: History, said: list[Expression]) -> None:
    """Of the rules that say so, though the engine leaves out what has none of the texts of any."""
    rules = [Rule(file=str(place), title="", expression=each) for place, each in enumerate(said)]
    hits = [*hunt_of(local, Sieve(rules), Filter()).hits()]
    assert hits == [*hunt_of(central, Sieve(rules), Filter()).hits()], said


def same_counts(local: History, central: History, wanted: Filter) -> None:
    """What is counted by the engine, or one by one."""
    assert local.times(wanted) == central.times(wanted), wanted
    assert local.stats(wanted, now_ns=50, top=5) == central.stats(wanted, now_ns=50, top=5), wanted
    assert local.by_host(wanted) == central.by_host(wanted), wanted


def same_relatives(local: History, central: History, numbers: list[int], most: int) -> None:
    """Up and down, with and without bounds; and by their ids."""
    assert [*local.lineage(numbers)] == [*central.lineage(numbers)]
    assert local.descendants(numbers) == central.descendants(numbers)
    assert local.descendants(numbers, newest=most) == central.descendants(numbers, newest=most)
    assert local.users_of(numbers) == central.users_of(numbers)
    for drawn in ((), numbers[1:]):
        below = [
            history.below(numbers[:1], drawn=drawn, until_ns=20, most=100) for history in (local, central)
        ]
        assert below[0] == below[1]
    for number in numbers:
        assert local.children(number, most=most) == central.children(number, most=most)
        assert local.count_children(number, most=most) == central.count_children(number, most=most)
        assert local.siblings(number, most=most) == central.siblings(number, most=most)
    for found in local.find(Filter()):
        located = local.locate(found.event.key)
        assert located == central.locate(found.event.key)


@pytest.fixture
def two_hosts(tmp_path: Path, postgres_database: str) -> tuple[str, list[Path]]:
    """Returns the URL of a central database, and the two histories that were shipped to it."""
    make_central(postgres_database)
    paths = []
    for host, late, first in (("web1", 0.0, 100), ("db1", 0.5, 200)):
        shell = make_ran(b"sh", host=host, seconds=late, pid=first)
        events = [shell]
        for number in range(30):
            # Some at the same moment on both, and some that the clock puts before others.
            moment = late * (number % 3) + (30 - number if number % 7 == 0 else number)
            name = b"only-" + host.encode() if number == 20 else (b"ls", b"cat", b"id")[number % 3]
            events.append(make_ran(name, host=host, seconds=moment, pid=first + 1 + number, parent=shell.key))
        paths.append(make_history(tmp_path / f"{host}.db", events))
        ship(paths[-1], postgres_database)
    return postgres_database, paths


_WANTED = [
    Filter(),
    Filter(limit=7),
    Filter(reverse=True),
    Filter(reverse=True, limit=9),
    Filter(comms=(b"true",), args=(b"ls",)),
    Filter(args_regex=(b"ls|id",), limit=11),
    Filter(hosts=("w*",), args_regex=(b"ls|id",)),
    Filter(hosts=("db1",)),
    Filter(since_ns=at(5), until_ns=at(20)),
]


@pytest.mark.parametrize("wanted", _WANTED, ids=range(len(_WANTED)))
def test_several_hosts_are_asked_as_one(two_hosts: tuple[str, list[Path]], wanted: Filter) -> None:
    """In the order of time; of one host in that of its file."""
    url, paths = two_hosts
    with psycopg.connect(url) as connection:
        streams: dict[bytes, int] = dict(connection.execute("SELECT host, stream FROM stream").fetchall())
    every = []
    for path in paths:
        with open_history(path) as connection_:
            local = LocalHistory(connection_)
            of_host = local.find(replace(wanted, limit=None, reverse=False))
            every += [
                (each.event.time_ns, streams[each.event.host.encode()], each.number, each.event)
                for each in of_host
            ]
    if not wanted.hosts:
        every.sort(key=lambda each: each[:3])
    expected = [each[3] for each in every]
    if wanted.limit is not None:
        expected = expected[-wanted.limit :]
    if wanted.reverse:
        expected.reverse()
    with opened(url) as central:
        found = [*central.find(wanted)]
        assert expected == [each.event for each in found]
        assert len(expected) == central.count(wanted)
        assert len(expected) == central.stats(wanted, now_ns=at(100), top=5).execs
        assert found == central.fetch([each.number for each in found])
        for each in found[:5]:
            after = [*central.find(wanted, after=each.number)] if wanted.limit is None else []
            assert wanted.limit is not None or found[found.index(each) + 1 :] == after
            assert each.number == central.locate(each.event.key)


def test_a_fleet_is_counted_by_host_and_knows_what_is_new_anywhere(two_hosts: tuple[str, list[Path]]) -> None:
    """What one host ran before is new on none."""
    url, _ = two_hosts
    with opened(url) as central:
        assert [("db1", 31), ("web1", 31)] == [each[:2] for each in central.by_host(Filter())]
        new = [each.exe for each in central.sightings(at(15))]
        assert {b"/usr/bin/only-web1", b"/usr/bin/only-db1"} == {*new}
        found = [*central.find(Filter(new=at(15)))]
        assert {"web1", "db1"} == {each.event.host for each in found}
        for shell in [*central.find(Filter(args=(b"sh",)))]:
            below = [*central.find(Filter(under=(shell.number,)))]
            assert {shell.event.host} == {each.event.host for each in below}
            assert 30 == len(below) == central.count(Filter(under=(shell.number,)))
            assert 31 == len(central.descendants([shell.number]))


def test_a_regular_expression_is_narrowed_by_its_texts() -> None:
    """So the engine leaves out what cannot have it, and Python looks at the rest."""
    for regex, texts in ((b"curl .*http", [b"curl", b"http"]), (b"nc|socat", [b"nc", b"socat"])):
        conditions = Conditions(PostgreSQL())
        bounds = conditions.of(LineMatches(regex))
        assert bounds.upper.count("position(") == len(texts), bounds
        assert {*texts} <= set(conditions.parameters.values())
        assert bounds.lower == FALSE
    assert TRUE == Conditions(PostgreSQL()).of(LineMatches(b"c?")).upper


def test_how_far_a_search_is(two_hosts: tuple[str, list[Path]]) -> None:
    """Of several hosts in time, of one in execs; in either direction it grows."""
    location = location_of(two_hosts[0])
    assert isinstance(location, Central)
    for hosts, reverse in (((), False), ((), True), (("db1",), False), (("db1",), True)):
        seen: list[tuple[bool, int, int]] = []

        def look(far: Reading, seen: list[tuple[bool, int, int]] = seen) -> None:
            seen.append((far.has_numbers, far.execs(), far.done()))

        far = Reading(lambda: None, look)
        with postgresql.connected(location, reads=True) as connection:
            central = CentralHistory(PostgresReader(connection, location), far)
            assert [*central.find(Filter(hosts=hosts, reverse=reverse))]
        assert [bool(hosts)] * len(seen) == [has_numbers for has_numbers, _, _ in seen]
        assert seen
        assert 0 == seen[0][2]
        assert not hosts or 31 == seen[0][1]


def test_a_hunt_reads_what_may_be_hit(two_hosts: tuple[str, list[Path]]) -> None:
    """Rules with texts need few of the execs."""
    parent = Passes(Text("exe", of_parent=True), Like((Wild.MANY, b"/sh")))
    some = [
        Passes(Text(name), Like((Wild.MANY, text))) for name, text in (("line", b"ID"), ("exe", b"/ONLY-db1"))
    ]
    with opened(two_hosts[0]) as central:
        for said, looked_at in (
            (some[:1], 18),
            (some, 19),
            ([And((some[0], parent))], 18),
            ([*some, parent], 62),
        ):
            hunt = PagedHunt(
                central, Sieve([Rule(file="", title="", expression=each) for each in said]), Filter()
            )
            assert [*hunt.hits()]
            assert looked_at == hunt.looked_at
