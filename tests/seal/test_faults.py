"""Kills, prunings beside a recorder, migrations, copies: nothing of that is taken for a change."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from execaudit.enums import ChainReason
from execaudit.query import backup
from execaudit.seal.chain import Head
from execaudit.seal.key_file import path_of
from execaudit.store.imported import Covered
from execaudit.store.writer import Store
from tests.histories import BOOT_ID, HOST, at, begin_run, make_event
from tests.seal.histories import make_key, verified
from tests.store.test_old_histories import _FIRST_HISTORY, _SEVENTH_HISTORY, _THIRD_HISTORY, made_by

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parents[2]
_KILLS = int(os.environ.get("EXECAUDIT_TEST_KILLS", "6"))
_WRITER = """
import sys
from pathlib import Path
from execaudit.store.writer import Store
from tests.histories import begin_run, make_event, make_exit
with Store(Path(sys.argv[1])) as store:
    begin_run(store)
    number = 100 * int(sys.argv[2])
    while True:
        execs = [make_event(b"%d" % n, b"x" * 300, seconds=number, pid=n + 1) for n in range(number % 60)]
        store.append(execs, (), [make_exit(each.key, number + 1) for each in execs[::2]], seen_ns=number)
        store.append([], (), [make_exit(each.key, number + 1) for each in execs[1::2]])
        number += 1
        print(number, flush=True)
"""
_PRUNER = """
import contextlib, sqlite3, sys
from pathlib import Path
from execaudit.event import Nanoseconds
from execaudit.store import prune, prune_plan
from execaudit.store.limits import Limits
from execaudit.store.sealing import Sealer
from tests.histories import now_at
path = Path(sys.argv[1])
with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=20)) as connection:
    while True:
        limits = Limits(None, int(sys.argv[2]), Nanoseconds(0))
        now = now_at(10**7, "99999999-2222-4333-8444-555555555555")
        plan = prune_plan.plan(connection, limits, now)
        if plan is not None:
            for _ in prune.prune(connection, plan, now, Sealer(path), max_bytes=limits.max_bytes):
                print("pruned", flush=True)
"""


@contextlib.contextmanager
def running(program: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A program that is killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


def test_kills_of_recorder_and_pruning_are_no_alarm(tmp_path: Path) -> None:
    """At any point, with a verification beside them and after each."""
    path, chance = tmp_path / "history.db", random.Random(7)
    make_key(path)
    pruned = 0
    for kill in range(_KILLS):
        with running(_WRITER, path, kill) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            with running(_PRUNER, path, 300_000) as pruner:
                assert pruner.stdout is not None
                time.sleep(chance.uniform(0.1, 0.8))
                beside = verified(path)
                pruner.send_signal(signal.SIGKILL)
                pruned += len(pruner.stdout.read().splitlines())
            assert [] == beside.problems
        found = verified(path)
        assert [] == found.problems
        assert found.is_verified
    assert pruned


@pytest.mark.parametrize(
    ("revision", "content"), [("0001", _FIRST_HISTORY), ("0003", _THIRD_HISTORY), ("0007", _SEVENTH_HISTORY)]
)
def test_histories_of_before_are_sealed_when_they_are_opened(
    tmp_path: Path, revision: str, content: str
) -> None:
    """Without a key they are unbroken, and not authentic. A key that comes later vouches from then on."""
    path = made_by(revision, tmp_path / "old.db", content)
    with Store(path):
        pass
    found = verified(path, ())
    assert [] == found.problems
    assert found.is_authentic is None
    assert [ChainReason.OLDER.value] == [each.reason for each in found.chains]
    assert found.execs > 0

    make_key(path)
    with Store(path) as store:
        begin_run(store)
    found = verified(path)
    assert [] == found.problems
    assert found.is_authentic is True
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE argv SET v = CAST(v || x'00' AS BLOB)")
    assert not verified(path).is_verified


def test_a_copy_has_the_same_head(tmp_path: Path) -> None:
    """A backup, put back somewhere else, and a vacuum."""
    path, copy = tmp_path / "history.db", tmp_path / "copy.db"
    make_key(path)
    with Store(path) as store:
        begin_run(store)
        store.append([make_event(b"%d" % n, seconds=n, pid=n + 1) for n in range(50)])
    head = Head.from_text(str(verified(path).head))
    backup.backup(path, copy, force=False)
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        connection.execute("VACUUM")

    assert verified(copy, heads=[head]).is_verified


def test_an_import_is_sealed(tmp_path: Path) -> None:
    """Its run grows when the next part of the same time comes."""
    path = tmp_path / "history.db"
    make_key(path)
    covered = Covered(BOOT_ID, HOST, at(0), at(50))
    with Store(path) as store:
        store.append_imported(covered, [make_event(b"a", seconds=10)])
        store.append_imported(covered._replace(until_ns=at(60)), [make_event(b"b", seconds=55)])

    assert verified(path).is_verified


@pytest.mark.parametrize("how", ["lost", "damaged"])
def test_a_lost_key_is_told(tmp_path: Path, how: str) -> None:
    """Recording goes on, in a chain without a key; what was sealed before stays proved."""
    path = tmp_path / "history.db"
    make_key(path)
    with Store(path) as store:
        begin_run(store)
        store.append([make_event(seconds=1)])
    if how == "lost":
        path_of(path).unlink()
    else:
        path_of(path).write_bytes(b"x" * 4096)
    with Store(path) as store:
        begin_run(store)
        assert (seal := store.sealer.newest()) is not None
        assert ChainReason.KEY_LOST.value == seal.chain.reason
        store.append([make_event(seconds=2)])

    found = verified(path)
    assert [] == found.problems
    assert found.is_authentic is False
    assert ["begun", "key_lost"] == [each.reason for each in found.chains]


def test_a_key_that_is_lost_while_recording_is_made_again(tmp_path: Path) -> None:
    """The recorder has it in memory."""
    path = tmp_path / "history.db"
    make_key(path)
    with Store(path) as store:
        begin_run(store)
        path_of(path).unlink()
        store.append([make_event(seconds=1)])
        assert path_of(path).stat().st_mode & 0o777 == 0o600

    assert verified(path).is_authentic is True


def test_the_key_file_forgets(tmp_path: Path) -> None:
    """No key of an epoch that is sealed is in the file, nor any that leads to one."""
    path = tmp_path / "history.db"
    make_key(path)
    before = path_of(path).read_bytes()
    with Store(path) as store:
        begin_run(store)
        for seconds in range(9):
            store.append([make_event(seconds=seconds)])
    after = path_of(path).read_bytes()

    words = [before[at : at + 32] for at in range(41, 41 + 32 * 41, 32)]
    assert [] == [word for word in words if word != bytes(32) and word in after]


def test_rows_that_come_past_the_recorder_are_never_sealed(tmp_path: Path) -> None:
    """Between two of its transactions, and while it is stopped."""
    path = tmp_path / "history.db"
    make_key(path)
    add = "INSERT INTO gap (run_id, ts_from, ts_to, reason, count) VALUES (1, 1, 2, 'clock', 3)"
    with Store(path) as store:
        begin_run(store)
        store.append([make_event(seconds=1)])
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(add)
        store.append([make_event(seconds=2)])
    assert [("added", "gap", 1, 1)] == [each[:4] for each in verified(path).problems]
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(add)
    with Store(path) as store:
        begin_run(store)
        store.append([make_event(seconds=3)])
    assert [("added", "gap", 1, 2)] == [each[:4] for each in verified(path).problems]
