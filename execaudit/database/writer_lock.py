"""The lock that lets one process at a time write a database. The kernel releases it when the process ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from execaudit.errors import StoreError
from execaudit.system.safe_open import UnsafeFileError, open_safely

_LOCKS = Path("/proc/locks")
_MOUNTS = Path("/proc/self/mountinfo")
# Nobody else may open it: a user who can open it could hold the lock and keep the recorder from starting.
_MODE = 0o600
# is_held(), called by root or the owner, holds the lock for an instant: then this tries again.
_TRIES, _BETWEEN_SECONDS = 5, 0.02


def lock_file(database: Path) -> Path:
    """Returns the lock's file: the same one for every symbolic link to the database."""
    real = Path(os.path.realpath(database))
    return real.with_name(f"{real.name}.lock")


def is_held(database: Path) -> bool:
    """Says whether a process writes the database. Needs no write permission.

    A user who may not read the lock's file gets the answer from the kernel's list of locks, which does not
    show a writer in another pid namespace.
    """
    path = lock_file(database)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        return _is_listed(path)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False


def is_readable(database: Path) -> bool:
    """Says whether this user may read the lock's file, or there is none: then is_held() is reliable."""
    path = lock_file(database)
    return os.access(path, os.R_OK) or not path.exists()


def _is_listed(path: Path) -> bool:
    """Looks a lock up in /proc/locks: `1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF`."""
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        inode = os.fstat(handle).st_ino
        places = [f"{major:02x}:{minor:02x}:{inode}" for major, minor in _devices(handle)]
        lines = _LOCKS.read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    finally:
        os.close(handle)
    return any(
        (fields := line.split())[1:4:2] == ["FLOCK", "WRITE"] and fields[5] in places for line in lines
    )


def _devices(handle: int) -> set[tuple[int, int]]:
    """Returns the numbers of a file's device: that of stat, and that of its mount. On btrfs they differ."""
    device = os.fstat(handle).st_dev
    devices = {(os.major(device), os.minor(device))}
    about = Path(f"/proc/self/fdinfo/{handle}").read_text(encoding="ascii")
    mount = next((line.split()[1] for line in about.splitlines() if line.startswith("mnt_id:")), None)
    for line in _MOUNTS.read_bytes().splitlines():
        fields = line.split(maxsplit=3)
        if fields[0].decode() == mount:
            major, minor = fields[2].split(b":")
            devices.add((int(major), int(minor)))
    return devices


class WriterLock:
    """Holds the lock from construction until release, or until the process ends."""

    def __init__(self, database: Path) -> None:
        """Raises StoreError when another process records there, naming its pid."""
        path = lock_file(database)
        try:
            # Root may record to the service's database (`record -- CMD`), whose folder and lock are the
            # service user's.
            self._fd = open_safely(path, os.O_RDWR, _MODE, trust_folder=True)
        except UnsafeFileError as exc:
            raise StoreError(f"cannot write the lock: {exc.what}", fix=f"{exc.fix} with --db") from exc
        except OSError as exc:
            raise StoreError(
                f"cannot write {path}: {exc.strerror}", fix="run it as root, or name another file with --db"
            ) from exc
        try:
            # Earlier versions made it readable for the group.
            if os.fstat(self._fd).st_mode & ~_MODE & 0o777:
                with contextlib.suppress(PermissionError):
                    os.fchmod(self._fd, _MODE)
            self._take(database)
        except OSError as exc:
            os.close(self._fd)
            raise StoreError(
                f"cannot lock {path}: {exc.strerror}", fix="name a file on another disk with --db"
            ) from exc
        except StoreError:
            os.close(self._fd)
            raise

    def _take(self, database: Path) -> None:
        try:
            self._try()
        except BlockingIOError as exc:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip()
            raise StoreError(
                f"another execaudit (pid {holder or 'unknown'}) writes {database}",
                fix="stop it, or record to another --db",
            ) from exc
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)

    def _try(self) -> None:
        for _ in range(_TRIES - 1):
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_BETWEEN_SECONDS)
            else:
                return
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def release(self) -> None:
        """Releases the lock. The file stays: to remove it would race with the next writer."""
        os.close(self._fd)
