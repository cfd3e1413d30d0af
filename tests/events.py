"""Hypothesis draws execs: any that the recorder can make, or of a few values, so that they meet."""

from __future__ import annotations

from hypothesis import strategies as st

from execaudit.event import ExecEvent, Hole, Kind, Nanoseconds, Truncated
from tests.histories import BOOT_ID, HOST

MAX_ERRNO = 4095
LAST_PID = 2**22 - 1
_NO_NULS = {"min_size": 0, "max_size": 12}

texts = st.binary(**_NO_NULS).map(lambda raw: raw.replace(b"\0", b""))
"""What the kernel gives as a C string."""
numbers = st.integers(0, 2**32 - 1)
tasks = st.integers(0, LAST_PID)
users = st.none() | texts.map(lambda raw: raw.decode("utf-8", "surrogateescape"))


@st.composite
def holes(draw: st.DrawFn, captured: int) -> tuple[Hole, ...]:
    """Draws what is missing of a command line of which so many bytes were captured."""
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
) -> ExecEvent:
    """Draws an exec of the host and boot; where facts may be unknown, they sometimes are."""
    kind = draw(st.sampled_from(Kind))
    truncated = draw(st.none() | st.sampled_from(Truncated))
    words = draw(st.lists(arguments, max_size=4))
    argv = b"".join(word + b"\0" for word in words)
    missing: tuple[Hole, ...] = ()
    argc, argv_bytes = len(words), len(argv)
    if truncated is not None:
        argv = argv[: draw(st.integers(0, len(argv)))]
        missing = draw(holes(len(argv)))
        argc, argv_bytes = draw(st.none() | numbers), draw(st.none() | numbers)  # type: ignore[assignment]
    boot_ns = draw(boot_clock)
    return ExecEvent(
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
        truncated=truncated,
        errno=draw(st.none() | st.integers(1, MAX_ERRNO)) if kind is Kind.FAILED else None,
    )
