"""A file that takes room on the disk, to be given up when there is no other.

On a full disk SQLite cannot even delete: that takes room in the WAL first.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Deletes in small transactions, with checkpoints between them, were seen to get by with this.
_BYTES = 4 * 1024 * 1024
# Taken again only while so much would still be free: it must not be what fills the disk.
_FREE_BYTES = 16 * _BYTES
_MODE = 0o600


class Ballast:
    """The file, beside the database."""

    def __init__(self, database: Path) -> None:
        """Takes the room, if there is enough."""
        # Through a symbolic link, on the file system where the file is.
        real = Path(os.path.realpath(database))
        self._path = real.with_name(f"{real.name}.ballast")
        self._held = False
        self.restore()

    def give_up(self) -> None:
        """Gives the room back."""
        with contextlib.suppress(OSError):
            self._path.unlink()
        self._held = False

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Gives the room back while the body runs, and takes it again if it is still there."""
        held = self._held
        self.give_up()
        try:
            yield
        finally:
            if held:
                self._take()

    def restore(self) -> None:
        """Takes the room again, if it was given up and there is enough."""
        if self._held:
            return
        with contextlib.suppress(OSError):
            disk = os.statvfs(self._path.parent)
            if disk.f_bavail * disk.f_frsize >= _FREE_BYTES:
                self._take()

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            with contextlib.suppress(FileNotFoundError):  # of a recorder that was killed, or not ours at all
                self._path.unlink()
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(self._path, flags, _MODE)
            try:
                os.posix_fallocate(fd, 0, _BYTES)
            except OSError:
                self._path.unlink()
                raise
            finally:
                os.close(fd)
            self._held = True
