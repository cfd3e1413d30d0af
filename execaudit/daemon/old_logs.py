"""The old logs beside a log: put it aside, and remove the oldest when there are too many.

An old log is NAME.1.gz and so on, and whatever logrotate has made of NAME. Each removal is said. A log whose
last lines are younger than a minimum age is not removed for the size: a flood would remove all others' lines
within minutes. Then new lines are refused, see LogFile.room().
"""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import shutil
import time
import zlib
from datetime import datetime
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING, NamedTuple

import structlog

from execaudit.escaping import printable
from execaudit.event import Nanoseconds
from execaudit.times import utc_text

if TYPE_CHECKING:
    from pathlib import Path

log = structlog.get_logger()

_MODE = 0o640  # command lines hold secrets
_SECOND_NS = 1_000_000_000
HEAD_BYTES = 4096
"""A log's first line has its time within these; a line may have megabytes."""
# What stands behind a log's name: .1, .2.gz, -20261129.xz, -20261129-1700000000.
_OLD = re.compile(r"(\.\d+|-\d{8}(-\d+)?)(\.(gz|xz|bz2|zst))?").fullmatch
# A log that compresses well becomes a small file, and each file is renamed for each new one: more than so
# many are too much, whatever their size. A quarter more, and only root writes.
_MOST_FILES, _MARGIN_FILES = 1000, 250
# At most so often a removal is logged.
_SAY_SECONDS = 60.0


class _Old(NamedTuple):
    modified_ns: int
    bytes: int
    path: Path


class OldLogs:
    """What is known of the old logs of one log."""

    def __init__(self) -> None:
        self.bytes = self.files = 0
        """How much they have together, and how many there are."""
        self.is_crowded = False
        """They are too much, and none of them may be removed yet."""
        self._removed: list[tuple[int, int | None, int]] = []
        """Bytes, and the times of the first and the last line, of what was removed and not said yet."""
        self._next_say = float("-inf")

    @property
    def pressure(self) -> float:
        """How far their number is above its limit; 1: a quarter or more."""
        return min((self.files - _MOST_FILES) / _MARGIN_FILES, 1.0)

    def shrink(self, path: Path, most_bytes: int, min_age_ns: int) -> None:
        """Removes the oldest until the rest is so small, none with younger lines.

        Raises OSError if one cannot be removed, after all others that may go.
        """
        old = sorted(_found(path))
        # The wall clock may have been stepped: what is far in the future is not young.
        now_ns = time.time_ns()
        self.bytes, self.files = sum(each.bytes for each in old), len(old)
        is_crowded, failure = self.is_crowded, None
        for each in old:
            if not self._are_too_much(most_bytes):
                break
            if abs(now_ns - each.modified_ns) >= min_age_ns:
                try:
                    self.remove(each.path)
                except OSError as exc:
                    failure = exc
                else:
                    self.bytes, self.files = self.bytes - each.bytes, self.files - 1
        self.is_crowded = self._are_too_much(most_bytes)
        if self.is_crowded and not is_crowded:
            log.warning(
                "log_limit_not_kept", path=printable(str(path)), files=self.files, bytes=self.bytes,
                reason="the old logs have too much, and are too young to be removed, or cannot be",
                todo="raise max_total in [json_log]; until then the execs of accounts that take most are only counted",
            )  # fmt: skip
        if failure is not None:
            raise failure

    def _are_too_much(self, most_bytes: int) -> bool:
        return self.bytes > most_bytes or self.files > _MOST_FILES

    def remove(self, old: Path) -> None:
        """Removes one, which is said later. Raises OSError."""
        found = old.lstat()
        began_ns = _began_ns(old)
        old.unlink()
        self._removed.append((found.st_size, began_ns, found.st_mtime_ns))

    def say(self, path: Path) -> None:
        """Logs what was removed, once a minute at most."""
        if not self._removed or time.monotonic() < self._next_say:
            return
        self._next_say = time.monotonic() + _SAY_SECONDS
        began_ns = min((began for _, began, _ in self._removed if began is not None), default=None)
        log.warning(
            "old_logs_removed",
            path=printable(str(path)),
            files=len(self._removed),
            bytes=sum(size for size, _, _ in self._removed),
            since=None if began_ns is None else utc_text(began_ns),
            until=utc_text(max(ended for _, _, ended in self._removed)),
        )
        self._removed.clear()


def put_aside(path: Path, old: OldLogs, keep: int | None, *, compress: bool) -> None:
    """Makes NAME.1 of a log, and of each old one the next number. More than `keep` are removed.

    Raises OSError.
    """
    ending = ".gz" if compress else ""

    def of_number(number: int) -> Path:
        return path.with_name(f"{path.name}.{number}{ending}")

    if keep == 0:
        old.remove(path)
        return
    if keep is None:
        keep = 1
        while os.path.lexists(of_number(keep)):
            keep += 1
    elif os.path.lexists(of_number(keep)):
        old.remove(of_number(keep))
    # The library's shifting of numbers; it never opens the log itself.
    handler = RotatingFileHandler(path, backupCount=keep, delay=True)
    try:
        if compress:
            handler.namer = lambda name: f"{name}.gz"
            handler.rotator = _compress
        handler.doRollover()
    finally:
        handler.close()


def time_of(head: bytes) -> Nanoseconds | None:
    """Returns the time of a log's first line; None if it has none."""
    found = (
        head.partition(b'"time":"')[2].partition(b'"')[0] or head.partition(b'"from":"')[2].partition(b'"')[0]
    )
    try:
        text = found.decode("ascii")
        # Python 3.10 reads neither nanoseconds nor Z.
        return Nanoseconds(int(datetime.fromisoformat(f"{text[:19]}+00:00").timestamp()) * _SECOND_NS)
    except ValueError:
        return None


def _found(path: Path) -> list[_Old]:
    """Returns the old logs of a log: ours, and those that logrotate has made."""
    old = []
    for each in path.parent.iterdir():
        if each.name.startswith(path.name) and _OLD(each.name[len(path.name) :]):
            with contextlib.suppress(FileNotFoundError):
                found = each.lstat()
                old.append(_Old(found.st_mtime_ns, found.st_size, each))
    return old


def _began_ns(old: Path) -> Nanoseconds | None:
    """Returns the time of an old log's first line; None if it is not known."""
    try:
        with open(old, "rb", opener=_read) as file:
            if old.suffix == ".gz":
                with gzip.GzipFile(fileobj=file) as unpacked:
                    return time_of(unpacked.read(HEAD_BYTES))
            return time_of(file.read(HEAD_BYTES))
    except (OSError, EOFError, zlib.error):
        return None


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
