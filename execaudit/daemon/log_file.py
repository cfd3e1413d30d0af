"""Append whole batches of lines to a log file, or nothing of a batch.

Others may move the file away and make a new one (logrotate). It can also rotate itself by size and age.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import shutil
import time
from dataclasses import dataclass
from datetime import datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from execaudit.errors import ExecauditError
from execaudit.escaping import printable
from execaudit.system.safe_open import UnsafeFileError, open_safely

if TYPE_CHECKING:
    from execaudit.event import Nanoseconds

log = structlog.get_logger()

_MODE = 0o640  # command lines hold secrets
_SECOND_NS = 1_000_000_000
# How long after a rotation that failed (a full disk) the next one is tried.
_RETRY_SECONDS = 60.0
# The first line's time is at its beginning; a line may have megabytes.
_HEAD_BYTES = 4096
# What stands behind a log's name: .1, .2.gz, -20261129.xz, -20261129-1700000000.
_OLD = re.compile(r"(\.\d+|-\d{8}(-\d+)?)(\.(gz|xz|bz2|zst))?").fullmatch


@dataclass(frozen=True)
class Rotation:
    """When a log is rotated, and which old logs are kept."""

    max_bytes: int | None = None
    """None: whatever its size."""
    max_age_ns: Nanoseconds | None = None
    """Since its first line. None: however old."""
    keep: int = 7
    """So many old ones: NAME.1.gz is the newest."""
    compress: bool = True
    max_total: int | None = None
    """Bytes of the log and all old ones, of other rotators too. None: however many."""


NEVER = Rotation(keep=0)


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
        self._open()

    def write(self, lines: bytes) -> None:
        """Appends whole lines: all of them or, when it raises OSError, none."""
        size = self._look()
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            # The batch is written again later: a part of it would stand there twice. When others have
            # truncated the log meanwhile, to truncate it to a larger size would fill it with NULs.
            with contextlib.suppress(OSError):
                if os.fstat(self._fd).st_size > size:
                    os.ftruncate(self._fd, size)
            raise
        self._size = size + len(lines)

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
                first = os.pread(fd, _HEAD_BYTES, 0)
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
        self._began_ns = _time_of(first)

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
            self._began_ns = _time_of(os.pread(self._fd, _HEAD_BYTES, 0))
        return self._began_ns is not None and time.time_ns() - self._began_ns >= wanted.max_age_ns

    def _rotate(self) -> None:
        # Through a link: the log is its target.
        path = Path(os.path.realpath(self.path))
        # The library's shifting of numbers; it never opens the log itself.
        handler = RotatingFileHandler(path, backupCount=self.rotation.keep, delay=True)
        try:
            if self.rotation.compress:
                handler.namer = lambda name: f"{name}.gz"
                handler.rotator = _compress
            if self.rotation.keep:
                handler.doRollover()
            else:
                path.unlink()
        finally:
            handler.close()
        self.reopen()
        if self.rotation.max_total is not None:
            _remove_oldest(path, self.rotation.max_total - 2 * (self.rotation.max_bytes or 0))


def _remove_oldest(path: Path, most_bytes: int) -> None:
    """Removes old logs until the rest is so small: ours, and those that logrotate has made."""
    old = []
    for each in path.parent.iterdir():
        if each.name.startswith(path.name) and _OLD(each.name[len(path.name) :]):
            found = each.lstat()
            old.append((found.st_mtime_ns, found.st_size, each))
    total = sum(size for _, size, _ in old)
    for _, size, each in sorted(old):
        if total <= most_bytes:
            return
        each.unlink()
        total -= size
        log.info("old_log_removed", path=printable(str(each)), bytes=size)


def _compress(source: str, target: str) -> None:
    """Makes target of source, which is there until it is whole."""
    unfinished = f"{target}.tmp"
    try:
        with (
            open(source, "rb", opener=_read) as plain,
            open(unfinished, "wb", opener=_make) as file,
        ):  # of text
            with gzip.GzipFile(os.path.basename(source), "wb", 6, file) as packed:  # noqa: PTH119  # of text
                shutil.copyfileobj(plain, packed, 1 << 20)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, target)  # noqa: PTH105  # of text
        os.unlink(source)  # noqa: PTH108  # of text
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(unfinished)  # noqa: PTH108  # of text
        raise


def _read(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)


def _make(path: str, flags: int) -> int:
    """Makes a new file, whatever somebody has put there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108  # of text
    return os.open(path, flags | os.O_EXCL | os.O_NOFOLLOW, _MODE)


def _time_of(head: bytes) -> int | None:
    """Returns the time of a log's first line, ns since 1970; None if it has none."""
    found = (
        head.partition(b'"time":"')[2].partition(b'"')[0] or head.partition(b'"from":"')[2].partition(b'"')[0]
    )
    try:
        text = found.decode("ascii")
        # Python 3.10 reads neither nanoseconds nor Z.
        return int(datetime.fromisoformat(f"{text[:19]}+00:00").timestamp()) * _SECOND_NS
    except ValueError:
        return None
