"""What execs of other recorders have in common: made ids, and their own that are remembered. Pure."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, NamedTuple

from execaudit.event import Nanoseconds
from execaudit.exec_id import boot_prefix
from execaudit.importing.items import LAST_NS, made_boot

if TYPE_CHECKING:
    from execaudit.event import ExecEvent, ExitEvent
    from execaudit.exec_id import ExecKey

_REMEMBERED = 100_000
_MILLISECOND = 1_000_000


class Foreign(NamedTuple):
    """An exec, or an end, and when which boot was recorded."""

    where: tuple[str, str, int]
    """Host, boot id and wall clock."""
    event: ExecEvent | None = None
    exit: ExitEvent | None = None
    infers: bool = False


class Known:
    """The keys of execs by the ids that their recorder gave them."""

    def __init__(self) -> None:
        self._known: dict[str, ExecKey] = {}
        self._older: dict[str, ExecKey] = {}

    def get(self, name: str | None) -> ExecKey | None:
        """Returns the key of an id that came before."""
        return None if name is None else self._known.get(name) or self._older.get(name)

    def add(self, name: str | None, key: ExecKey) -> None:
        """Remembers an id."""
        if name is None:
            return
        if len(self._known) >= _REMEMBERED:
            self._older, self._known = self._known, {}
        self._known[name] = key


def told_apart(time_ns: int, number: int | None, name: str | None) -> Nanoseconds:
    """Returns the time of an exec whose source counts milliseconds, with its number in the digits below.

    Without a number they are made of its name. So execs of one millisecond have ids of their own.
    """
    if time_ns % _MILLISECOND or time_ns > LAST_NS - _MILLISECOND:
        return Nanoseconds(time_ns)
    if number is None:
        number = 0 if name is None else zlib.crc32(name.encode("utf-8", "surrogatepass"))
    return Nanoseconds(time_ns + number % _MILLISECOND)


def same_boot(key: ExecKey | None, boot_id: str) -> bool:
    """Says whether a key is of a boot."""
    return key is not None and key.boot == boot_prefix(boot_id)


def boot_of(source: str, host: str, time_ns: int) -> tuple[str, Nanoseconds]:
    """Returns boot id and boot clock for a moment of a host."""
    boot = made_boot(source, host, time_ns)
    return boot.boot_id, boot.boot_ns(time_ns)
