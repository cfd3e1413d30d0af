"""What `execaudit seal timestamp` does: once, or again and again for a recorder that has no network."""

from __future__ import annotations

import random
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import click

from execaudit.daemon import diagnostics
from execaudit.daemon.diagnostics import log
from execaudit.database import files
from execaudit.errors import ConfigError, ExecauditError, StoreError
from execaudit.escaping import printable
from execaudit.output.summary_line import local_text
from execaudit.query.connection import open_history
from execaudit.seal import stamp_check, stamps
from execaudit.seal.newest import newest
from execaudit.system import clock, systemd
from execaudit.system.post import post
from execaudit.system.textfile import replace_text
from execaudit.times import utc_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import FrameType

    from execaudit.daemon.settings import SealSettings
    from execaudit.seal.stamps import Stamp

# So often the history is looked at.
_LOOK_SECONDS = 10.0
# Between two tries: twice as long each time, up to a quarter of an hour.
_FIRST_PAUSE, _LONGEST_PAUSE = 10.0, 900.0
# Between two stamps, if a recorder is stopped again and again.
_LEAST_SECONDS = 60.0
# The last one, when this process is to end: systemd waits 30 s.
_LAST_SECONDS = 10.0


class Authority:
    """Who is asked for time stamps."""

    def __init__(self, settings: SealSettings) -> None:
        """Raises ConfigError, MissingLibraryError."""
        if settings.url is None or settings.authority is None:
            raise ConfigError(
                "no time stamp authority is configured",
                fix="set timestamp and timestamp_authority in [seal] of the configuration",
            )
        self._url, self._seconds = settings.url, settings.timeout_s
        self._trusted = stamp_check.authorities(settings.authority)

    def stamp(self, head: str, *, seconds: float | None = None) -> Stamp:
        """Returns a stamp of a head, checked. Waits `seconds` at most, or as configured.

        Raises PostError, StampError, MissingLibraryError.
        """
        asked, nonce = stamp_check.request(head)
        reply = post(
            self._url, asked, content="application/timestamp-query", answer="application/timestamp-reply",
            most=stamps.LARGEST_REPLY, seconds=self._seconds if seconds is None else seconds,
        )  # fmt: skip
        return stamp_check.checked(head, reply, self._trusted, nonce=nonce)


class _Look(NamedTuple):
    """What a history shows."""

    head: str | None
    """The newest; None: nothing is sealed."""
    is_stopped: bool
    """Its recorder has stopped in order."""


def once(path: Path, settings: SealSettings) -> None:
    """Has the newest head stamped, stores the stamp in the history, and says it. Raises ExecauditError."""
    head = _look(path).head
    if head is None:
        raise StoreError("nothing is sealed yet", fix="a recorder seals what it stores")
    authority = Authority(settings)
    with files.opened_beside_recorder(path) as connection:
        stamp = authority.stamp(head)
        is_new = stamps.add(connection, [stamp])
    what = head if is_new else f"{head}, which has a stamp already,"
    click.echo(printable(f"{what} existed at {local_text(stamp.at_ns)}, says {stamp.authority}"))


def _look(path: Path) -> _Look:
    with open_history(path) as connection:
        last = newest(connection)
        run = connection.execute("SELECT stopped_ns FROM run ORDER BY id DESC LIMIT 1").fetchone()
    return _Look(None if last is None else str(last.head), run is not None and run[0] is not None)


class _StoppedError(BaseException):
    """SIGTERM."""


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise _StoppedError


def follow(path: Path, settings: SealSettings, into: Path) -> None:
    """Has heads stamped until SIGTERM, and leaves the stamps in a file. Raises ConfigError."""
    diagnostics.configure()
    signal.signal(signal.SIGTERM, _stop)
    following = Following(path, Authority(settings), settings.interval_s, into)
    try:
        log.info("timestamping", by=printable(settings.url or ""), db=printable(str(path)))
        systemd.notify("READY=1", must_arrive=True)
        while True:
            time.sleep(following.step())
    except _StoppedError:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        systemd.notify("STOPPING=1")
        following.finish()


class Following:
    """Knows when the next stamp is due."""

    def __init__(self, path: Path, authority: Authority, interval_s: float, into: Path) -> None:
        """Stamps that an earlier process left in `into` stay there."""
        self._path, self._authority, self._into = path, authority, into
        self._interval_s = interval_s
        self._pause = _FIRST_PAUSE
        self._failure: str | None = None
        self._left: Sequence[Stamp] = []
        with suppress(OSError, ValueError):
            self._left = stamps.read_left(into)
        self._at = float("-inf")
        if self._left:
            # The clock may have been stepped since.
            passed = (clock.wall_ns() - self._left[-1].at_ns) / 1e9
            self._at = time.monotonic() - min(max(passed, 0.0), interval_s)

    def step(self) -> float:
        """Has the newest head stamped, if it is time. Returns after how many seconds to call again."""
        try:
            self._stamp_if_due()
        except ExecauditError as exc:
            self._failed(exc)
            waiting, self._pause = self._pause, min(self._pause * 2, _LONGEST_PAUSE)
            # A thousand hosts do not come back at once.
            return waiting * random.uniform(0.5, 1)  # noqa: S311  # no secret
        self._pause = _FIRST_PAUSE
        return _LOOK_SECONDS

    def finish(self) -> None:
        """Has the newest head stamped, if it is not. A failure is logged, and no more."""
        try:
            head = _look(self._path).head
            if head is not None and self._is_new(head):
                self._stamp(head, seconds=_LAST_SECONDS)
        except ExecauditError as exc:
            self._failed(exc)

    def _is_new(self, head: str) -> bool:
        return not self._left or self._left[-1].head != head

    def _stamp_if_due(self) -> None:
        head, is_stopped = _look(self._path)
        passed = time.monotonic() - self._at
        is_due = passed >= self._interval_s or (is_stopped and passed >= _LEAST_SECONDS)
        if head is not None and is_due and self._is_new(head):
            self._stamp(head)

    def _stamp(self, head: str, *, seconds: float | None = None) -> None:
        stamp = self._authority.stamp(head, seconds=seconds)
        left = [*self._left, stamp][-stamps.MOST_LEFT :]
        try:
            replace_text(self._into, stamps.to_json(left))
        except OSError as exc:
            raise StoreError(f"cannot write {self._into}: {exc.strerror}", fix="name another file") from exc
        self._left, self._at = left, time.monotonic()
        if self._failure is not None:
            log.info("timestamped_again")
        self._failure = None
        systemd.notify(f"STATUS=stamped at {utc_text(stamp.at_ns)}")
        log.info("timestamped", head=head, at=utc_text(stamp.at_ns), by=printable(stamp.authority))

    def _failed(self, error: ExecauditError) -> None:
        """Says once why there is no stamp, until there is one."""
        text = printable(str(error))
        if self._failure is None:
            log.warning("not_timestamped", reason=text)
        self._failure = text
        systemd.notify(f"STATUS=no time stamp: {text}")
