"""Users of a recorded host, and forwarders that mean harm, cost others nothing in ClickHouse."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from execaudit.central.clickhouse_schema import DAY_NS
from execaudit.central.tables import EXEC, EXIT, GAP, HEAD, HIT, PROGRAM, PRUNED, RULE, RUN, STREAM
from execaudit.errors import StoreError
from execaudit.forward.clickhouse_target import ClickHouseTarget
from execaudit.store.writer import Store
from tests.commands import execaudit
from tests.fleet.centre import central, make_central, ship
from tests.fleet.recording import appended
from tests.fleet.shipping import Rows, made, shipped, sorted_rows
from tests.histories import HOST, at, begin_run, make_event, make_exit, make_history, make_hit

if TYPE_CHECKING:
    from pathlib import Path

    from execaudit.central.tables import Table
    from tests.fleet.clickhouse_servers import ClickHouse

_LEAST, _MOST = -(2**63), 2**63 - 1


class _Centre(NamedTuple):
    """A central database in ClickHouse."""

    server: ClickHouse
    url: str

    @property
    def name(self) -> str:
        """The name of the database."""
        return self.url.rpartition("/")[2]

    def rows(self, table: Table, where: str = "1 = 1") -> list[tuple[Any, ...]]:
        """Returns rows as whoever asks finds them."""
        columns = ", ".join(f"`{name}`" for name in table.names)
        sql = f"SELECT {columns} FROM `{table.name}` FINAL WHERE {where}"
        return sorted_rows(self.server.execute(sql, database=self.name))

    def insert(self, table: Table, row: dict[str, object]) -> None:
        """Inserts what a forwarder may."""
        columns = ", ".join(f"`{name}`" for name in table.names)
        values = tuple(row[name] for name in table.names)
        self.server.execute(f"INSERT INTO `{table.name}` ({columns}) VALUES", [values], self.name)


@pytest.fixture
def centre(clickhouse: ClickHouse, clickhouse_database: str) -> _Centre:
    """Returns a central database to which nothing was forwarded."""
    return _Centre(clickhouse, make_central(clickhouse_database))


_EXECS: tuple[dict[str, object], ...] = (
    {"kind": 99},
    {"kind": -1},
    {"boot_id": b"x\n"},
    {"pid": _MOST},
    {"ts": _LEAST},
    {"ts": _MOST},
    {"boot_ns": _LEAST},
    {"boot_ns": _MOST},
    {"truncated": 1},
    {"truncated": 99, "holes": b"[]"},
    {"truncated": 1, "holes": b"\xff{"},
    {"truncated": 1, "holes": b'[[1e400,"x"]]'},
    {"truncated": 1, "holes": b'[["x",null]]'},
    {"truncated": 1, "holes": b"[" * 100_000},
    {"truncated": 1, "holes": b"[]", "redacted": b"x"},
    {"seq": 2**62},
    {"seq": 2**40 + 1},
    {"seq": -5},
    {"user": b"\xff\x1b[31m\0"},
    {"errno": 2**62},
    {"duration_ns": -5, "status": 2**62},
    {"duration_ns": _MOST, "status": _LEAST},
    {"host": b"\xff\n\x1b[31m\0"},
    {"parent": 500},
    {"parent": _LEAST},
    {"argv": b"no end"},
    {"argc": -1, "argv_bytes": -7},
    {"argc": _MOST},
    {"privileged": 32767},
    {"privileged": -9},
    {"comm": b"\0\xff" * 9},
    {"uid": _LEAST, "ppid": _LEAST, "session": _LEAST, "auid": _MOST},
    {"inode": -1, "device": _LEAST, "nlink": -1},
    {"uid": None, "euid": None, "gid": None, "comm": None, "exe": None},
)
_GAP: dict[str, object] = {
    "host": b"evil\x1b", "ts_from": 1, "ts_to": _MOST, "reason": b"none", "count": 1, "exits": 0, "uid": None,
}  # fmt: skip
_RUN: dict[str, object] = {
    "boot_id": b"z\xff", "host": b"\xff\x1b", "version": b"\x1b\n", "started_ns": _MOST, "stopped_ns": _LEAST, "seen_ns": None,
}  # fmt: skip
_OTHERS: tuple[tuple[Table, dict[str, object]], ...] = (
    (GAP, {**_GAP, "id": 9}),
    (GAP, {**_GAP, "id": 10, "reason": b"clock", "ts_from": _MOST, "ts_to": _LEAST, "count": _LEAST, "uid": -1}),
    (GAP, {**_GAP, "id": 11, "reason": b"ring_full", "ts_from": _LEAST, "count": _MOST, "exits": -1}),
    (HIT, {"seq": 1, "ts": at(0), "rule": 77, "left_out": 0}),
    (HIT, {"seq": 1, "ts": at(0), "rule": 78, "left_out": _LEAST}),
    (RULE, {"id": 78, "uuid": b"\xff", "title": b"\x1b[31m", "level": b"\xff", "tags": b"garbage", "file": b"\0"}),
    (RUN, {**_RUN, "id": 50}),
    (RUN, {**_RUN, "id": 51, "boot_id": b"", "host": b"", "started_ns": _LEAST, "stopped_ns": None}),
    (EXIT, {"seq": 1, "ts": at(0), "id": 99, "duration_ns": _LEAST, "status": _MOST, "replaced_by": 2**62}),
    (HEAD, {"chain": b"\x1b\n", "epoch": _LEAST, "at_ns": _MOST, "hash": b"\xff"}),
    (HEAD, {"chain": b"\xff", "epoch": _MOST, "at_ns": _LEAST, "hash": b""}),
    *((HEAD, {"chain": b"%d" % number, "epoch": 1, "at_ns": _LEAST, "hash": b"x"}) for number in range(12)),
    (PROGRAM, {"exe": b"\x1b", "first_ts": _LEAST}),
    (
        PRUNED,
        {
            "id": 99, "at_ns": 1, "top": 1, "ts_from": 1, "ts_to": 1, "execs": -1, "reason": b"\xff", "finished": -1,
        },
    ),
)  # fmt: skip
_STREAMS: tuple[dict[str, object], ...] = (
    {"continued": b"garbage"},
    {"continued": b"[1e400]"},
    {"continued": b"[" * 200_000},
    {"continued": b'{"a":1}'},
    {"host": b"\xff\x1b\n", "version": b"\x1b"},
    {"contact_ns": _MOST, "first_ns": _LEAST, "last_seq": _MOST, "exec_seq": _LEAST},
    {"live_run": -5, "lost_ns": _LEAST},
    {"shifts": b"x"},
    {"shifts": b"[" * 200_000},
    {"stream_id": b"\xff"},
    {"stream": -5},
    {"stream": _LEAST},
)
_COMMANDS = (
    ("query",),
    ("query", "--count", "--where", "duration > 10s"),
    ("export", "--format", "csv"),
    ("export", "--format", "ecs"),
    ("export", "-o", "x.parquet"),
    ("tree",),
    ("stats",),
    ("stats", "--by", "host", "--where", "duration > 10s"),
    ("hunt", "rule.yml"),
    ("report", "-o", "x.html"),
)
_RULE = """\
title: any
id: 8e1f7c3a-0f3c-4b3e-9d57-000000000001
logsource: {category: process_creation, product: linux}
detection:
  selection: {Image|endswith: /true}
  condition: selection
"""


def test_what_one_forwarder_sends_ends_no_question(centre: _Centre, tmp_path: Path) -> None:
    """Whatever stands in its own streams: the answers about others stay, and no terminal is written to."""
    good, evil = tmp_path / "good.db", tmp_path / "evil.db"
    appended(good, 1, 20)
    ship(good, centre.url)
    before = execaudit("--db", centre.url, "query", "--host", HOST)
    make_history(evil, [make_event(b"a", host="evil")])
    ship(evil, centre.url)
    ((stream, *_),) = centre.rows(STREAM, "host = 'evil'")
    own, its = (
        dict(zip(table.names, centre.rows(table, f"stream = {stream}")[0], strict=True))
        for table in (EXEC, STREAM)
    )
    for seq, harm in enumerate(_EXECS, 1000):
        centre.insert(EXEC, {**own, "seq": seq, **harm})
    for table, harm in _OTHERS:
        centre.insert(table, {"stream": stream, **harm})
    for more, harm in enumerate(_STREAMS, 1):
        centre.insert(STREAM, {**its, "stream": stream + more, **harm})
    (tmp_path / "rule.yml").write_text(_RULE)

    after = execaudit("--db", centre.url, "query", "--host", HOST)
    assert (before.status, before.out) == (after.status, after.out)
    for words in _COMMANDS:
        done = execaudit("--db", centre.url, *words, folder=tmp_path)
        assert 0 == done.status, (words, done.err)
        assert b"\x1b" not in done.out + done.err, words
    status = execaudit("--db", centre.url, "fleet", "status", "--format", "json")
    assert {HOST, "evil"} < {each["host"] for each in json.loads(status.out)["hosts"]}


def test_what_has_arrived_cannot_be_replaced(centre: _Centre, tmp_path: Path) -> None:
    """By whoever may insert: of the same row, the one that came first stays, on whatever day."""
    path = tmp_path / "x.db"
    with Store(path) as store:
        begin_run(store)
        store.begin_hunting()
    appended(path, 1, 20)
    ship(path, centre.url)
    tables = (EXEC, EXIT, HIT, RULE, GAP)
    before = {table: centre.rows(table) for table in tables}
    # The server's clock says which was first, in seconds.
    time.sleep(1.1)
    for table, rows in before.items():
        first = dict(zip(table.names, rows[0], strict=True))
        harm: dict[str, object] = {name: b"false" for name in ("argv", "title", "host") if name in first}
        later: dict[str, object] = {"ts": first["ts"] + DAY_NS} if "ts" in first else {}
        for more in ({}, later):
            centre.insert(table, {**first, **harm, **more})
    assert before == {table: centre.rows(table) for table in tables}
    for table in tables:
        centre.server.execute(f"OPTIMIZE TABLE `{table.name}` FINAL", database=centre.name)

    assert before == {table: centre.rows(table) for table in tables}


def _jumping(rows: Rows) -> Rows:
    """Returns the same of a host whose clock jumps at each exec: between days, and over centuries."""
    execs = []
    place = EXEC.names.index("ts")
    today_ns = time.time_ns() // DAY_NS * DAY_NS
    for number, row in enumerate(rows.tables[EXEC]):
        ts = today_ns - number % 3 * DAY_NS if number % 2 else number * 31 * DAY_NS
        execs.append((*row[:place], ts, *row[place + 1 :]))
    return rows._replace(tables={**rows.tables, EXEC: execs, EXIT: [], HIT: []})


def test_a_clock_that_jumps_makes_few_parts(centre: _Centre) -> None:
    """Else merging them would hold up all hosts."""
    host = _jumping(made(2000))
    shipped(ClickHouseTarget(central(centre.url), lambda: None), host, 1000)

    assert sorted_rows(host.tables[EXEC]) == centre.rows(EXEC)
    # Those that were merged count, too.
    ((parts, partitions),) = centre.server.execute(
        "SELECT count() AS n, uniqExact(partition) AS m FROM system.parts WHERE table = 'exec' AND database = currentDatabase()",
        database=centre.name,
    )
    assert parts <= 30
    assert partitions <= 20


def test_a_clock_that_jumps_loses_nothing_in_a_kill(centre: _Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    """After any of its blocks."""
    host = _jumping(made(300))
    insert = ClickHouseTarget._insert  # to end before it
    for blocks in range(1, 6):
        left = blocks

        def cut(self: ClickHouseTarget, table: Table, rows: Any, stream: int) -> None:  # noqa: ANN401
            nonlocal left
            left -= table is EXEC
            if not left:
                raise StoreError("killed")
            insert(self, table, rows, stream)

        target = ClickHouseTarget(central(centre.url), lambda: None)
        with monkeypatch.context() as patched:
            patched.setattr(ClickHouseTarget, "_insert", cut)
            with pytest.raises(StoreError):
                shipped(target, host, 100)
        target.close()
    shipped(ClickHouseTarget(central(centre.url), lambda: None), host, 100)

    assert sorted_rows(host.tables[EXEC]) == centre.rows(EXEC)
    assert len(host.tables[EXEC]) == len(centre.server.execute("SELECT seq FROM exec", database=centre.name))


@pytest.mark.long_fleet
def test_a_large_batch_of_late_ends_arrives(centre: _Centre, tmp_path: Path) -> None:
    """More numbers than a statement of a server may have by itself."""
    path, count = tmp_path / "x.db", 60_000
    with Store(path) as store:
        begin_run(store)
        events = [make_event(b"a", seconds=n / 1000, pid=n % 4_000_000 + 1) for n in range(count)]
        store.append(events, ())
        store.append((), (), [make_exit(each.key, 100) for each in events])
    ship(path, centre.url, batch=100_000)

    assert [(count,)] == centre.server.execute("SELECT count() AS n FROM exit FINAL", database=centre.name)


@pytest.mark.long_fleet
def test_enormous_command_lines_are_shipped_and_read(centre: _Centre, tmp_path: Path) -> None:
    """Of two megabytes, and of 100 000 arguments, as many as fit into less than the server's memory."""
    path, count = tmp_path / "x.db", 300
    with Store(path) as store:
        begin_run(store)
        for number in range(count):
            line = [b"%d" % number] * 100_000 if number % 2 else [b"%d" % number, b"\xff" * 2_000_000]
            store.append([make_event(*line, seconds=number, pid=number + 1, tid=number + 1)], ())
    ship(path, centre.url)
    for words, expected in (
        (("query", "--count"), b"%d\n" % count),
        (("query", "--count", "--args", "299 299 299"), b"1\n"),
        (("query", "--columns", "pid", "--format", "csv", "--limit", "3"), b"pid\n298\n299\n300\n"),
        (("query", "--columns", "pid", "--format", "csv", "--pid", "7"), b"pid\n7\n"),
    ):
        done = execaudit("--db", centre.url, *words)
        assert (0, expected) == (done.status, done.out.replace(b"\r", b"")), done.err


@pytest.mark.long_fleet
def test_a_million_hits_arrive(centre: _Centre, tmp_path: Path) -> None:
    """Rules that hit each exec."""
    path, count, rules = tmp_path / "x.db", 50_000, 20
    appended(path, 1, 10)
    with Store(path) as store:
        begin_run(store)
        store.begin_hunting()
        store.append([make_event(b"a", seconds=n / 1000, pid=n + 1) for n in range(count)], ())
        first = 11
        for start in range(first, first + count, 1000):
            numbers = range(start, start + 1000)
            store.append_hits(
                [make_hit(number, f"rule {rule}") for number in numbers for rule in range(rules)],
                numbers[-1],
            )
    ship(path, centre.url, batch=20_000)

    assert [(count * rules + 1,)] == centre.server.execute(
        "SELECT count() AS n FROM hit FINAL", database=centre.name
    )


@pytest.mark.parametrize(
    "harm",
    [
        {"exec_seq": _MOST},
        {"exit_id": _LEAST},
        {"shifts": b'{"exec":[[0,9223372036854775807]]}'},
        {"shifts": b'{"exec":[[1e999,5]]}'},
        {"shifts": b"[" * 200_000},
    ],
    ids=range(5),
)
def test_numbers_that_make_no_sense_are_one_line(
    centre: _Centre, tmp_path: Path, harm: dict[str, object]
) -> None:
    """The forwarder of the host whose stream somebody falsified says so, and tries nothing for ever."""
    path = tmp_path / "x.db"
    appended(path, 1, 20)
    ship(path, centre.url)
    row = dict(zip(STREAM.names, centre.rows(STREAM)[0], strict=True))
    centre.insert(STREAM, {**row, **harm})
    appended(path, 21, 30)
    done = execaudit("--db", path, "forward", "--once", "--to", centre.url)

    assert 1 == done.status
    assert done.failed_in_one_line()
    assert b"makes no sense" in done.err
