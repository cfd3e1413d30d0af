"""Leave out single events that a sink cannot store or cannot write as text.

An event that fails costs no other event. When a plain event fails as well, the event is not the cause: the
error is a bug, and is raised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

import structlog

from execaudit.daemon.losses import Lost, account_of
from execaudit.enums import GapReason, Kind
from execaudit.errors import StoreError
from execaudit.event import ExecEvent, ExitEvent, Nanoseconds
from execaudit.exec_id import encode_id
from execaudit.fields import Launch, Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from execaudit.daemon.backlog import Finished
    from execaudit.event import Gap

    Check = Callable[[Sequence[ExecEvent], Sequence[ExitEvent]], object]
    """Raises the error that storing these would raise."""

log = structlog.get_logger()

_Item = TypeVar("_Item")
_MOST_SAID = 10
_USERS = 2**32
PLAIN = ExecEvent(
    kind=Kind.EXEC, host="host", boot_id="00000000-0000-4000-8000-000000000000",
    time_ns=Nanoseconds(1), boot_ns=Nanoseconds(1), pid=1, tid=1, ppid=0,
    argv=b"init\0", argc=1, argv_bytes=5, holes=(), truncated=None, errno=None,
    launch=Launch(
        uid=0, euid=0, gid=0, user="root", comm=b"init", filename=b"/sbin/init", exe=b"/sbin/init", cwd=b"/"
    ),
    origin=Origin(),
)  # fmt: skip
"""An event that every sink can take."""


class Omitted(NamedTuple):
    """An event that was left out."""

    event: ExecEvent | ExitEvent
    why: Exception


class LeftOut:
    """Reports what one sink left out: in the log, and as gaps for the sink itself."""

    def __init__(self, sink: str, host: str | None = None) -> None:
        """`host` is that of the gaps; None: the events'."""
        self._sink, self._host = sink, host
        self._seen_ns: Nanoseconds | None = None

    def gaps(self, omitted: Sequence[Omitted], seen_ns: Nanoseconds) -> list[Gap]:
        """Returns the gaps for what was left out of the batch that ends at `seen_ns` (wall clock).

        The end of what an exec replaced is missing with it.
        """
        if not omitted:
            return []
        host = self._host or next(each.event.host for each in omitted if isinstance(each.event, ExecEvent))
        lost = Lost()
        for event, _ in omitted:
            if isinstance(event, ExecEvent):
                lost.note(_account(event), execs=1, exits=int(bool(event.replaces)))
            else:
                lost.note(None, exits=1)
        return lost.gaps(
            host, GapReason.UNSTORABLE, seen_ns if self._seen_ns is None else self._seen_ns, seen_ns
        )

    def written(self, omitted: Sequence[Omitted], seen_ns: Nanoseconds) -> None:
        """Logs what was left out of a batch, after the sink has written the batch and the gaps."""
        self._seen_ns = seen_ns
        for event, why in omitted[:_MOST_SAID]:
            log.error("left_out", sink=self._sink, id=_id(event), reason=f"{type(why).__name__}: {why}")
        if len(omitted) > _MOST_SAID:
            log.error("more_left_out", sink=self._sink, events=len(omitted) - _MOST_SAID)


def sift(batch: Finished, check: Check, why: Exception) -> tuple[Finished, list[Omitted]]:
    """Returns a batch without the events that cannot be stored, and these. Raises `why` if none causes it."""
    omitted = [
        *_culprits(batch.events, lambda some: check(some, ())),
        *_culprits(batch.exits, lambda some: check((), some)),
    ]
    if not omitted:
        raise why
    _blame(lambda: check([PLAIN], ()), why)
    gone = {id(each.event) for each in omitted}
    return batch._replace(
        events=[event for event in batch.events if id(event) not in gone],
        exits=[event for event in batch.exits if id(event) not in gone],
    ), omitted


def lines(
    events: Iterable[ExecEvent], line: Callable[[ExecEvent], str], omitted: list[Omitted]
) -> Iterator[str]:
    """Yields the lines of events; events that have none go to `omitted`. Raises what no event causes."""
    for event in events:
        try:
            text = line(event)
        except Exception as exc:  # noqa: BLE001  # whatever it is, unless _blame raises it
            _blame(lambda: line(PLAIN), exc)
            omitted.append(Omitted(event, exc))
        else:
            yield text


def _culprits(items: Sequence[_Item], store: Callable[[Sequence[_Item]], object]) -> list[Omitted]:
    """Returns the items that cannot be stored. Raises StoreError, which no item causes."""
    if not items:
        return []
    try:
        store(items)
    except StoreError:
        raise
    except Exception as exc:  # noqa: BLE001  # see sift
        if len(items) == 1:
            return [Omitted(items[0], exc)]  # type: ignore[arg-type]  # one of the two
    else:
        return []
    half = len(items) // 2
    return _culprits(items[:half], store) + _culprits(items[half:], store)


def _blame(plain: Callable[[], object], why: Exception) -> None:
    """Raises `why` if a plain event fails as well."""
    try:
        plain()
    except StoreError:
        raise
    except Exception:  # noqa: BLE001  # a bug: raise the first error that it caused
        raise why from None


def _account(event: ExecEvent) -> int | None:
    """Returns the account of a bad exec; None if the account itself is bad."""
    account = account_of(event)
    return account if isinstance(account, int) and 0 <= account < _USERS else None


def _id(event: ExecEvent | ExitEvent) -> str:
    try:
        return event.id if isinstance(event, ExecEvent) else encode_id(event.exec)
    except Exception:  # noqa: BLE001  # a bad event may have a bad id
        return "unknown"
