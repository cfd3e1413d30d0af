"""Put time stamps into the history that another process has asked for. The recorder has no network."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from execaudit.errors import StoreError
from execaudit.escaping import printable
from execaudit.seal import stamps
from execaudit.times import utc_text

if TYPE_CHECKING:
    from pathlib import Path

    from execaudit.store.writer import Store

log = structlog.get_logger()

_SECONDS = 30.0


class Stamps:
    """Looks now and then for stamps that were left. For the storing thread, except `newest_ns`."""

    def __init__(self) -> None:
        self.path: Path | None = None
        """Where they are left; None: nowhere. May be set anew."""
        self.newest_ns: int | None = None
        """When the newest one in the history was made, as its authority said."""
        self._next = float("-inf")
        self._seen: tuple[object, ...] | None = None
        self._failure: str | None = None

    def look(self, store: Store) -> None:
        """Stores the stamps that are new. What cannot be read or stored is logged once, and tried again."""
        if self.path is None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _SECONDS
        try:
            self._take(store, self.path)
        except FileNotFoundError:
            pass  # nothing was left yet
        except (OSError, ValueError, StoreError) as exc:
            why = exc.strerror if isinstance(exc, OSError) else str(exc)
            if why != self._failure:
                log.warning("timestamps_not_taken", path=str(self.path), reason=why)
            self._failure = why
        else:
            self._failure = None

    def _take(self, store: Store, path: Path) -> None:
        found = path.lstat()
        seen = (path, found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
        if seen == self._seen:
            return
        left = stamps.read_left(path)
        new = store.maintain(lambda connection: stamps.add(connection, left))
        newest = store.maintain(stamps.newest)
        self.newest_ns = None if newest is None else newest.at_ns
        self._seen = seen
        if new and newest is not None:
            log.info(
                "timestamped",
                count=new,
                head=newest.head,
                at=utc_text(newest.at_ns),
                by=printable(newest.authority),
            )
