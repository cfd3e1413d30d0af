"""One writer per database."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from execaudit.database.writer_lock import WriterLock, _is_listed, is_held
from execaudit.errors import StoreError
from tests.nobody import as_nobody, public_folder

CHECKOUT = Path(__file__).parents[2]
_HOLD = """
import os, sys
from pathlib import Path
from execaudit.database.writer_lock import WriterLock
lock = WriterLock(Path(sys.argv[1]))
print(os.getpid(), flush=True)
sys.stdin.read()
"""


def test_the_second_learns_who_is_first(tmp_path: Path) -> None:
    """The message names the process that writes, and what to do."""
    path = tmp_path / "x.db"
    lock = WriterLock(path)
    with pytest.raises(
        StoreError, match=rf"\(pid {os.getpid()}\) writes {path}: stop it, or record to another"
    ):
        WriterLock(path)
    lock.release()


def test_a_released_lock_can_be_taken(tmp_path: Path) -> None:
    """One after the other may write, and each leaves its own pid."""
    for _ in range(3):
        WriterLock(tmp_path / "x.db").release()

    assert (tmp_path / "x.db.lock").read_text() == f"{os.getpid()}\n"


def test_a_longer_pid_leaves_no_digits(tmp_path: Path) -> None:
    """What a former holder left in the file is not taken for a part of the pid."""
    (tmp_path / "x.db.lock").write_text("123456789123456789\n")
    lock = WriterLock(tmp_path / "x.db")
    with pytest.raises(StoreError, match=rf"\(pid {os.getpid()}\)"):
        WriterLock(tmp_path / "x.db")
    lock.release()


def test_databases_of_one_folder_have_their_own_locks(tmp_path: Path) -> None:
    """A writer locks its database and no other."""
    locks = [WriterLock(tmp_path / name) for name in ("x.db", "y.db", "x")]
    for lock in locks:
        lock.release()


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    """While another process has the lock it is named; when that was killed, the next one gets it."""
    path = tmp_path / "x.db"
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, path],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == f"{holder.pid}\n"
        with pytest.raises(StoreError, match=rf"\(pid {holder.pid}\)"):
            WriterLock(path)
        holder.kill()
        holder.wait()

        WriterLock(path).release()


def test_a_holder_that_has_not_said_its_pid_is_unknown(tmp_path: Path) -> None:
    """Between taking the lock and writing the pid, the message does without."""
    lock = WriterLock(tmp_path / "x.db")
    (tmp_path / "x.db.lock").write_bytes(b"")
    with pytest.raises(StoreError, match=r"\(pid unknown\)"):
        WriterLock(tmp_path / "x.db")
    lock.release()


def test_a_lock_that_others_have_prepared_is_refused_in_one_line(tmp_path: Path) -> None:
    """Neither a device nor a file of others is truncated and written, and no descriptor is left open."""
    folder, victim = tmp_path / "foreign", tmp_path / "victim"
    folder.mkdir()
    victim.write_bytes(b"precious")
    os.chown(victim, 1, 1)
    os.chown(folder, 65534, 65534)
    (tmp_path / "x.db.lock").symlink_to("/dev/full")
    (folder / "x.db.lock").symlink_to(victim)
    (folder / "y.db.lock").hardlink_to(victim)
    opened = len(list(Path("/proc/self/fd").iterdir()))

    for database in (tmp_path / "x.db", folder / "x.db", folder / "y.db"):
        with pytest.raises(StoreError, match=r"^cannot write the lock: [^\n]* with --db$"):
            WriterLock(database)
    assert opened == len(list(Path("/proc/self/fd").iterdir()))
    assert b"precious" == victim.read_bytes()


def test_whether_it_is_held_can_be_asked(tmp_path: Path) -> None:
    """Before, while and after; asking neither makes a file nor takes the lock."""
    path = tmp_path / "x.db"
    assert not is_held(path)
    assert not list(tmp_path.iterdir())
    lock = WriterLock(path)
    assert is_held(path)
    assert not is_held(tmp_path / "y.db")
    lock.release()
    assert not is_held(path)
    WriterLock(path).release()


def test_asking_needs_no_permission() -> None:
    """Who may not read the lock's file hears it from the kernel; who may not even look is told no."""
    with public_folder() as folder:
        path = folder / "x.db"
        lock = WriterLock(path)
        (folder / "other.lock").touch()
        for mode in (0o644, 0o600):
            (folder / "x.db.lock").chmod(mode)
            assert as_nobody(lambda: is_held(path))
        folder.chmod(0o700)
        assert not as_nobody(lambda: is_held(path))
        folder.chmod(0o755)
        lock.release()
        assert not as_nobody(lambda: is_held(path))


def test_who_asks_does_not_keep_a_writer_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that meets somebody who asks tries again."""
    path = tmp_path / "x.db"
    WriterLock(path).release()
    asking = os.open(tmp_path / "x.db.lock", os.O_RDONLY)
    fcntl.flock(asking, fcntl.LOCK_SH)
    monkeypatch.setattr(
        "execaudit.database.writer_lock.time.sleep", lambda _: fcntl.flock(asking, fcntl.LOCK_UN)
    )

    WriterLock(path).release()
    os.close(asking)


def test_links_lead_to_one_lock(tmp_path: Path) -> None:
    """Two names of a database are one database."""
    (tmp_path / "link.db").symlink_to("x.db")
    lock = WriterLock(tmp_path / "link.db")
    assert is_held(tmp_path / "x.db")
    with pytest.raises(StoreError, match="another execaudit"):
        WriterLock(tmp_path / "x.db")
    lock.release()


def test_who_may_read_the_history_cannot_hold_the_lock(tmp_path: Path) -> None:
    """It is the recorder's alone, also where an earlier version has let the group read it."""
    path, file = tmp_path / "x.db", tmp_path / "x.db.lock"
    WriterLock(path).release()
    assert 0o600 == file.stat().st_mode & 0o777
    file.chmod(0o640)
    WriterLock(path).release()

    assert 0o600 == file.stat().st_mode & 0o777


def test_a_device_whose_number_is_its_mounts_alone_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on btrfs: stat has the number of the subvolume, the kernel's list that of the file system."""
    lock = WriterLock(tmp_path / "x.db")
    file = tmp_path / "x.db.lock"
    assert _is_listed(file)
    major, minor = os.major(file.stat().st_dev), os.minor(file.stat().st_dev)
    of_btrfs = Path(shutil.copy("/proc/locks", tmp_path / "locks"))
    of_btrfs.write_text(of_btrfs.read_text().replace(f"{major:02x}:{minor:02x}:", "ab:cd:"))
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        Path("/proc/self/mountinfo").read_text().replace(f" {major}:{minor} ", f" {0xAB}:{0xCD} ")
    )
    monkeypatch.setattr("execaudit.database.writer_lock._LOCKS", of_btrfs)
    assert not _is_listed(file)
    monkeypatch.setattr("execaudit.database.writer_lock._MOUNTS", mounts)

    assert _is_listed(file)
    lock.release()
