"""Shards that are asked as one: each command answers as it does from the files of the hosts."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.central import clickhouse_admin
from execaudit.central.tables import TABLES, stream_number
from execaudit.database.files import open_to_write
from execaudit.fleet.answer_pages import number_of
from execaudit.store.writer import Run, Store
from tests.commands import execaudit
from tests.examples import examples
from tests.fleet.centre import central, make_central, ship
from tests.fleet.clickhouse_servers import CLUSTER, Shards
from tests.fleet.servers import PostgresServer, running
from tests.fleet.test_central_clickhouse import opened
from tests.fleet.test_central_history import questions, same_answers
from tests.histories import at, make_exit, make_gap, make_hit, make_ran
from tests.query.filter_model import histories, stored

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.events import Batch
    from tests.fleet.test_central_history import Asked

pytestmark = pytest.mark.long_fleet
HOSTS = ("web1", "web2", "db1", "db2", "mail")
_RULES = """\
title: a list
id: 8e1f7c3a-0f3c-4b3e-9d57-000000000001
level: high
logsource: {category: process_creation, product: linux}
detection:
  selection: {Image|endswith: /ls}
  condition: selection
"""


class Fleet(NamedTuple):
    """The files of some hosts, and where they were shipped to."""

    paths: dict[str, Path]
    shards: Shards
    url: str
    """Of the shards."""
    reference: str
    """Of a central database in PostgreSQL, which other tests compare with files."""


def _recorded(path: Path, place: int) -> None:
    """Stores a shell with children, of which some end late, and hits."""
    host, boot_id = HOSTS[place], f"{place + 1:08x}-2222-4333-8444-555555555555"
    first = 1000 * (place + 1)
    shell = make_ran(
        b"sh", b"-c", b"a b\n\xff", host=host, boot_id=boot_id, pid=first, user="alice", uid=1000
    )
    events = [shell]
    for number in range(1, 41):
        # Some at the same moment on all hosts, and some that the clock puts before others.
        moment = 50 - number if number % 7 == 0 else number + place / 10 * (number % 3)
        name = b"only-" + host.encode() if number == 20 else (b"ls", b"cat", b"id")[number % 3]
        parent = shell if number % 4 else events[-1]
        events.append(
            make_ran(
                name, b"%d" % number, host=host, boot_id=boot_id, seconds=moment, pid=first + number,
                parent=parent.key, ppid=parent.pid, parent_comm=parent.launch.comm, comm=name,
            )
        )  # fmt: skip
    with Store(path) as store:
        store.begin_run(Run(boot_id=boot_id, host=host, version=f"1.{place}", started_ns=at(-1)))
        store.append(events, [replace(make_gap(5.6, 5.7, count=3), host=host)] if place == 2 else ())
        store.append((), (), [make_exit(each.key, 60 + place, 256 * (place % 2)) for each in events[::3]])
        store.append_hits([make_hit(number) for number in range(2, 20, 3)], len(events))
        store.end_run(at(1000))


def _stream_of(path: Path) -> int:
    with closing(open_to_write(path, busy_seconds=5)) as connection:
        (stream_id,) = connection.execute("SELECT value FROM meta WHERE key = 'stream_id'").fetchone()
    return stream_number(stream_id, 0)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Returns hosts on both shards."""
    folder = tmp_path_factory.mktemp("fleet")
    paths = {}
    for place, host in enumerate(HOSTS):
        path = folder / f"{host}.db"
        # A stream is on the shard of its rest: two hosts at least are on each.
        while not path.exists() or _stream_of(path) % 2 != place % 2:
            path.unlink(missing_ok=True)
            _recorded(path, place)
        paths[host] = path
    shards, postgres = Shards(), PostgresServer()
    with ExitStack() as stack:
        for server in (*shards, postgres):
            stack.enter_context(running(server))
        url, reference = shards.first.url("fleet"), postgres.url(postgres.new_database())
        clickhouse_admin.upgrade(central(url), None, CLUSTER, None)
        postgres.connect().execute("CREATE DATABASE other").connection.close()
        for each in (reference, postgres.url("other")):
            make_central(each)
        for path in paths.values():
            ship(path, url)
            ship(path, reference)
        yield Fleet(paths, shards, url, reference)


def test_hosts_are_on_both_shards(fleet: Fleet) -> None:
    """Else the other tests of this file prove nothing."""
    for server in fleet.shards:
        assert server.execute("SELECT uniqExact(stream) FROM exec_local", database="fleet")[0][0] > 1


_COMMANDS = (
    ("query",),
    ("query", "--format", "table"),
    ("query", "--format", "csv", "--limit", "17"),
    ("query", "--reverse", "--limit", "9"),
    ("query", "--limit", "0"),
    ("query", "--count"),
    ("query", "--count", "--where", "duration > 10s"),
    ("query", "--comm", "l*", "--sort", "pid"),
    ("query", "--args-regex", "^(ls|id) .$", "--limit", "11"),
    ("query", "--user", "alice"),
    ("query", "--where", "exit_code != 0 and parent_comm == 'sh'"),
    ("query", "--host", "web*", "--limit", "5"),
    ("query", "--under", "pid:3000"),
    ("query", "--not-under", "pid:3000"),
    ("query", "--around", "pid:2007", "--within", "3s"),
    ("query", "--new", "--since", "@1795370935"),
    ("export", "--format", "csv"),
    ("export", "--format", "ecs", "--host", "d*"),
    ("export", "--format", "jsonl", "--since", "@1795370930", "--until", "@1795370950"),
    ("show", "pid:3004"),
    ("show", "pid:3004", "--format", "json"),
    ("tree",),
    ("tree", "--pid", "2000"),
    ("tree", "--comm", "cat", "--limit", "7"),
    ("stats", "--format", "json"),
    ("stats", "--by", "host"),
    ("stats", "--by", "host", "--where", "duration > 10s"),
    ("stats", "--limit", "13", "--format", "json"),
    ("stats", "--under", "pid:3000", "--format", "json"),
    ("stats", "--new", "--since", "@1795370935", "--format", "json"),
    ("hunt", "RULES"),
    ("hunt", "RULES", "--format", "jsonl", "--host", "web*"),
)
# How large it is on the disk, and how it grows.
_SIZES = re.compile(rb'"(max_)?bytes(_a_day)?":(null|[0-9]+)|(takes|grows by) [0-9.]+ [kMG]?B?(bytes)?')


def _said(url: str | Path, words: tuple[str, ...], rules: Path) -> tuple[int, bytes, bytes]:
    rules.write_text(_RULES)
    done = execaudit("--db", url, *(str(rules) if word == "RULES" else word for word in words))
    return done.status, _SIZES.sub(b"", done.out), done.err


@pytest.mark.parametrize("words", _COMMANDS, ids=" ".join)
def test_a_command_says_what_it_says_elsewhere(fleet: Fleet, tmp_path: Path, words: tuple[str, ...]) -> None:
    """Of five hosts."""
    expected = _said(fleet.reference, words, tmp_path / "rules.yml")

    assert 0 == expected[0], expected
    assert expected == _said(fleet.url, words, tmp_path / "rules.yml")


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    "words",
    [("query",), ("export", "--format", "csv"), ("tree",), ("query", "--limit", "4"), ("hunt", "RULES")],
    ids=" ".join,
)
def test_one_host_of_many_is_its_file(
    fleet: Fleet, tmp_path: Path, host: str, words: tuple[str, ...]
) -> None:
    """Whatever shard it is on."""
    rules = tmp_path / "rules.yml"
    chosen = _said(fleet.url, (*words, "--host", host), rules)

    assert _said(fleet.paths[host], words, rules) == chosen
    assert chosen[1]


def test_every_server_gives_the_same_answer(fleet: Fleet) -> None:
    """Whichever is asked."""
    one, other = (execaudit("--db", server.url("fleet"), "query") for server in fleet.shards)

    assert len(one.rows()) == 41 * len(HOSTS)
    assert one == other


def test_the_status_counts_all_hosts(fleet: Fleet) -> None:
    """As it does elsewhere, but for when they were heard of."""
    lists = []
    for url in (fleet.url, fleet.reference):
        said = json.loads(execaudit("--db", url, "fleet", "status", "--format", "json").out)
        for each in said["hosts"]:
            del each["last_heard_of"]
        lists.append(said["hosts"])

    assert sorted(HOSTS) == [each["host"] for each in lists[1]]
    assert lists[1] == lists[0]


def test_a_report_has_what_it_has_elsewhere(fleet: Fleet, tmp_path: Path) -> None:
    """But for the database's size and name."""
    pages = []
    for name, url in (("one", fleet.url), ("other", fleet.reference)):
        page = tmp_path / f"{name}.html"
        done = execaudit("--db", url, "report", "-o", page)
        assert 0 == done.status, done.err
        data = r'<script type="application/json"[^>]*>(.*?)</script>'
        pages.append(re.findall(data, page.read_text(), re.DOTALL))

    assert pages[0]
    assert pages[1] == pages[0]


@examples(10)
@given(st.lists(histories, min_size=2, max_size=4), questions)
def test_several_histories_give_the_same_answers(
    tmp_path_factory: pytest.TempPathFactory, fleet: Fleet, several: list[list[Batch]], asked: Asked
) -> None:
    """On both shards or on one, of the same hosts, and with the same ids."""
    folder = tmp_path_factory.mktemp("several")
    server, name = fleet.shards.first, folder.name
    url, reference = server.url(name), fleet.reference.rpartition("/")[0] + "/other"
    clickhouse_admin.upgrade(central(url), None, CLUSTER, None)
    with psycopg.connect(reference, autocommit=True) as connection:
        connection.execute(f"TRUNCATE {', '.join(table.name for table in TABLES)}".encode())
    for place, batches in enumerate(several):
        (folder / str(place)).mkdir()
        with stored(folder / str(place), batches):
            ship(folder / str(place) / "history.db", url)
            ship(folder / str(place) / "history.db", reference)
    numbers = [number_of(place % len(several), seq) for place, seq in enumerate(asked.numbers)]
    with opened(reference) as expected, opened(url) as history:
        same_answers(expected, history, asked._replace(numbers=numbers))
    for each in fleet.shards:
        each.drop_database(name)


def test_hosts_of_each_shard_are_retired(fleet: Fleet) -> None:
    """The last test: they stay so. With all of their streams, whatever shard these are on."""
    for host in HOSTS[:2]:
        assert 0 == execaudit("--db", fleet.url, "fleet", "forget", host).status
    listed, every = (
        json.loads(execaudit("--db", fleet.url, "fleet", "status", "--format", "json", *words).out)["hosts"]
        for words in ((), ("--all",))
    )

    assert sorted(HOSTS[2:]) == [each["host"] for each in listed]
    assert sorted(HOSTS) == [each["host"] for each in every]
    silent = execaudit("--db", fleet.url, "query", "--format", "table", "--since", "now", silence=True)
    assert 3 == silent.err.count(b"nobody has recorded since")
