"""Say now and then what is sealed: a head that leaves the host proves later what was here then."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import structlog

from execaudit.daemon.settings import SealSettings
from execaudit.daemon.stamps import Stamps
from execaudit.enums import ChainReason
from execaudit.errors import StoreError
from execaudit.event import Nanoseconds, Sealed
from execaudit.seal import verify
from execaudit.system import clock
from execaudit.times import utc_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from execaudit.seal.segment_check import Problem
    from execaudit.store.writer import Store

log = structlog.get_logger()

_MOST_SAID = 10


class Found(NamedTuple):
    """What the newest seals say of a history, before a recorder goes on with it."""

    problems: Sequence[Problem] = ()
    sealed_until_ns: int | None = None
    """Wall clock; None: nothing is sealed."""
    failure: str | None = None
    """Why that cannot be told."""

    @property
    def word(self) -> str:
        """What to say of it in a word."""
        if self.problems or self.failure is not None:
            return "broken"
        return "nothing" if self.sealed_until_ns is None else "verified"

    def say(self) -> None:
        """Logs what is not as it was sealed. Recording goes on."""
        todo = "run `execaudit verify`; recording goes on"
        if self.failure is not None:
            log.error("seal_broken", reason=self.failure, todo=todo)
        for each in self.problems[:_MOST_SAID]:
            log.error(
                "seal_broken", kind=each.kind, table=each.table, first=each.first, last=each.last, todo=todo
            )


def check_last(store: Store) -> Found:
    """Returns whether what was sealed last is as it was."""
    try:
        problems, last = store.maintain(verify.check_last)
    except StoreError as exc:
        return Found(failure=str(exc))
    return Found(problems, None if last is None else last.at_ns)


class Seals:
    """Looks after each commit what is sealed. For the storing thread, except `newest`."""

    def __init__(self) -> None:
        self.newest: Sealed | None = None
        """The newest seal that is committed."""
        self.stamps = Stamps()
        self._chain: bytes | None = None
        self._since_ns = clock.wall_ns()
        self._every_s = SealSettings().say_every_s
        self._next = time.monotonic() + self._every_s
        self._said: Sealed | None = None
        self._waiting: list[Sealed] = []

    def use(self, wanted: SealSettings) -> None:
        """Takes new settings."""
        self._next += wanted.say_every_s - self._every_s
        self._every_s = wanted.say_every_s
        self.stamps.path = None if wanted.url is None else wanted.left

    def look(self, store: Store, host: str) -> None:
        """Notes the newest seal; says it now and then, and at once that another chain has begun."""
        self.stamps.look(store)
        last = store.sealer.newest()
        if last is None:
            return
        self.newest = Sealed(
            Nanoseconds(last.at_ns), host, str(last.head), last.head.epoch, bool(last.chain.is_keyed)
        )
        if last.chain.id != self._chain:
            self._chain = last.chain.id
            _say_chain(last.chain.reason, is_new=last.chain.begun_ns >= self._since_ns)
        if time.monotonic() >= self._next and self.newest != self._said:
            self._next = time.monotonic() + self._every_s
            self._said = self.newest
            self._waiting = [self.newest]
            self.say()

    def say(self) -> None:
        """Logs the newest seal."""
        if self.newest is not None:
            time_ns, _, head, epoch, is_keyed = self.newest
            log.info("sealed", head=head, epoch=epoch, keyed=is_keyed, until=utc_text(time_ns))

    def take(self) -> Sequence[Sealed]:
        """Returns what the JSON log is to have with the next batch.

        That need not come soon: to write one for this would make another seal.
        """
        waiting, self._waiting = self._waiting, []
        return waiting


def _say_chain(reason: str, *, is_new: bool) -> None:
    if reason == ChainReason.KEY_LOST.value:
        log.error(
            "sealing_key_lost",
            todo="nobody vouches for what is recorded: find out why, then run `execaudit seal setup --new-key`",
        )
    elif reason == ChainReason.OTHER_KEY.value and is_new:
        log.error(
            "sealing_key_replaced",
            todo="unless somebody of you ran `execaudit seal setup --new-key`, find out who did",
        )
