"""Append whole batches of lines to a log file, or nothing of a batch.

Others may move the file away and make a new one (logrotate). It can also rotate itself by size and age.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import structlog

from execaudit.daemon import old_logs
from execaudit.daemon.old_logs import HEAD_BYTES, OldLogs, time_of
from execaudit.errors import ExecauditError
from execaudit.escaping import printable
from execaudit.store.limits import DEFAULT_MIN_AGE
from execaudit.system.safe_open import UnsafeFileError, open_safely

if TYPE_CHECKING:
    from collections.abc import Iterator

    from execaudit.event import Nanoseconds

log = structlog.get_logger()

_MODE = 0o640  # command lines hold secrets
# How long after a rotation that failed (a full disk) the next one is tried.
_RETRY_SECONDS = 60.0
# How often old logs are looked at: logrotate makes some too, and they become old enough to be removed.
_LOOK_SECONDS = 60.0


@dataclass(frozen=True)
class Rotation:
    """When a log is rotated, and which old logs are kept."""

    max_bytes: int | None = None
    """None: whatever its size."""
    max_age_ns: Nanoseconds | None = None
    """Since its first line. None: however old."""
    keep: int | None = None
    """So many old ones: NAME.1.gz is the newest. None: as many as `max_total` has room for."""
    compress: bool = True
    max_total: int | None = None
    """Bytes of the log and all old ones, of other rotators too. None: however many."""
    min_age_ns: Nanoseconds = DEFAULT_MIN_AGE
    """An old log with younger lines is not removed for `max_total`."""


NEVER = Rotation(keep=0)
_ANY_BYTES = 2**63
# Old logs leave room for the log, for one that is being compressed, and for what is written when no more old
# logs may be removed.
_RESERVED_PARTS = 3


class Room(NamedTuple):
    """How much may be written into the log."""

    pressure: float | None
    """How far it is above its limit, for Budget.admit()."""
    bytes: int
    """Until it is at its limit."""


class LogFile:
    """A log, open for appending."""

    def __init__(self, path: Path, rotation: Rotation = NEVER) -> None:
        """Raises ExecauditError."""
        self.path = path
        self.rotation = rotation
        self._not_before = 0.0
        self._reopens = False
        self._size = 0
        self._began_ns: int | None = None
        self._old = OldLogs()
        self._next_look = 0.0
        self._open()

    def write(self, lines: bytes) -> None:
        """Appends whole lines: all of them or, when it raises OSError, none."""
        with self.batch():
            self.append(lines)

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """What is appended in the body stays if the body ends well; else nothing of it."""
        size = self._look()
        try:
            yield
        except BaseException:
            # The batch is written again later: a part of it would stand there twice. When others have
            # truncated the log meanwhile, to truncate it to a larger size would fill it with NULs.
            with contextlib.suppress(OSError):
                if os.fstat(self._fd).st_size > size:
                    os.ftruncate(self._fd, size)
            self._size = size
            raise

    def append(self, lines: bytes) -> None:
        """Appends whole lines, in the body of batch(). Raises OSError."""
        rest = memoryview(lines)
        while rest:
            rest = rest[os.write(self._fd, rest) :]
        self._size += len(lines)

    def room(self) -> Room:
        """Returns how much may be written. To be asked after prepare()."""
        most = self.rotation.max_total
        if most is None or not self._old.is_crowded:
            return Room(None, _ANY_BYTES)
        part = self.rotation.max_bytes or 0
        # When the log is compressed, both are there for a moment, and between is what users may share.
        left = most - 2 * part - self._old.bytes - self._size
        pressure = max(min(-left / (part or most), 1.0), self._old.pressure)
        return Room(None if pressure < 0 else pressure, max(left, 0))

    def prepare(self) -> None:
        """Before lines are written: follows the path, and rotates if it is time.

        Raises OSError, ExecauditError when there is no file to write to.
        """
        if self._reopens or self._is_moved():
            self.reopen()
            self._reopens = False
        self._look()
        if time.monotonic() >= self._not_before and self._is_due():
            try:
                self._rotate()
            except OSError as exc:
                self._not_before = time.monotonic() + _RETRY_SECONDS
                log.warning("log_not_rotated", path=printable(str(self.path)), reason=exc.strerror)
        if time.monotonic() >= self._next_look:
            self._make_room()
        most = self.rotation.max_total
        if most is not None and self._size >= most:
            raise ExecauditError(
                f"the JSON log {self.path} has reached its limit of {most} bytes and cannot be rotated",
                fix="see what is in its folder, or raise max_total in [json_log]",
            )

    def _look(self) -> int:
        """Returns how large the file is: others may have truncated it in place."""
        size = os.fstat(self._fd).st_size
        if size < self._size:
            self._began_ns = None
        self._size = size
        return size

    def reopen(self) -> None:
        """Opens what is at the path now, or makes it.

        Raises ExecauditError: then the old one is still open.
        """
        old = self._fd
        self._open()
        os.close(old)

    def reopen_soon(self) -> None:
        """Has prepare() reopen it. For another thread."""
        self._reopens = True

    def close(self) -> None:
        """Closes it."""
        os.close(self._fd)

    def _open(self) -> None:
        try:
            fd = open_safely(self.path, os.O_RDWR | os.O_APPEND, _MODE)
            try:
                found = os.fstat(fd)
                size = found.st_size
                # A recorder that died may have left half a line.
                if size and os.pread(fd, 1, size - 1) != b"\n":
                    size += os.write(fd, b"\n")
                first = os.pread(fd, HEAD_BYTES, 0)
            except OSError:
                os.close(fd)
                raise
        except UnsafeFileError as exc:
            raise ExecauditError(
                f"cannot write the JSON log: {exc.what}", fix=f"{exc.fix} with --json-log"
            ) from exc
        except OSError as exc:
            raise ExecauditError(
                f"cannot write the JSON log {self.path}: {exc.strerror}",
                fix="make its folder, or name another file with --json-log",
            ) from exc
        self._fd, self._size = fd, size
        self._identity = found.st_dev, found.st_ino
        self._began_ns = time_of(first)

    def _is_moved(self) -> bool:
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return True
        except OSError:
            return False  # the path cannot be read, but the open file can still be written
        return (now.st_dev, now.st_ino) != self._identity

    def _is_due(self) -> bool:
        wanted = self.rotation
        if not self._size:
            return False
        if wanted.max_bytes is not None and self._size >= wanted.max_bytes:
            return True
        if wanted.max_age_ns is None:
            return False
        if self._began_ns is None:
            self._began_ns = time_of(os.pread(self._fd, HEAD_BYTES, 0))
        return self._began_ns is not None and time.time_ns() - self._began_ns >= wanted.max_age_ns

    def _rotate(self) -> None:
        # Through a link: the log is its target.
        path = Path(os.path.realpath(self.path))
        old_logs.put_aside(path, self._old, self.rotation.keep, compress=self.rotation.compress)
        self.reopen()
        self._next_look = 0.0

    def _make_room(self) -> None:
        """Removes the oldest logs if there is too much, and notes how much is left."""
        self._next_look = time.monotonic() + _LOOK_SECONDS
        wanted, path = self.rotation, Path(os.path.realpath(self.path))
        if wanted.max_total is not None:
            most_bytes = wanted.max_total - _RESERVED_PARTS * (wanted.max_bytes or 0)
            try:
                self._old.shrink(path, most_bytes, wanted.min_age_ns)
            except OSError as exc:
                log.warning("old_logs_not_removed", path=printable(str(path)), reason=exc.strerror)
        self._old.say(path)
