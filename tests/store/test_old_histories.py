"""Histories of earlier schemas: each exec is as it was after the migration, also when that was killed."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from execaudit.database.revision import REVISION
from execaudit.enums import Ended, Gained, GapReason, Kind, Truncated
from execaudit.errors import StoreError
from execaudit.event import End, ExitEvent, Hole, Nanoseconds
from execaudit.exec_id import ExecKey
from execaudit.query import find
from execaudit.query.connection import open_history, revision_of
from execaudit.query.filter import Filter
from execaudit.query.rows import Found
from execaudit.store.writer import Store
from execaudit.system import shipped
from tests.histories import at, begin_run, changed, make_event
from tests.store.test_execs_view import check as check_view

if TYPE_CHECKING:
    from pathlib import Path

# What execaudit 0.1 wrote: an exec with all that it knew, a cut and failed one, a gap, two runs.
_FIRST_HISTORY = """
INSERT INTO run VALUES (1, '11111111-2222-4333-8444-555555555555', 'web1', '0', 1, 2);
INSERT INTO run VALUES (2, '11111111-2222-4333-8444-555555555555', 'web1', '0', 3, NULL);
INSERT INTO clock VALUES (1, 1, 1000);
INSERT INTO clock VALUES (2, 2, 1000);
INSERT INTO comm VALUES (1, x'6c73');
INSERT INTO path VALUES (1, x'2f62696e2f6c73');
INSERT INTO path VALUES (2, x'2f');
INSERT INTO argv VALUES (1, x'6c7300');
INSERT INTO user VALUES (1, x'726f6f74');
INSERT INTO exec VALUES (1, 1005, 1, 0, 7, 7, 6, 0, 0, 0, 1, 1, 1, 1, 2, 1, NULL, NULL);
INSERT INTO exec VALUES (2, 1006, 1, 1, 7, 8, 6, 0, 0, 0, NULL, 1, 1, 1, 2, 1, 2, 0);
INSERT INTO argv_cut VALUES (2, 9, NULL, '[[3, null]]');
INSERT INTO seg VALUES (1, 2, 1005, 1006);
INSERT INTO gap VALUES (1, 1, 1005, 1010, 'ring_full', 4);
UPDATE meta SET value = x'33' WHERE key = 'next_id';
"""


def made_by(revision: str, path: Path, content: str) -> Path:
    """Makes a history as a version had it, by the migrations up to there. Returns its path."""
    config = Config()
    config.set_main_option("script_location", str(shipped.folder("migrations")))
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(content)
    return path


@pytest.fixture
def first_history(tmp_path: Path) -> Path:
    """A history as the first schema had it."""
    return made_by("0001", tmp_path / "first.db", _FIRST_HISTORY)


def test_the_first_histories_are_kept(first_history: Path) -> None:
    """After the migration each exec and gap is as it was; what it did not know is unknown."""
    assert "0001" == revision_of(first_history)
    Store(first_history).close()

    program = make_event(
        b"ls", time_ns=Nanoseconds(1005), boot_ns=5, pid=7, ppid=6, comm=b"ls",
        filename=b"/bin/ls", exe=b"/bin/ls", end=End(Ended.UNKNOWN),
    )  # fmt: skip
    failed = changed(program,
        kind=Kind.FAILED, time_ns=Nanoseconds(1006), boot_ns=Nanoseconds(6), tid=8, user=None, errno=2,
        argc=9, argv_bytes=None, holes=(Hole(3, None),), truncated=Truncated.LIMIT, end=None,
    )  # fmt: skip
    with open_history(first_history) as connection:
        found = [Found(1, program, None), Found(2, failed, None)]
        assert found == list(find.find(connection, Filter()))
        assert [GapReason.RING_FULL] == [gap.reason for gap in find.gaps(connection, Filter())]
        assert [(4, 0)] == [(gap.count, gap.exits) for gap in find.gaps(connection, Filter())]
        assert 1 == find.locate(connection, program.key)


def test_the_first_histories_go_on(first_history: Path) -> None:
    """What was recorded by the first version can have children and an end."""
    parent = ExecKey(0x1111111, 5, 7)
    with Store(first_history) as opened:
        begin_run(opened)
        opened.append([make_event(b"a", parent=parent)], (), [ExitEvent(parent, at(1), Nanoseconds(9), 7, 0)])

    with open_history(first_history) as connection:
        assert [3] == [found.number for found in find.find(connection, Filter(under=(1,)))]
        (first,) = find.fetch(connection, [1])
        assert End(Ended.EXITED, code=0, duration_ns=4) == first.event.end


# What was there before launches: execs with all that was known of them, in a row of its own each.
_THIRD_HISTORY = """
INSERT INTO run VALUES (1, '11111111-2222-4333-8444-555555555555', 'web1', '0', 1, 2, 2);
INSERT INTO clock VALUES (1, 1, 1000);
INSERT INTO comm VALUES (1, x'6c73');
INSERT INTO comm VALUES (2, x'7368');
INSERT INTO path VALUES (1, x'2f62696e2f6c73');
INSERT INTO path VALUES (2, x'2f');
INSERT INTO path VALUES (3, x'2f62696e2f7368');
INSERT INTO argv VALUES (1, x'6c7300');
INSERT INTO user VALUES (1, x'726f6f74');
INSERT INTO origin VALUES (1, 1000, 3, 1, x'7074732f33', 2);
INSERT INTO image VALUES (1, 7, 8388609, 1, 1, 3);
WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 50)
INSERT INTO exec SELECT id, 2000 + id, 1, 0, 100 + id, 100 + id - (id % 5 = 0), 99, 33, 34, 35, 1, 1, 1, 1 + id % 2, 2, 1,
    NULL, NULL, iif(id > 1, id - 1, NULL), 2, iif(id % 3 = 0, NULL, 1), 1 FROM n;
INSERT INTO exec VALUES (51, 2051, 1, 1, 7, 8, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, 2, NULL, NULL, NULL, NULL, NULL);
INSERT INTO exit SELECT id, 500, 256, NULL FROM exec WHERE id % 4 = 1 AND id < 51;
INSERT INTO exit SELECT id, 1, NULL, id + 1 FROM exec WHERE id % 4 = 2 AND id < 50;
INSERT INTO seg VALUES (1, 51, 2001, 2051);
UPDATE meta SET value = x'3532' WHERE key = 'next_id';
"""


@pytest.fixture
def third_history(tmp_path: Path) -> Path:
    """A history as it was before launches."""
    return made_by("0003", tmp_path / "third.db", _THIRD_HISTORY)


def third_event(number: int) -> Found:
    """Returns what the third history says of an exec."""
    if number == 51:
        nothing: dict[str, Any] = dict.fromkeys(
            ("ppid", "uid", "euid", "gid", "user", "comm", "filename", "exe", "cwd")
        )
        failed = make_event(
            b"ls", kind=Kind.FAILED, time_ns=Nanoseconds(2051), boot_ns=1051, pid=7, **nothing
        )
        return Found(51, failed._replace(tid=8, errno=2), None)
    key = ExecKey(0x1111111, 1000 + number, 100 + number)
    before = key._replace(boot_ns=key.boot_ns - 1, task=key.task - 1)
    after = key._replace(boot_ns=key.boot_ns + 1, task=key.task + 1)
    ends = {
        1: End(Ended.EXITED, code=1, duration_ns=500),
        2: End(Ended.REPLACED, duration_ns=1, replaced_by=after),
    }
    event = make_event(
        b"ls", time_ns=Nanoseconds(2000 + number), boot_ns=Nanoseconds(1000 + number), pid=100 + number,
        ppid=99, uid=33, euid=34, gid=35, comm=b"ls", filename=b"/bin/ls", exe=[b"/bin/ls", b"/"][number % 2],
        parent_comm=b"sh", inode=7, device=8388609, nlink=1, privileged=Gained.SETUID, interpreter=b"/bin/sh",
        parent=None if number == 1 else before, replaces=number % 4 == 3,
        end=ends.get(number % 4 if number < 50 else 0, End(Ended.UNKNOWN)),
    )  # fmt: skip
    if number % 5 == 0:
        event = event._replace(tid=event.pid - 1)
    if number % 3:
        event = changed(event, auid=1000, session=3, login_user="root", tty=b"pts/3", cgroup=b"/")
    return Found(number, event, None if number == 1 else number - 1)


def found_in(path: Path) -> list[Found]:
    """Returns all execs of a history."""
    with open_history(path) as connection:
        return list(find.find(connection, Filter()))


def test_histories_without_launches_are_kept(third_history: Path) -> None:
    """Each exec is as it was, with its end, wherever that stands now; what is the same stands there once."""
    Store(third_history).close()

    assert [third_event(number) for number in range(1, 52)] == found_in(third_history)
    with closing(sqlite3.connect(third_history)) as connection:
        assert (2, 0) == connection.execute(
            "SELECT (SELECT count(*) FROM launch), (SELECT count(*) FROM exit)"
        ).fetchone()


@pytest.mark.parametrize("chunks", [1, 2, 5])
def test_a_killed_migration_goes_on_where_it_was(
    third_history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunks: int
) -> None:
    """After kill -9 the history is the old one, and the next start copies only what is left."""
    folder = tmp_path / "migrations"
    shutil.copytree(shipped.folder("migrations"), folder)
    (file,) = (folder / "versions").glob("0004_*.py")
    text = file.read_text().replace("_CHUNK = 20_000", "_CHUNK = 10")
    point = 'history.execute("BEGIN IMMEDIATE")'
    assert 1 == text.count(point)
    file.write_text(text.replace(point, f"{point}\n        _kill({chunks}, done)") + _KILL)
    with monkeypatch.context() as patched:
        patched.setattr(shipped, "folder", lambda _name: folder)
        with pytest.raises(StoreError, match=r"was killed by SIGKILL: start again, it goes on where it was$"):
            Store(third_history)
    assert "0003" == revision_of(third_history)
    with closing(sqlite3.connect(third_history)) as connection:
        assert (chunks * 10,) == connection.execute("SELECT max(id) FROM exec_new").fetchone()
        assert (51,) == connection.execute("SELECT count(*) FROM exec").fetchone()

    Store(third_history).close()
    assert [third_event(number) for number in range(1, 52)] == found_in(third_history)
    assert ["ok"] == rows_of(third_history, "PRAGMA integrity_check")


_KILL = """

def _kill(chunks, done):
    import os
    if done >= (chunks - 1) * 10:
        os.kill(os.getpid(), 9)
"""


def rows_of(path: Path, sql: str) -> list[object]:
    """Returns the first column of what SQLite itself finds."""
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute(sql)]


def test_a_long_migration_says_how_far_it_is(third_history: Path) -> None:
    """On standard error, though a child migrates; the result comes after it."""
    program = "from execaudit.cli import main; from execaudit.cli.run import progress; progress._QUIET_SECONDS = -1; progress._LINE_SECONDS = -1; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--config", "/dev/null", "--db", third_history, "db", "upgrade"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    said = [line.partition(": ")[2] for line in done.stderr.splitlines() if line.startswith("upgrading")]
    assert said[0] == "copying execs, 51 of 51 (100 %)"
    assert said[1:-1] == [f"making indexes, {n} of 3 ({100 * n // 3} %)" for n in range(3)]
    assert said[-1] == "sealing, 1 of 51 (1 %)"


def test_what_takes_a_second_says_nothing(third_history: Path) -> None:
    """Most migrations are done before anybody wonders."""
    done = subprocess.run(
        [sys.executable, "-m", "execaudit", "--config", "/dev/null", "--db", third_history, "db", "upgrade"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "upgrading" not in done.stderr


# What was there before the view: execs of a jail, one traced, one replaced, one cut, one failed and lost.
_SEVENTH_HISTORY = """
INSERT INTO run VALUES (1, '11111111-2222-4333-8444-555555555555', 'web1', '0', 1, 9000, 8000);
INSERT INTO clock VALUES (1, 1, 1000);
INSERT INTO comm VALUES (1, CAST('ls' AS BLOB)), (2, CAST('sh' AS BLOB));
INSERT INTO path VALUES (1, CAST('/bin/ls' AS BLOB)), (2, CAST('/' AS BLOB)), (3, CAST('/srv/jail/bin/ls' AS BLOB)),
    (4, CAST('/srv/jail' AS BLOB)), (5, CAST('/user.slice' AS BLOB));
INSERT INTO argv VALUES (1, x'6c73002d6c00'), (2, x'6c7300');
INSERT INTO user VALUES (1, CAST('alice' AS BLOB));
INSERT INTO origin VALUES (1, 1000, 3, 1, CAST('pts/3' AS BLOB), 5);
INSERT INTO launch VALUES (1, 1000, 0, 1001, 1, 1, 1, 3, 2, 2, NULL, 7, 8388609, 1, 1, 4, 4026532301, 99);
INSERT INTO exec VALUES (1, 2001, 1, 0, 101, 101, 99, 1000, 1, 1, 1, 1, NULL, NULL, NULL, 1, NULL, 2);
INSERT INTO exec VALUES (2, 2002, 1, 0, 101, 101, 99, 1000, 1, 1, 1, 2, NULL, 0, 1, NULL, NULL, NULL);
INSERT INTO exec VALUES (3, 2003, 1, 1, 103, 104, NULL, NULL, NULL, NULL, NULL, 2, 2, NULL, 2, NULL, NULL, NULL);
INSERT INTO argv_cut VALUES (2, 9, 500, '[[3, 497]]');
INSERT INTO exit VALUES (2, 500, 256, NULL);
INSERT INTO stray_exit VALUES (1, 1, 2004, 77, 3, 9);
INSERT INTO seg VALUES (1, 3, 2001, 2003);
INSERT INTO gap VALUES (1, 1, 2005, 2006, 'ring_full', 4, 1, 1000);
INSERT INTO pruned VALUES (1, 1500, 0, 1100, 1200, 12, 'age', 1);
UPDATE meta SET value = x'34' WHERE key = 'next_id';
"""


def all_rows(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Returns the rows of each table but the seals, Alembic's own and SQLite's."""
    with closing(sqlite3.connect(path)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        return {
            name: connection.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall()
            for (name,) in names.fetchall()
            if name not in {"alembic_version", "sqlite_sequence"} and not name.startswith("seal")
        }


def test_histories_without_the_view_are_kept_and_shown_in_it(tmp_path: Path) -> None:
    """Every row stays; the view shows what the records say, and columns that came later as unknown."""
    path = made_by("0007", tmp_path / "seventh.db", _SEVENTH_HISTORY)
    before = all_rows(path)
    Store(path).close()
    after = all_rows(path)

    assert REVISION == revision_of(path)
    assert [(*launch, None) for launch in before.pop("launch")] == after.pop("launch")
    assert [(*cut, None) for cut in before.pop("argv_cut")] == after.pop("argv_cut")
    assert ([], []) == (after.pop("hit"), after.pop("rule"))
    assert [(1, *end) for end in before.pop("exit")] == after.pop("exit")
    assert before == after
    check_view(path)
    with closing(sqlite3.connect(path)) as connection:
        shown = connection.execute(
            "SELECT kind, pid, uid, euid, egid, gid, user, comm, parent_comm, filename, exe, root, mnt_ns, traced, login_user, tty,"
            " cgroup, argv, argc, truncated, errno, ended, exit_code, duration_ns FROM execs"
        ).fetchall()
    who = (
        1000,
        0,
        None,
        1001,
        "alice",
        "ls",
        "sh",
        "/bin/ls",
        "/srv/jail/bin/ls",
        "/srv/jail",
        4026532301,
        99,
    )
    where = ("alice", "pts/3", "/user.slice")
    assert [
        ("exec", 101, *who, *where, '["ls","-l"]', 2, None, None, "replaced", None, 1),
        ("exec", 101, *who, *where, '["ls"]', 9, "limit", None, "exited", 1, 500),
        ("failed", 103, *[None] * 15, '["ls"]', 1, None, "ENOENT", None, None, None),
    ] == shown


def test_histories_without_hits_are_kept(tmp_path: Path) -> None:
    """Every row stays, nothing was hit, and no rule was run."""
    content = _SEVENTH_HISTORY.replace("4026532301, 99)", "4026532301, 99, 1002)")
    path = made_by("0009", tmp_path / "ninth.db", content)
    before = all_rows(path)
    Store(path).close()

    cuts = [(*cut, None) for cut in before["argv_cut"]]
    assert cuts
    ends = [(1, *end) for end in before["exit"]]
    assert {**before, "argv_cut": cuts, "hit": [], "rule": [], "exit": ends} == all_rows(path)
    assert "hunted" not in [key for key, _ in before["meta"]]
    check_view(path)


@pytest.fixture
def eleventh_history(tmp_path: Path) -> Path:
    """A history as it was before later ends had numbers: half of its execs have such an end."""
    content = _SEVENTH_HISTORY.replace("4026532301, 99)", "4026532301, 99, 1002)")
    content = content.replace("'[[3, 497]]')", "'[[3, 497]]', NULL)")
    ends = (
        "WITH RECURSIVE n(id) AS (SELECT 4 UNION ALL SELECT id + 1 FROM n WHERE id < 1000)"
        " INSERT INTO exec SELECT id, 2000 + id, 1, 0, 7, 7, 6, 0, 1, 1, 1, 2, NULL, NULL, NULL, NULL, NULL, NULL FROM n;"
        "INSERT INTO exit SELECT id, id * 3, id % 7 * 256, NULL FROM exec WHERE id > 3 AND id % 2 ORDER BY id * 17 % 1000;"
        "UPDATE meta SET value = x'31303031' WHERE key = 'next_id'; UPDATE seg SET id_hi = 1000, ts_max = 3000;"
    )
    return made_by("0011", tmp_path / "eleventh.db", content + ends)


def test_later_ends_get_numbers(eleventh_history: Path) -> None:
    """Each end stays its exec's, and has a number that no later one gets, also if it is pruned."""
    before = all_rows(eleventh_history)
    Store(eleventh_history).close()

    ends = [(number, *end) for number, end in enumerate(before["exit"], 1)]
    assert {**before, "exit": ends} == all_rows(eleventh_history)
    assert len(ends) == 499
    check_view(eleventh_history)
    with closing(sqlite3.connect(eleventh_history, isolation_level=None)) as connection:
        connection.execute("DELETE FROM exit WHERE id > 400")
        connection.execute("INSERT INTO exit (exec_id, duration_ns) VALUES (4, 1)")
        assert (500,) == connection.execute("SELECT max(id) FROM exit").fetchone()
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute("INSERT INTO exit (exec_id, duration_ns) VALUES (4, 1)")


def test_a_killed_numbering_begins_anew(
    eleventh_history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After kill -9 the history is the old one."""
    before = all_rows(eleventh_history)
    folder = tmp_path / "migrations"
    shutil.copytree(shipped.folder("migrations"), folder)
    (file,) = (folder / "versions").glob("0012_*.py")
    text = file.read_text().replace("_CHUNK = 100_000", "_CHUNK = 100")
    point = "        done += copied\n"
    assert 1 == text.count(point)
    kill = "        if done == 300:\n            import os\n            os.kill(os.getpid(), 9)\n"
    file.write_text(text.replace(point, point + kill))
    with monkeypatch.context() as patched:
        patched.setattr(shipped, "folder", lambda _name: folder)
        with pytest.raises(StoreError, match=r"was killed by SIGKILL: start again"):
            Store(eleventh_history)
    assert "0011" == revision_of(eleventh_history)
    assert before == all_rows(eleventh_history)

    Store(eleventh_history).close()
    assert before.pop("exit") == [end[1:] for end in all_rows(eleventh_history)["exit"]]
    assert ["ok"] == rows_of(eleventh_history, "PRAGMA integrity_check")
