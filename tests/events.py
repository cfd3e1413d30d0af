"""Hypothesis strategies for execs: all that the recorder can make, or few values, so that some are equal."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hypothesis import strategies as st

from execaudit.enums import Ended, Gained, Kind, Truncated
from execaudit.escaping import exact
from execaudit.event import End, ExecEvent, ExitEvent, Hole, Nanoseconds, Redaction
from tests.histories import BOOT_ID, HOST, exec_of

if TYPE_CHECKING:
    from execaudit.exec_id import ExecKey

MAX_ERRNO = 4095
LAST_PID = 2**22 - 1
_MARK = b"REDACTED:0123456789ab"
_NO_NULS = {"min_size": 0, "max_size": 12}

texts = st.binary(**_NO_NULS).map(lambda raw: raw.replace(b"\0", b""))
"""The texts that the kernel gives as C strings."""
numbers = st.integers(0, 2**32 - 1)
tasks = st.integers(0, LAST_PID)
users = st.none() | texts.map(exact)


@st.composite
def holes(draw: st.DrawFn, captured: int) -> tuple[Hole, ...]:
    """Draws the holes of a command line of which so many bytes were captured."""
    places = sorted(draw(st.sets(st.integers(0, captured), max_size=3)))
    return tuple(Hole(at, draw(st.none() | st.integers(1, 2**32 - 1))) for at in places)


@st.composite
def events(  # noqa: PLR0913  # each a kind of value
    draw: st.DrawFn,
    *,
    host: str = HOST,
    boot_id: str = BOOT_ID,
    boot_clock: st.SearchStrategy[int] = st.integers(0, 2**60 - 1),
    offsets: st.SearchStrategy[int] = st.integers(0, 2**61),
    tasks: st.SearchStrategy[int] = tasks,
    numbers: st.SearchStrategy[int] = numbers,
    texts: st.SearchStrategy[bytes] = texts,
    arguments: st.SearchStrategy[bytes] = texts,
    users: st.SearchStrategy[str | None] = users,
    cgroups: st.SearchStrategy[bytes] = texts,
) -> ExecEvent:
    """Draws an exec of the host and boot, without a parent. Fields that may be unknown sometimes are.

    More than 60 lines, because each field has its own.
    """
    kind = draw(st.sampled_from(Kind))
    truncated = draw(st.none() | st.sampled_from(Truncated))
    words = draw(st.lists(arguments, max_size=4))
    redacted: tuple[Redaction, ...] = ()
    if truncated is None and words and draw(st.sampled_from([False] * 4 + [True])):
        marked = sorted(draw(st.sets(st.integers(0, len(words) - 1), min_size=1)))
        redacted = tuple(Redaction(number, len(words[number])) for number in marked)
        words = [word + _MARK * (number in marked) for number, word in enumerate(words)]
    argv = b"".join(word + b"\0" for word in words)
    missing: tuple[Hole, ...] = ()
    argc, argv_bytes = len(words), len(argv)
    if truncated is not None:
        argv = argv[: draw(st.integers(0, len(argv)))]
        missing = draw(holes(len(argv)))
        argc, argv_bytes = draw(st.none() | numbers), draw(st.none() | numbers)  # type: ignore[assignment]
    boot_ns = draw(boot_clock)
    return exec_of(
        kind=kind,
        host=host,
        boot_id=boot_id,
        time_ns=Nanoseconds(boot_ns + draw(offsets)),
        boot_ns=Nanoseconds(boot_ns),
        pid=draw(tasks),
        tid=draw(tasks),
        ppid=draw(st.none() | tasks),
        uid=draw(st.none() | numbers),
        euid=draw(st.none() | numbers),
        egid=draw(st.none() | numbers),
        gid=draw(st.none() | numbers),
        user=draw(users),
        comm=draw(st.none() | texts),
        filename=draw(st.none() | texts),
        exe=draw(st.none() | texts),
        cwd=draw(st.none() | texts),
        argv=argv,
        argc=argc,
        argv_bytes=argv_bytes,
        holes=missing,
        redacted=redacted,
        truncated=truncated,
        errno=draw(st.none() | st.integers(1, MAX_ERRNO)) if kind is Kind.FAILED else None,
        parent_comm=draw(st.none() | texts),
        auid=draw(st.none() | numbers),
        session=draw(st.none() | numbers),
        login_user=draw(users),
        tty=draw(st.none() | texts),
        cgroup=draw(st.none() | cgroups),
        interpreter=draw(st.none() | texts),
        inode=draw(st.none() | st.integers(0, 2**64 - 1)),
        device=draw(st.none() | numbers),
        nlink=draw(st.none() | numbers),
        privileged=draw(st.none() | st.builds(Gained, st.integers(0, 7))),
        root=draw(st.none() | texts),
        mnt_ns=draw(st.none() | numbers),
        traced=draw(st.none() | numbers),
    )


class Batch(NamedTuple):
    """The events that one run stores."""

    host: str
    events: list[ExecEvent]
    exits: list[ExitEvent]


@st.composite
def lineages(draw: st.DrawFn, events_of: dict[str, st.SearchStrategy[ExecEvent]]) -> list[Batch]:
    """Draws batches of one boot, each for one host. Execs descend from earlier ones, and end, in any order.

    Execs of the first batch have boot clocks from 0 to 4, those of the second from 5 to 9, and so on.
    """
    batches: list[Batch] = []
    alive: list[ExecEvent] = []
    dead: list[ExecEvent] = []
    for place, host in enumerate(draw(st.lists(st.sampled_from(sorted(events_of)), max_size=4))):
        batch = Batch(host, [], [])
        for number, event in enumerate(draw(st.lists(events_of[host], max_size=5))):
            boot_ns = 5 * place + number
            placed = event._replace(
                time_ns=Nanoseconds(event.time_ns - event.boot_ns + boot_ns), boot_ns=Nanoseconds(boot_ns)
            )
            parent = draw(st.none() | st.sampled_from(alive + dead)) if alive or dead else None
            replaces = parent in alive and event.kind is Kind.EXEC and draw(st.booleans())
            if parent is not None:
                placed = placed._replace(parent=parent.key, replaces=replaces)
            if replaces and parent is not None:
                alive.remove(parent)
                dead.append(parent)
            batch.events.append(placed)
            if placed.kind is not Kind.FAILED:
                alive.append(placed)
        for ended in draw(st.lists(st.sampled_from(alive), unique=True)) if alive else []:
            alive.remove(ended)
            dead.append(ended)
            boot_ns = 5 * place + 5
            status = draw(st.sampled_from((0, 1 << 8, 255 << 8, 9, 11 | 128)))
            batch.exits.append(
                ExitEvent(ended.key, Nanoseconds(boot_ns + 7), Nanoseconds(boot_ns), ended.pid, status)
            )
        batches.append(batch._replace(events=draw(st.permutations(batch.events))))
    return batches


def with_ends(batches: list[Batch], otherwise: Ended = Ended.UNKNOWN) -> list[ExecEvent]:
    """Returns the execs of batches with their ends, in the order of their rows, as a query returns them."""
    everything = [
        event for batch in batches for event in sorted(batch.events, key=lambda event: event.boot_ns)
    ]
    ends: dict[ExecKey, End] = {}
    for event in everything:
        if event.replaces and event.parent is not None:
            duration = event.boot_ns - event.parent.boot_ns
            ends[event.parent] = End(Ended.REPLACED, duration_ns=duration, replaced_by=event.key)
    for batch in batches:
        for ended in batch.exits:
            duration = ended.boot_ns - ended.exec.boot_ns
            if ended.status is None:
                end = End(Ended.REPLACED, duration_ns=duration)
            elif ended.status & 127:
                end = End(Ended.SIGNALED, signal=ended.status & 127, duration_ns=duration)
            else:
                end = End(Ended.EXITED, code=ended.status >> 8, duration_ns=duration)
            ends[ended.exec] = end
    return [
        event._replace(end=None if event.kind is Kind.FAILED else ends.get(event.key, End(otherwise)))
        for event in everything
    ]
