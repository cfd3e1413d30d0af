"""What may not be read or written: one line, the right status, and nothing changed."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import sqlite3
from typing import TYPE_CHECKING

import pytest

from tests.commands import EXECAUDIT, as_nobody, execaudit, legible, snapshot

if TYPE_CHECKING:
    from pathlib import Path


def make_old(history: Path, path: Path) -> None:
    """Makes a history that must be migrated."""
    shutil.copyfile(history, path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")


@pytest.mark.parametrize(
    ("typed", "status", "said"),
    [
        ("--db history.db query", 1, "you may not read history.db"),
        ("--db history.db db info", 1, "you may not read history.db"),
        ("--db closed/x.db query", 1, "you may not look at closed/x.db"),
        ("--db closed/x.db db upgrade", 1, "closed/x.db: Permission denied"),
        ("--db readable.db db prune --older-than 1s", 1, "you may not write readable.db"),
        ("--db history.db db prune --older-than 1s --dry-run", 1, "you may not read history.db"),
        ("--db new.db db upgrade", 1, "Permission denied"),
        ("--db old.db db upgrade", 1, "Permission denied"),
        ("--config closed.toml query", 2, "closed.toml: Permission denied"),
        ("--db readable.db export --host db1 -o out.csv", 1, "out.csv: Permission denied"),
        ("--db readable.db record", 5, "needs root"),
        ("record --duration 1s", 5, "needs root"),
    ],
    ids=legible,
)
def test_without_permission(typed: str, status: int, said: str, public_folder: Path, history: Path) -> None:
    """Another user gets one line too, and changes nothing."""
    shutil.copyfile(history, public_folder / "history.db")
    (public_folder / "history.db").chmod(0o640)
    shutil.copyfile(history, public_folder / "readable.db")
    make_old(history, public_folder / "old.db")
    (public_folder / "closed").mkdir(mode=0o700)
    (public_folder / "closed.toml").touch(0o600)
    before = snapshot(public_folder)
    done = as_nobody(*shlex.split(typed), folder=public_folder)

    assert status == done.status, done.err
    assert done.failed_in_one_line(), done.err
    assert said in done.err.decode()
    assert before == snapshot(public_folder)


def test_a_reader_needs_no_permission_to_write(public_folder: Path, history: Path) -> None:
    """Whoever may read the file can query it, once the recorder has stopped."""
    shutil.copyfile(history, public_folder / "history.db")
    (public_folder / "history.db").chmod(0o644)
    done = as_nobody("--db", "history.db", "query", "--host", "db1", folder=public_folder)

    assert (0, [200], b"") == (done.status, done.pids(), done.err)


@pytest.mark.parametrize(
    ("limit", "said"),
    [("--older-than 1s", "would be deleted"), ("--max-size 1GB", "nothing is deleted")],
)
def test_a_reader_may_ask_what_pruning_would_delete(
    limit: str, said: str, public_folder: Path, history: Path
) -> None:
    """A dry run changes nothing, so it needs no permission to write; it says what root is told."""
    shutil.copyfile(history, public_folder / "history.db")
    (public_folder / "history.db").chmod(0o644)
    before = snapshot(public_folder)
    typed = ["--db", str(public_folder / "history.db"), "db", "prune", *limit.split(), "--dry-run"]
    done = as_nobody(*typed)

    assert (0, b"") == (done.status, done.out), done.err
    assert said in done.err.decode()
    assert execaudit(*typed).err == done.err
    assert before == snapshot(public_folder)


@pytest.mark.parametrize(
    ("typed", "status", "said"),
    [
        ("--db history.db query --host db1", 0, ""),
        ("--db history.db db prune --older-than 1s --dry-run", 0, "would be deleted"),
        ("--db history.db record --duration 1s", 1, "Read-only file system"),
        ("--db old.db db upgrade", 1, "Read-only file system"),
        ("--db new.db db upgrade", 1, "Read-only file system"),
        ("--db history.db export --host db1 -o out.csv", 1, "out.csv: Read-only file system"),
    ],
    ids=legible,
)
def test_on_a_read_only_disk(typed: str, status: int, said: str, public_folder: Path, history: Path) -> None:
    """What only reads works there; what writes says why it cannot."""
    shutil.copyfile(history, public_folder / "history.db")
    make_old(history, public_folder / "old.db")
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && cd "$0" && exec "$@"'
    before = ("unshare", "--mount", "sh", "-c", script, str(public_folder), *EXECAUDIT)
    done = execaudit(*shlex.split(typed), before=before)

    assert status == done.status, done.err
    assert said in done.err.decode()
    assert status == 0 or done.failed_in_one_line()
