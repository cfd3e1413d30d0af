"""Execs as the probe sends them, in records of any size, and the events that an assembler makes of them."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st

from execaudit.capture.assembler import Assembler, Machine
from execaudit.enums import Truncated
from execaudit.event import ExecEvent, Nanoseconds
from execaudit.exec_id import ExecKey, boot_prefix
from tests.wirebytes import (
    EXEC,
    EXEC_MORE,
    FAILED,
    FAILED_MORE,
    FAULT,
    LAST,
    UNKNOWN,
    Facts,
    Head,
    first,
    more,
)

BOOT_ID = "0b270000-c730-46c7-8272-c5ebd89a5692"
ROOT = ExecKey(boot_prefix(BOOT_ID), 1, 44)
ORIGIN = Machine("host", BOOT_ID, lambda uid: f"u{uid}", lambda pid, _: {44: ROOT}.get(pid))
PATIENCE = Nanoseconds(100)
OFFSET = 5_000


class Sent(NamedTuple):
    """An exec as the probe sends it."""

    failed: bool
    boot_ns: int
    tid: int
    argv: bytes
    """The whole command line."""
    records: tuple[bytes, ...]
    captured: bytes
    """The bytes of it that the records have."""
    truncated: Truncated | None


def split(argv: bytes, sizes: list[int]) -> list[bytes]:
    """Cuts bytes into pieces of these sizes, and the rest."""
    pieces = []
    for size in sizes:
        pieces.append(argv[:size])
        argv = argv[size:]
    return [*pieces, argv]


def successful(boot_ns: int, tid: int, words: list[bytes], sizes: list[int], keep: int | None) -> Sent:
    """Returns a successful exec as bpf/exec.h sends it: totals in every record, a cut in the first one."""
    argv = b"".join(word + b"\0" for word in words)
    cut_from = cut_to = len(argv)
    if keep is not None and len(argv) > keep:
        cut_from, cut_to = keep - keep // 2, len(argv) - keep // 2
    offset = cut_to if not cut_from else 0
    placed: list[tuple[int, bytes]] = []
    for piece in [*split(argv[:cut_from], sizes), *split(argv[cut_to:], sizes)]:
        if piece or not placed:
            placed.append((offset, piece))
            offset += len(piece)
            offset = cut_to if offset == cut_from else offset
    records = []
    for seq, (at, piece) in enumerate(placed):
        last = LAST if seq == len(placed) - 1 else 0
        head = Head(boot_ns, tid, tid, len(argv), len(words), at, flags=last, seq=seq)
        facts = Facts(caller_tid=tid, cut_from=cut_from, cut_to=cut_to)
        records.append(more(EXEC_MORE, head, piece) if seq else first(EXEC, head, facts, piece))
    cut = Truncated.LIMIT if cut_to > cut_from else None
    captured = b"".join(piece for _, piece in placed)
    return Sent(
        failed=False,
        boot_ns=boot_ns,
        tid=tid,
        argv=argv,
        records=tuple(records),
        captured=captured,
        truncated=cut,
    )


def refused(boot_ns: int, tid: int, words: list[bytes | None], sizes: list[int]) -> Sent:
    """Returns a failed exec as bpf/failed.h sends it: totals in the last record. None: an unreadable word."""
    stream: list[tuple[bytes, int]] = [(b"", 0)]  # bytes of a record, its flags
    room = iter(sizes)
    left = next(room, 1 << 30)
    for word in words:
        for byte in b"" if word is None else word + b"\0":
            if left == 0 or stream[-1][1]:
                stream.append((b"", 0))
                left = next(room, 1 << 30)
            stream[-1] = (stream[-1][0] + bytes([byte]), 0)
            left -= 1
        if word is None:
            if stream[-1][1]:
                stream.append((b"", 0))
            stream[-1] = (stream[-1][0], FAULT)
    records: list[bytes] = []
    offset = 0
    for number, (piece, flags) in enumerate(stream):
        last = number == len(stream) - 1
        offset_after = offset + len(piece)
        head = Head(
            boot_ns,
            tid,
            tid,
            total=offset_after if last else UNKNOWN,
            argc=len(words) if last else UNKNOWN,
            offset=offset,
            missing=UNKNOWN if flags else 0,
            flags=flags | (LAST if last else 0),
            seq=number,
        )
        facts = Facts(caller_tid=tid, ret=-2)
        records.append(more(FAILED_MORE, head, piece) if records else first(FAILED, head, facts, piece))
        offset = offset_after
    captured = b"".join(piece for piece, _ in stream)
    whole = b"".join((b"?" if word is None else word) + b"\0" for word in words)
    fault = Truncated.FAULT if None in words else None
    return Sent(
        failed=True,
        boot_ns=boot_ns,
        tid=tid,
        argv=whole,
        records=tuple(records),
        captured=captured,
        truncated=fault,
    )


words = st.lists(st.binary(max_size=6).map(lambda word: word.replace(b"\0", b"")), max_size=6)
sizes = st.lists(st.integers(1, 8), max_size=6)
# Few boot times and tasks, so that neighbours share the one or the other, never both.
keys = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def sent_execs(draw: st.DrawFn, key: tuple[int, int] | None = None) -> Sent:
    """Draws an exec of either kind."""
    boot_ns, tid = key or draw(keys)
    if draw(st.booleans()):
        return successful(boot_ns, tid, draw(words), draw(sizes), draw(st.none() | st.integers(0, 20)))
    fault = st.none() | st.binary(max_size=6).map(lambda word: word.replace(b"\0", b""))
    return refused(boot_ns, tid, draw(st.lists(fault, max_size=6)), draw(sizes))


def several(most: int) -> st.SearchStrategy[list[Sent]]:
    """Draws execs with different keys."""
    return st.lists(sent_execs(), max_size=most, unique_by=lambda sent: (sent.boot_ns, sent.tid))


def assemble(records: list[bytes], max_argv: int | None = None) -> list[ExecEvent]:
    """Feeds records at once, then stops."""
    assembler = Assembler(ORIGIN, patience_ns=PATIENCE, max_argv=max_argv)
    events = [*assembler.feed(records, now_ns=0, wall_offset_ns=OFFSET), *assembler.drain()]
    return [event for event in events if isinstance(event, ExecEvent)]


def is_right(event: ExecEvent, sent: Sent) -> bool:
    """Says whether an event has exactly what was sent."""
    return (
        event.truncated is sent.truncated
        and event.argv == sent.captured
        and (sent.truncated is Truncated.FAULT or event.argv_bytes == len(sent.argv))
        and event.argc == sent.argv.count(b"\0")
        and event.launch.uid == 1000
        and event.launch.exe == b"/bin/true"
    )


def is_honest(event: ExecEvent, sent: Sent) -> bool:
    """Says whether an event marked `lost` has only its own exec's bytes, in order, at the right positions."""
    if event.truncated is not Truncated.LOST:
        return False
    rest = sent.captured
    ends = [*(hole.at for hole in event.holes), len(event.argv)]
    start = 0
    for end in ends:
        part = event.argv[start:end]
        where = rest.find(part)
        if where < 0:
            return False
        rest = rest[where + len(part) :]
        start = end
    return event.argv_bytes in (None, len(sent.argv)) and event.argc in (None, sent.argv.count(b"\0"))
