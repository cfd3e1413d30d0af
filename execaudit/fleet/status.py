"""What is wrong with which host of a fleet, from what its forwarder said last. Pure."""

from __future__ import annotations

from collections import defaultdict
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from execaudit.event import Nanoseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SECOND = 1_000_000_000


class Trouble(str, Enum):
    """What is wrong with a host. The value is its name in JSON and in metrics."""

    SILENT = "silent"
    """Its forwarder was not heard of for too long."""
    BEHIND = "behind"
    """Too many of its execs had not arrived when it was heard of."""
    NOT_RECORDED = "not_recorded"
    """Nobody recorded there when it was heard of."""
    MISSED = "missed"
    """Execs were missed lately: it has gaps."""
    REPLACED = "replaced"
    """Its history was made anew lately: it has another stream than before."""
    PUT_BACK = "put_back"
    """Its history was put back to an older copy."""
    BROKEN_CHAIN = "broken_chain"
    """What it sealed does not follow what it sealed before: the history was put back, copied or changed."""
    NEW_CHAIN = "new_chain"
    """It began a new chain of seals lately."""
    CLOCK = "clock"
    """Its clock is ahead."""


MEANINGS = {
    Trouble.SILENT: ("not heard of for {silent}", "look there at `systemctl status execaudit-forward`"),
    Trouble.BEHIND: (
        "more than {behind} execs have not arrived",
        "look there at `systemctl status execaudit-forward`",
    ),
    Trouble.NOT_RECORDED: ("nobody records", "look there with `execaudit doctor`"),
    Trouble.MISSED: ("gaps in the last {lately}", "`execaudit stats --host NAME` lists them"),
    Trouble.REPLACED: (
        "a new history in place of an old one in the last {lately}",
        "find out who made it anew",
    ),
    Trouble.PUT_BACK: ("the history was put back to an older copy", "find out who did that"),
    Trouble.BROKEN_CHAIN: (
        "seals of the last {lately} do not follow those before",
        "find out who changed the history: `execaudit verify --host NAME`",
    ),
    Trouble.NEW_CHAIN: ("a new chain of seals in the last {lately}", "look there at `execaudit seal status`"),
    Trouble.CLOCK: ("the clock is ahead", "look there at `timedatectl`"),
}
"""What is said of hosts, and what to do about it."""


class Limits(NamedTuple):
    """When something is wrong."""

    silent_ns: int = 15 * 60 * _SECOND
    behind: int = 100_000
    """Execs."""
    lately_ns: int = 24 * 3600 * _SECOND
    """How far back gaps and new histories count."""
    ahead_ns: int = 60 * _SECOND
    """Of a clock. Less is not told from the time that a message takes."""


class Heard(NamedTuple):
    """One history of one host, as its forwarder said last. Numbers and times as of tables.STREAM."""

    stream: int
    host: str
    version: str
    first_ns: int
    contact_ns: int
    last_seq: int
    exec_seq: int
    live_run: int | None
    """The recorder that wrote it then; None: nobody recorded."""
    put_back: int
    """How often it was put back to an older copy."""
    is_import: bool = False
    """Nobody ever recorded it: it was imported, so nothing more is expected."""
    retired_ns: int | None = None
    """When its host was retired; None: it is not, or is back."""
    missed: int = 0
    """Execs that are only counted, in gaps that ended lately."""
    gaps: int = 0
    """Of these, and of those whose number nobody knows."""
    broken: int = 0
    """How often lately seals did not follow those before."""
    chains: tuple[str, ...] = ()
    """Why chains of seals began lately, but the first one."""


class Host(NamedTuple):
    """A host of the fleet."""

    host: str
    version: str
    seen_ns: Nanoseconds
    """When it was last heard of, by its own clock."""
    behind: int
    """Execs that had not arrived then."""
    missed: int
    gaps: int
    streams: int
    """How many histories it has had."""
    is_import: bool
    """All of these were imported."""
    retired_ns: Nanoseconds | None
    """When it was retired; then it has no troubles."""
    chains: tuple[str, ...]
    """Why chains of seals began lately."""
    troubles: tuple[Trouble, ...]


def hosts_of(heard: Iterable[Heard], *, now_ns: int, limits: Limits) -> list[Host]:
    """Returns the hosts by name. Of a host with several histories, the one that was heard of last counts.

    One that was imported counts only where there is no other.
    """
    by_host: dict[str, list[Heard]] = defaultdict(list)
    for each in heard:
        by_host[each.host].append(each)
    return [_host(by_host[name], now_ns, limits) for name in sorted(by_host)]


def _host(its: Sequence[Heard], now_ns: int, limits: Limits) -> Host:
    recorded = [each for each in its if not each.is_import]
    latest = max(recorded or its, key=lambda each: (each.contact_ns, each.first_ns, each.stream))
    behind = max(0, latest.last_seq - latest.exec_seq)
    gaps, missed = sum(each.gaps for each in its), sum(each.missed for each in its)
    wrong = {
        Trouble.SILENT: bool(recorded) and latest.contact_ns < now_ns - limits.silent_ns,
        Trouble.BEHIND: behind > limits.behind,
        Trouble.NOT_RECORDED: bool(recorded) and latest.live_run is None,
        Trouble.MISSED: gaps > 0,
        Trouble.REPLACED: len(recorded) > 1 and latest.first_ns > now_ns - limits.lately_ns,
        Trouble.PUT_BACK: latest.put_back > 0,
        Trouble.BROKEN_CHAIN: any(each.broken for each in its),
        Trouble.NEW_CHAIN: any(each.chains for each in its),
        Trouble.CLOCK: latest.contact_ns > now_ns + limits.ahead_ns,
    }
    return Host(
        latest.host,
        latest.version,
        Nanoseconds(latest.contact_ns),
        behind,
        missed,
        gaps,
        len(its),
        not recorded,
        None if latest.retired_ns is None else Nanoseconds(latest.retired_ns),
        tuple(dict.fromkeys(reason for each in its for reason in each.chains)),
        tuple(trouble for trouble in Trouble if wrong[trouble] and latest.retired_ns is None),
    )


def by_trouble(hosts: Sequence[Host]) -> dict[Trouble, list[str]]:
    """Returns the names of the hosts with each kind of trouble that there is."""
    found: dict[Trouble, list[str]] = {}
    for trouble in Trouble:
        names = [host.host for host in hosts if trouble in host.troubles]
        if names:
            found[trouble] = names
    return found
