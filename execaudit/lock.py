"""One writer per database: a lock that dies with its process."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from execaudit.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path


class WriterLock:
    """Held from construction to release, or to the process's end."""

    def __init__(self, database: Path) -> None:
        """Raises StoreError when another process records there, naming its pid."""
        path = database.with_name(f"{database.name}.lock")
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as exc:
            raise StoreError(
                f"cannot write {path}: {exc.strerror}: run it as root, or name another file with --db"
            ) from exc
        try:
            self._take(database)
        except OSError as exc:
            os.close(self._fd)
            raise StoreError(
                f"cannot lock {path}: {exc.strerror}: name a file on another disk with --db"
            ) from exc
        except StoreError:
            os.close(self._fd)
            raise

    def _take(self, database: Path) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip()
            raise StoreError(
                f"another execaudit (pid {holder or 'unknown'}) writes {database}: stop it, or record to another --db"
            ) from exc
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Lets the next writer in. The file stays: removing it would race with that one."""
        os.close(self._fd)
