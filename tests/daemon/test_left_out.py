"""A single event, whatever it is, costs itself and nothing else."""

from __future__ import annotations

import io
import json
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from execaudit.daemon import left_out
from execaudit.daemon.backlog import Backlog, Finished
from execaudit.daemon.budget import Budget
from execaudit.daemon.log_file import LogFile
from execaudit.daemon.losses import MOST_NAMED
from execaudit.daemon.sinks.database import DatabaseSink
from execaudit.daemon.sinks.json_log import JsonLogSink, JsonStreamSink
from execaudit.daemon.sinks.terminal import TerminalSink
from execaudit.enums import GapReason
from execaudit.errors import DamagedStoreError, FullStoreError
from execaudit.event import ExecEvent, ExitEvent, Gap, Nanoseconds
from execaudit.exec_id import ExecKey
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.store import argv_index
from execaudit.store.inserts import Inserts
from execaudit.store.writer import Store
from tests.histories import HOST, begin_run, make_event, make_exit

if TYPE_CHECKING:
    from pathlib import Path

GOOD = [make_event(b"a%d" % number, pid=100 + number, seconds=number) for number in range(9)]
UNSTORABLE: list[dict[str, Any]] = [
    {"pid": 2**63},
    {"time_ns": Nanoseconds(-(2**64)), "boot_ns": Nanoseconds(3)},
    {"inode": 2**70},
    {"uid": "root"},
    {"user": "\ud800"},
    {"kind": "no kind"},
    {"comm": 5},
    {"argv": "text"},
    {"holes": ({1, 2},), "truncated": "lost"},
]
UNSPEAKABLE: list[dict[str, Any]] = [{"time_ns": 2**80}, {"argv": None}, {"privileged": 9}, {"exe": 7}]


def bad(fields: dict[str, Any], number: int = 50) -> ExecEvent:
    """Returns an exec that cannot be stored."""
    return make_event(b"bad", **{"pid": number, "seconds": 3, "account": 1000, **fields})


def batch_of(events: list[ExecEvent], exits: tuple[ExitEvent, ...] = (), seen_ns: int = 7) -> Finished:
    """Returns a batch."""
    return Finished(events, [], list(exits), Nanoseconds(seen_ns))


def stored(path: Path) -> tuple[list[int], list[Gap]]:
    """Returns the pids and the gaps of a history."""
    with open_history(path) as connection:
        return [found.event.pid for found in find.find(connection, Filter())], find.gaps(connection, Filter())


@pytest.mark.parametrize("fields", UNSTORABLE, ids=repr)
def test_the_history_has_all_others(tmp_path: Path, fields: dict[str, Any]) -> None:
    """An event that SQLite, or Python on the way there, refuses is a gap; the log has its reason once."""
    path = tmp_path / "h.db"
    with Store(path) as store, capture_logs() as said:
        begin_run(store)
        sink = DatabaseSink(store, host=HOST)
        sink.accept(batch_of(GOOD[:2], seen_ns=5))
        sink.accept(batch_of([*GOOD[2:5], bad(fields), *GOOD[5:]]))
        sink.accept(batch_of([make_event(b"z", pid=200, seconds=10)], seen_ns=9))

    gap = Gap(HOST, Nanoseconds(5), Nanoseconds(7), GapReason.UNSTORABLE, 1, 0, uid=1000)
    assert ([*range(100, 109), 200], [gap]) == stored(path)
    (line,) = [line for line in said if line["event"] == "left_out"]
    assert "database" == line["sink"]
    assert line["reason"]


@pytest.mark.parametrize("fields", UNSTORABLE + UNSPEAKABLE, ids=repr)
def test_where_it_is_only_counted_the_gap_can_be_stored(tmp_path: Path, fields: dict[str, Any]) -> None:
    """At the limit of a history, and where memory is full."""
    path = tmp_path / "h.db"
    budget, backlog = Budget(HOST), Backlog(HOST, 10)
    batches = [budget.admit(batch_of([bad(fields)]), 1.0)]
    for batch in batch_of(GOOD[:1]), batch_of([bad(fields)]):
        backlog.add(batch)
    while (first := backlog.first()) is not None:
        batches.append(first)
        backlog.written()
    with Store(path) as store:
        begin_run(store)
        for batch in batches:
            store.append(batch.events, batch.gaps, batch.exits, seen_ns=batch.seen_ns)

    pids, gaps = stored(path)
    assert ([GOOD[0].pid], [(1000, 1)] * 2) == (pids, [(gap.uid, gap.count) for gap in gaps])


def test_many_are_a_few_gaps(tmp_path: Path) -> None:
    """Of several users, and ends among them; the log is not flooded."""
    path = tmp_path / "h.db"
    bads = [bad({"pid": 2**63 + number, "account": number}) for number in range(30)]
    bad_exit = ExitEvent(ExecKey(1, 1, 1), Nanoseconds(5), Nanoseconds(5), 2**63, 0)
    mixed = [event for pair in zip(bads, GOOD, strict=False) for event in pair]
    with Store(path) as store, capture_logs() as said:
        begin_run(store)
        exits = make_exit(GOOD[0].key, 4), bad_exit
        DatabaseSink(store, host=HOST).accept(batch_of([*mixed, *bads[9:]], exits))

    pids, gaps = stored(path)
    named = [*range(MOST_NAMED), None]
    assert [*range(100, 109)] == pids
    assert [(uid, 1, 0) for uid in named[:-1]] + [(None, 30 - MOST_NAMED, 1)] == [
        (gap.uid, gap.count, gap.exits) for gap in gaps
    ]
    assert {(HOST, 7, 7, GapReason.UNSTORABLE)} == {
        (gap.host, gap.from_ns, gap.to_ns, gap.reason) for gap in gaps
    }
    assert [10, 1] == [sum(line["event"] == name for line in said) for name in ("left_out", "more_left_out")]


def test_one_alone_is_left_out_too(tmp_path: Path) -> None:
    """A quiet host's batch has one event."""
    path = tmp_path / "h.db"
    with Store(path) as store:
        begin_run(store)
        DatabaseSink(store, host=HOST).accept(batch_of([bad({"pid": 2**63})]))

    pids, gaps = stored(path)
    assert ([], [1]) == (pids, [gap.count for gap in gaps])


@pytest.mark.parametrize(
    "error",
    [
        OverflowError("ours"),
        sa.exc.ProgrammingError("x", {}, Exception("ours")),
        *(
            sa.exc.OperationalError("x", {}, sqlite3.OperationalError(text))
            for text in (
                "no such table: exec",
                "no such column: x",
                'near "x": syntax error',
                "table x has no column named y",
            )
        ),
    ],
    ids=str,
)
def test_a_bug_is_no_events_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """What a plain event fails with too ends the recorder with its traceback."""

    def insert(*_: object) -> None:
        raise error

    with Store(tmp_path / "h.db") as store:
        begin_run(store)
        monkeypatch.setattr(Inserts, "insert", insert)
        with pytest.raises(type(error)):
            DatabaseSink(store, host=HOST).accept(batch_of(GOOD))


def test_what_only_all_together_cannot_be_is_a_bug() -> None:
    """Nothing is left out without a culprit."""
    with pytest.raises(ValueError, match="together"):
        left_out.sift(batch_of(GOOD), lambda _events, _exits: None, ValueError("together"))


def test_a_full_disk_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the culprit is looked for, too: then all is tried again, and the log says it once."""
    path = tmp_path / "h.db"
    with Store(path) as store, capture_logs() as said:
        begin_run(store)
        sink = DatabaseSink(store, host=HOST)
        with monkeypatch.context() as patched:

            def check(*_: object) -> None:
                raise FullStoreError("full")

            patched.setattr(store, "check", check)
            sink.accept(batch_of([bad({"pid": 2**63}), *GOOD]))
            assert sink.waits()
        sink.finish()

    pids, gaps = stored(path)
    assert ([*range(100, 109)], [1]) == (pids, [gap.count for gap in gaps])
    assert 1 == sum(line["event"] == "left_out" for line in said)


@pytest.mark.parametrize("fields", UNSPEAKABLE, ids=repr)
@pytest.mark.parametrize("kind", ["file", "stream"])
def test_the_json_log_has_all_others(tmp_path: Path, fields: dict[str, Any], kind: str) -> None:
    """An exec that cannot be put into words is a gap there."""
    path = tmp_path / "x.jsonl"
    written = io.BytesIO()
    sink = JsonLogSink(LogFile(path)) if kind == "file" else JsonStreamSink(written.write)
    with capture_logs() as said:
        sink.accept(batch_of([*GOOD[:3], bad(fields), *GOOD[3:]]))
        sink.accept(batch_of(GOOD[:1], seen_ns=8))
    sink.close()

    text = path.read_text() if kind == "file" else written.getvalue().decode()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [*range(100, 109), None, 100] == [line.get("pid") for line in lines]
    assert ("gap", "unstorable", 1, 1000) == tuple(
        lines[9][name] for name in ("kind", "reason", "count", "uid")
    )
    assert 1 == sum(line["event"] == "left_out" for line in said)


def test_the_terminal_shows_all_others() -> None:
    """A row for each, and one for the gap."""
    written = io.BytesIO()
    TerminalSink(written.write).accept(batch_of([*GOOD, bad({"argv": None})]))
    lines = written.getvalue().decode().splitlines()

    assert 11 == len(lines)
    assert "gap: 1 exec of uid 1000 missed" in lines[-1]
    assert "(unstorable)" in lines[-1]


def test_a_bug_in_words_is_raised() -> None:
    """A line that no exec can have is no exec's fault."""

    def line(_event: ExecEvent) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(left_out.lines(GOOD, line, []))


@pytest.mark.parametrize("account", ["root", -1, 2**32, (), {}], ids=repr)
def test_a_bad_account_names_nobody(tmp_path: Path, account: object) -> None:
    """It is what could not be stored, and must not be in a gap."""
    path = tmp_path / "h.db"
    with Store(path) as store:
        begin_run(store)
        bads = [bad({"pid": 2**63, "account": each}) for each in (account, 1000)]
        DatabaseSink(store, host=HOST).accept(batch_of(bads))

    assert [(1000, 1), (None, 1)] == [(gap.uid, gap.count) for gap in stored(path)[1]]


@pytest.mark.parametrize(
    ("raised", "ends"),
    [
        (sqlite3.DatabaseError("database disk image is malformed"), DamagedStoreError),
        (sqlite3.ProgrammingError("a bug"), sqlite3.ProgrammingError),
        (sqlite3.IntegrityError("a bug"), sqlite3.IntegrityError),
        (sqlite3.OperationalError("no such column: x"), sqlite3.OperationalError),
    ],
    ids=repr,
)
def test_what_indexing_meets_is_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception, ends: type[Exception]
) -> None:
    """A damaged database ends the recorder, and so does a bug."""

    def step(*_: object) -> None:
        raise raised

    monkeypatch.setattr(argv_index.Indexing, "step", step)
    with Store(tmp_path / "h.db") as store:
        begin_run(store)
        sink = DatabaseSink(store, host=HOST)
        sink.accept(batch_of(GOOD))
        with pytest.raises(ends):
            sink.tidy()
