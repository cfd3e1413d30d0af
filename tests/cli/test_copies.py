"""Copies of a history: taken by `db backup` or file by file, read where nothing can be written."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
from typing import TYPE_CHECKING

import pytest

from execaudit.store.writer import Store
from tests.commands import EXECAUDIT, PATIENCE, as_nobody, environment, execaudit, snapshot
from tests.histories import at, begin_run, make_event, make_history

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LACKS = b"may lack its newest execs: "


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Path]:
    """A history that is being written: two execs in its file, one in its WAL alone."""
    path = tmp_path / "recorded.db"
    with Store(path) as store:
        begin_run(store)
        store.append([make_event(b"a", seconds=1, pid=1), make_event(b"b", seconds=2, pid=2)], seen_ns=at(3))
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        store.append([make_event(b"c", seconds=4, pid=3)], seen_ns=at(5))
        yield path


def copied(path: Path, folder: Path, *suffixes: str) -> Path:
    """Copies a database and files beside it into a new folder."""
    folder.mkdir()
    folder.chmod(0o755)
    for suffix in ("", *suffixes):
        shutil.copyfile(f"{path}{suffix}", folder / f"copy.db{suffix}")
        (folder / f"copy.db{suffix}").chmod(0o644)
    return folder / "copy.db"


def test_the_database_alone_lacks_its_end(recorded: Path, tmp_path: Path) -> None:
    """A copy without its WAL is read as far as it goes, and that more was there is said; nothing is made."""
    path = copied(recorded, tmp_path / "copy")
    before = snapshot(path.parent)
    done = execaudit("--db", path, "query", silence=True)

    assert (0, [1, 2]) == (done.status, done.pids())
    assert f"{path} may lack its newest execs: {path}-wal is missing: copy both".encode() in done.err
    assert b"nobody has recorded since 2026-11-22 18:08:42.000" in done.err
    assert before == snapshot(path.parent)


def test_nothing_without_its_wal_is_no_empty_history(tmp_path: Path) -> None:
    """Of a new history nothing may be in the file yet: that is no answer, but an error that says it."""
    path = tmp_path / "new.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE exec (id)")
        copy = copied(path, tmp_path / "copy")
    done = execaudit("--db", copy, "query")

    assert 1 == done.status
    assert done.failed_in_one_line()
    assert f"{copy}-wal, which is missing: copy both, or use `execaudit db backup`".encode() in done.err


def test_with_its_wal_a_copy_has_all(recorded: Path, tmp_path: Path) -> None:
    """The database and its WAL are enough, and reading leaves nothing beside them."""
    path = copied(recorded, tmp_path / "copy", "-wal")
    before = snapshot(path.parent)
    done = execaudit("--db", path, "query", silence=True)

    assert (0, [1, 2, 3]) == (done.status, done.pids())
    assert _LACKS not in done.err
    assert before == snapshot(path.parent)


@pytest.mark.parametrize("suffixes", [(), ("-wal",), ("-wal", "-shm")])
def test_where_nothing_can_be_written(suffixes: tuple[str, ...], recorded: Path, tmp_path: Path) -> None:
    """On a read-only file system a copy is read as anywhere."""
    path = copied(recorded, tmp_path / "copy", *suffixes)
    before = snapshot(path.parent)
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && shift 0 && exec "$@"'
    done = execaudit(
        "--db", path, "query",
        before=("unshare", "--mount", "sh", "-ec", script, str(path.parent), *EXECAUDIT), silence=True,
    )  # fmt: skip

    assert (0, [1, 2, *([3] if suffixes else [])]) == (done.status, done.pids()), done.err
    assert (_LACKS in done.err) == (not suffixes)
    assert before == snapshot(path.parent)


@pytest.mark.parametrize("suffixes", [(), ("-wal",)])
def test_who_may_not_write_reads(suffixes: tuple[str, ...], recorded: Path, public_folder: Path) -> None:
    """Somebody who may only read a copy needs nothing else."""
    path = copied(recorded, public_folder / "copy", *suffixes)
    done = as_nobody("--db", path, "query")

    assert (0, [1, 2, *([3] if suffixes else [])]) == (done.status, done.pids()), done.err


def test_a_backup_is_one_whole_file(recorded: Path, tmp_path: Path) -> None:
    """`db backup` beside the writer has all, in one file, of which nothing is missing."""
    target = tmp_path / "backup" / "copy.db"
    target.parent.mkdir()
    made = execaudit("--db", recorded, "db", "backup", target)
    done = execaudit("--db", target, "query", silence=True)

    assert 0 == made.status, made.err
    assert (0, [1, 2, 3]) == (done.status, done.pids())
    assert _LACKS not in done.err
    assert b"nobody has recorded since 2026-11-22 18:08:44.000" in done.err
    assert ["copy.db"] == [file.name for file in target.parent.iterdir()]
    assert 0o640 == target.stat().st_mode & 0o777
    with contextlib.closing(sqlite3.connect(target)) as connection:
        assert ("ok",) == connection.execute("PRAGMA integrity_check").fetchone()


def test_a_backup_replaces_nothing_unasked(recorded: Path, tmp_path: Path) -> None:
    """A file that is there needs --force; what stood beside it goes with it. The history is refused."""
    target = make_history(tmp_path / "old.db", [make_event(b"old", pid=9)])
    before = snapshot(tmp_path)
    refused = execaudit("--db", recorded, "db", "backup", target)
    itself = execaudit("--db", recorded, "db", "backup", recorded, "--force")

    for done in (refused, itself):
        assert 1 == done.status
        assert done.failed_in_one_line()
    assert b"--force" in refused.err
    assert before == snapshot(tmp_path)
    (tmp_path / "old.db-wal").write_bytes(b"of the old one")
    assert 0 == execaudit("--db", recorded, "db", "backup", target, "--force").status
    assert [1, 2, 3] == execaudit("--db", target, "query").pids()
    assert not (tmp_path / "old.db-wal").exists()


def test_a_backup_where_it_cannot_be(recorded: Path, tmp_path: Path) -> None:
    """One line says why, and nothing is left."""
    for target in (tmp_path / "none" / "x.db", tmp_path):
        done = execaudit("--db", recorded, "db", "backup", target)

        assert 1 == done.status
        assert done.failed_in_one_line()
    with Store(tmp_path / "live.db"):
        busy = execaudit("--db", recorded, "db", "backup", tmp_path / "live.db", "--force")
    assert (1, True) == (busy.status, b"a recorder writes" in busy.err)
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".execaudit-")]


def test_through_a_link_sizes_are_those_of_the_file(recorded: Path, tmp_path: Path) -> None:
    """A symbolic link to the history leads to its WAL as well."""
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "link.db"
    link.symlink_to(recorded)
    sizes = [
        execaudit("--db", path, "db", "info", "--format", "json").rows()[0]["bytes"]
        for path in (recorded, link)
    ]

    assert sizes[0] == sizes[1] > recorded.stat().st_size
    assert [1, 2, 3] == execaudit("--db", link, "query").pids()
    assert ["link.db"] == [file.name for file in link.parent.iterdir()]


def test_a_pruned_exec_is_no_bug(tmp_path: Path) -> None:
    """What is pruned while `show` looks is said in one line."""
    path = make_history(tmp_path / "history.db", [make_event(b"a", pid=1)])
    # As if it had been pruned after its number was found.
    script = (
        "import sys; from execaudit.query import find; find.fetch = lambda *_: []; "
        "from execaudit.cli import execute; sys.exit(execute(sys.argv[1:]))"
    )
    done = subprocess.run(
        [EXECAUDIT[0], "-c", script, "--config", "/dev/null", "--db", path, "show", make_event(b"a", pid=1).id],
        capture_output=True, env=environment({}), timeout=PATIENCE, check=False,
    )  # fmt: skip

    assert (1, b"", 1) == (done.returncode, done.stdout, done.stderr.count(b"\n"))
    assert b"was pruned just now" in done.stderr
