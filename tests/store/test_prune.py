"""What is deleted of an old history, and what stays; against a plain model, and beside a writer."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.daemon.retention import Retention
from execaudit.database.files import size_of
from execaudit.enums import Kind
from execaudit.event import ExecEvent, Nanoseconds
from execaudit.query import summary
from execaudit.query.connection import open_history
from execaudit.store import inserts, prune, prune_plan
from execaudit.store.limits import Limits
from execaudit.store.sealing import Sealer
from execaudit.store.writer import Store
from tests.commands import execaudit
from tests.examples import examples
from tests.histories import (
    BOOT_ID,
    at,
    begin_run,
    make_event,
    make_exit,
    make_gap,
    make_hit,
    now_at,
    set_clock,
)

CHECKOUT = Path(__file__).parents[2]
OTHER_BOOT = "99999999-2222-4333-8444-555555555555"
# Which columns name rows of which table.
REFERENCES = {
    ("exec", "parent_id"): "exec", ("exec", "clock_id"): "clock", ("exec", "comm_id"): "comm",
    ("exec", "launch_id"): "launch", ("exec", "origin_id"): "origin", ("exec", "argv_id"): "argv",
    ("exit", "exec_id"): "exec", ("argv_cut", "exec_id"): "exec", ("hit", "exec_id"): "exec",
    ("launch", "user_id"): "user", ("launch", "comm_id"): "comm", ("launch", "parent_comm_id"): "comm",
    ("launch", "filename_id"): "path", ("launch", "exe_id"): "path", ("launch", "cwd_id"): "path",
    ("launch", "interpreter_id"): "path", ("launch", "root_id"): "path", ("origin", "login_user_id"): "user", ("origin", "cgroup_id"): "path",
}  # fmt: skip


def opened(path: Path) -> closing[sqlite3.Connection]:
    """The database, in autocommit mode."""
    return closing(sqlite3.connect(path, isolation_level=None, timeout=30))


def dangling(path: Path) -> list[tuple[str, str]]:
    """Returns the columns that name a row that is not there."""
    with opened(path) as connection:
        return [
            (table, column)
            for (table, column), into in (REFERENCES | {("long_argv", "argv_id"): "argv"}).items()
            if connection.execute(
                f"SELECT 1 FROM {table} AS t LEFT JOIN {into} AS i ON i.id = t.{column}"
                f" WHERE t.{column} IS NOT NULL AND i.id IS NULL LIMIT 1"
            ).fetchone()
        ]


def unused(path: Path) -> dict[str, int]:
    """Returns how many rows of the dictionaries nobody needs; the last line may stay, without its text."""
    with opened(path) as connection:
        return {
            table: connection.execute(
                f"SELECT count(*) FROM {table} WHERE id NOT IN ("
                + " UNION ALL ".join(
                    f"SELECT {column} FROM {source} WHERE {column} IS NOT NULL"
                    for (source, column), into in REFERENCES.items()
                    if into == table
                )
                + ")"
                + (" AND (v != x'' OR id < (SELECT max(id) FROM argv))" if table == "argv" else "")
            ).fetchone()[0]
            for table in ("argv", "comm", "path", "user", "origin", "launch")
        }


def pids(path: Path) -> list[int]:
    """Returns the pids in the order of recording; each is an exec's own in these histories."""
    with opened(path) as connection:
        return [row[0] for row in connection.execute("SELECT pid FROM exec ORDER BY id")]


def pruned(path: Path, limits: Limits, *, boot_id: str = BOOT_ID, now: float = 1000) -> int:
    """Prunes to the end, as often as it takes. Returns how many went."""
    total = 0
    moment = now_at(now, boot_id)
    with opened(path) as connection:
        while (wanted := prune_plan.plan(connection, limits, moment)) is not None:
            total += list(prune.prune(connection, wanted, moment, Sealer(path)))[-1]
    return total


def event_of(number: int, parent: ExecEvent | None, *, failed: bool = False, text: bytes = b"") -> ExecEvent:
    """Returns the exec of a number, which happens that many seconds after the start."""
    return make_event(
        b"%d" % number, text, seconds=number, pid=number + 1, parent=None if parent is None else parent.key,
        kind=Kind.FAILED if failed else Kind.EXEC, errno=2 if failed else None,
        comm=b"c%d" % (number % 7), cwd=b"/d%d" % number, tty=b"pts/%d" % (number % 5),
    )  # fmt: skip


SHAPES = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(0, 40)),  # whose child, if it is there
        st.booleans(),  # failed
        st.booleans(),  # ended
    ),
    min_size=1,
    max_size=40,
)


@examples(25)
@given(SHAPES, st.integers(0, 45), st.booleans())
def test_what_stays_is_what_a_plain_model_says(
    tmp_path_factory: pytest.TempPathFactory,
    shapes: list[Any],
    until: int,
    same_boot: bool,  # noqa: FBT001  # hypothesis
) -> None:
    """The young, their ancestors, what runs still and its ancestors; and no row names one that is gone."""
    path = tmp_path_factory.mktemp("prune") / "h.db"
    events: list[ExecEvent] = []
    parents: list[int | None] = []
    for number, (parent, failed, _) in enumerate(shapes):
        usable = parent is not None and parent < number and not shapes[parent][1]
        parents.append(parent if usable else None)
        events.append(event_of(number, events[parent] if usable else None, failed=failed))
    ended = [n for n, (_, failed, over) in enumerate(shapes) if over and not failed]
    with Store(path) as store:
        begin_run(store)
        store.append(events, [], [make_exit(events[n].key, 100 + n) for n in ended])
        store.append_hits([make_hit(n + 1) for n in range(0, len(events), 3)], len(events))
    boot = BOOT_ID if same_boot else OTHER_BOOT
    deleted = pruned(path, Limits(max_age_ns=Nanoseconds(at(1000) - at(until))), boot_id=boot)

    stays = {
        n
        for n, (_, failed, over) in enumerate(shapes)
        if n >= until or (same_boot and not failed and not over)
    }
    for number in sorted(range(len(shapes)), reverse=True):
        parent = parents[number]
        if number in stays and parent is not None:
            stays.add(parent)
    assert sorted(n + 1 for n in stays) == pids(path)
    assert len(shapes) - len(stays) == deleted
    assert [] == dangling(path)
    with opened(path) as connection:
        assert sum(n % 3 == 0 for n in stays) == connection.execute("SELECT count(*) FROM hit").fetchone()[0]
    if deleted:
        assert {0} == set(unused(path).values())
    with opened(path) as connection:
        assert [("ok",)] == connection.execute("PRAGMA integrity_check").fetchall()
        held = connection.execute("SELECT id_lo, id_hi FROM seg").fetchall()
        assert all(any(low <= n + 1 <= high for low, high in held) for n in stays)


def history(path: Path, count: int, *, first: int = 0) -> None:
    """Stores so many execs of which nobody is anybody's child; each has ended."""
    with Store(path) as store:
        begin_run(store)
        for start in range(first, first + count, 500):
            batch = [
                event_of(n, None, text=b"%d" % n * 100) for n in range(start, min(start + 500, first + count))
            ]
            store.append(batch, [], [make_exit(event.key, 5000) for event in batch])


def test_a_size_is_kept_and_the_file_is_smaller(path: Path) -> None:
    """The oldest go, the room is given back, and a little more than was asked for."""
    history(path, 4000)
    before = size_of(path)
    deleted = pruned(path, Limits(max_bytes=before // 2, min_age_ns=Nanoseconds(0)))

    assert 0.3 * before < size_of(path) <= before // 2
    assert pids(path) == list(range(deleted + 1, 4001))
    assert 0 == pruned(path, Limits(max_bytes=before // 2, min_age_ns=Nanoseconds(0)))


def test_gaps_and_stray_ends_are_as_old(path: Path) -> None:
    """A gap that reaches into what stays is kept."""
    history(path, 100)
    with Store(path) as store:
        begin_run(store)
        lost = make_event(b"x", pid=9999, seconds=5)
        store.append([], [make_gap(1, 2), make_gap(40, 60)], [make_exit(lost.key, 10)])
    pruned(path, Limits(max_age_ns=Nanoseconds(at(1000) - at(50))))

    with opened(path) as connection:
        assert [(at(40),)] == connection.execute("SELECT ts_from FROM gap").fetchall()
        assert [(0,)] == connection.execute("SELECT count(*) FROM stray_exit").fetchall()


def test_the_writer_forgets_what_was_deleted(path: Path) -> None:
    """What another process has swept is written anew when it comes again."""
    with Store(path) as store:
        begin_run(store)
        old = [event_of(n, None) for n in range(10)]
        store.append(old, [], [make_exit(event.key, 50) for event in old])
        store.append([event_of(100, None)])
        pruned(path, Limits(max_age_ns=Nanoseconds(at(1000) - at(50))))
        assert [101] == pids(path)
        store.append([event_of(n, None)._replace(time_ns=at(200 + n), pid=1000 + n) for n in range(10)])

    assert [] == dangling(path)
    assert [101, *range(1000, 1010)] == pids(path)


_PRUNER = """
import sys, time
from pathlib import Path
from tests.store import test_prune
from execaudit.database.files import size_of
from execaudit.store.limits import Limits
from execaudit.store import prune
print("ready", flush=True)
test_prune.pruned(Path(sys.argv[1]), Limits(max_age_ns=1), now=1_000_000)
"""


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.1, 0.2, 0.4])
def test_a_killed_pruner_leaves_a_whole_history(path: Path, seconds: float) -> None:
    """Whenever it is killed; the next one goes on."""
    history(path, 3000)
    pruner = subprocess.Popen([sys.executable, "-c", _PRUNER, path], cwd=CHECKOUT, stdout=subprocess.PIPE)
    assert pruner.stdout is not None
    assert pruner.stdout.readline() == b"ready\n"
    time.sleep(seconds)
    pruner.send_signal(signal.SIGKILL)
    pruner.communicate()
    with opened(path) as connection:
        assert [("ok",)] == connection.execute("PRAGMA integrity_check").fetchall()
        left = connection.execute("SELECT count(*) FROM exec").fetchone()[0]
        told = connection.execute("SELECT coalesce(sum(execs), 0) FROM pruned").fetchone()[0]
    assert 3000 == left + told
    assert [] == dangling(path)

    pruned(path, Limits(max_age_ns=Nanoseconds(1)), now=1_000_000)
    assert [] == pids(path)
    assert {0} == set(unused(path).values())


def test_the_recorder_prunes_a_little_at_a_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between batches, until the limits are kept; then it looks again after a while."""
    monkeypatch.setattr("execaudit.daemon.retention._WORK_SECONDS", 0)
    set_clock(monkeypatch, 10_000)
    history(path, 3000)
    with Store(path) as store:
        begin_run(store)
        retention = Retention(path, BOOT_ID, Limits(max_age_ns=Nanoseconds(at(10_000) - at(2000))))
        turns = 0
        while True:
            retention._next_look = 0
            store.append([event_of(5000 + turns, None)])
            retention.work(store)
            turns += 1
            if not retention.is_busy() and turns > 3:
                break
            monkeypatch.setattr("execaudit.daemon.retention._WORK_SECONDS", 0.001)

    assert pids(path) == [*range(2001, 3001), *range(5001, 5001 + turns)]
    assert [] == dangling(path)


def test_a_history_that_was_pruned_a_thousand_times_says_the_same_in_few_rows(path: Path) -> None:
    """What was deleted, from before which time, and what need not be judged again."""
    history(path, 100)
    reasons = ["age", "size"]
    rows = [
        (at(n), n * 2, at(n - 9), at(n * 3 if n % 5 else n * 99), n % 5, reasons[n % 3 == 0], 1)
        for n in range(1, 1001)
    ]
    with opened(path) as connection:
        connection.executemany(
            "INSERT INTO pruned (at_ns, top, ts_from, ts_to, execs, reason, finished)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        wanted = prune_plan.Plan(0, at(0), "age")
        before = [summary.pruned(connection), prune_plan._done(connection), judged(connection)]
        for _ in prune.prune(connection, wanted, now_at(3), Sealer(path)):
            pass
        after = [summary.pruned(connection), prune_plan._done(connection), judged(connection)]
        [(left, newest)] = connection.execute("SELECT count(*), sum(id > 901) FROM pruned").fetchall()

    assert before == after
    assert (104, 100) == (left, newest)


def judged(connection: sqlite3.Connection) -> int:
    """Returns until when ages were judged, as prune_plan asks."""
    sql = "SELECT max(ts_to) FROM pruned WHERE finished AND reason = 'age'"
    return int(connection.execute(sql).fetchone()[0])


def test_no_limits_delete_nothing(path: Path) -> None:
    """However old it is."""
    history(path, 10)
    with Store(path) as store:
        Retention(path, BOOT_ID, Limits()).work(store)

    assert list(range(1, 11)) == pids(path)


def test_the_command(path: Path) -> None:
    """It says what it would do, does it, and the history says so afterwards."""
    history(path, 100)
    tried = execaudit("--db", path, "db", "prune", "--older-than", "1s", "--dry-run")
    assert (0, b"100 execs at most") == (tried.status, tried.err[:17])
    assert 100 == len(pids(path))

    done = execaudit("--db", path, "db", "prune", "--older-than", "1s")
    assert done.status == 0, done.err
    assert b"100 execs deleted" in done.err
    again = execaudit("--db", path, "db", "prune", "--older-than", "1s", "--max-size", "5GB")
    assert (0, f"{path} is within these limits: nothing is deleted\n".encode()) == (again.status, again.err)
    info = execaudit("--db", path, "db", "info").out.decode()
    assert "pruned" in info
    assert "100" in info

    asked = execaudit("--db", path, "query", "--since", "2026-11-22T18:08:39Z")
    assert asked.err.startswith(b"pruned: 100 execs from before ")
    assert b"" == execaudit("--db", path, "query", "--limit", "5").err
    assert b"pruned" not in execaudit("--db", path, "query", "--since", "@4000000000").err


@pytest.mark.parametrize(
    ("options", "status"),
    [("", 2), ("--older-than x", 2), ("--max-size x", 2), ("--max-size -5", 2)],
)
def test_a_command_that_makes_no_sense(path: Path, options: str, status: int) -> None:
    """Is refused in one line, and nothing is deleted."""
    history(path, 3)
    done = execaudit("--db", path, "db", "prune", *options.split())

    assert status == done.status
    assert b"Traceback" not in done.err
    assert [1, 2, 3] == pids(path)


def test_a_history_that_is_not_there(path: Path) -> None:
    """Is said, and not made."""
    done = execaudit("--db", path, "db", "prune", "--older-than", "1d")

    assert 1 == done.status
    assert done.failed_in_one_line()
    assert not path.exists()


def test_the_generation_is_looked_at(path: Path) -> None:
    """The net under the tests above: without the look, they would fail."""
    assert "generation" in inserts._GENERATION
    history(path, 3)
    with open_history(path) as connection:
        assert (b"0",) == connection.execute(inserts._GENERATION).fetchone()
    pruned(path, Limits(max_age_ns=Nanoseconds(1)))
    with open_history(path) as connection:
        assert int(connection.execute(inserts._GENERATION).fetchone()[0]) > 0
