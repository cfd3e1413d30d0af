"""The compiled functions and those in Python, over very many records: more than the property tests can draw.

EXECAUDIT_TEST_RECORDS of them, of a new seed each time; without it a few, always the same ones.
"""

from __future__ import annotations

import os
from random import Random
from typing import TYPE_CHECKING

from execaudit.capture.assembler import Assembler, Machine
from execaudit.event import ExecEvent, ExitEvent
from execaudit.exec_id import ExecKey
from execaudit.output.json_lines import JsonLines
from tests.histories import BOOT_ID, HOST
from tests.native.test_compiled import dumped, in_python
from tests.wirebytes import (
    EXEC,
    EXEC_MORE,
    FAILED,
    FAILED_MORE,
    FAULT,
    LAST,
    LIMIT,
    Facts,
    Head,
    ended,
    first,
    more,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_RECORDS = int(os.environ.get("EXECAUDIT_TEST_RECORDS", "20000"))
_SEED = 1 if "EXECAUDIT_TEST_RECORDS" not in os.environ else int.from_bytes(os.urandom(4), "big")
_TOGETHER = 1000
# So many of the batches are also stored.
_STORED_EACH = 5
_OFFSET_NS = 1_795_370_919 * 10**9
_TEXTS = (
    b"", b"a", b"/usr/bin/curl", b"-o", b"\xff\xfe", b"'", b'"', b"$(x)", b"\x1b[2J", "é\u202e".encode(), b"\\x41",
    b"=cmd|' /C calc'!A0", b"x" * 300, b"\n", b"\t\r", b" ", b"--password=secret", b"\xed\xa0\x80", b"memfd:a (deleted)",
)  # fmt: skip
_NUMBERS = (0, 1, 2, 33, 1000, 65534, 2**16, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1)


def _text(random: Random) -> bytes:
    return (
        random.choice(_TEXTS)
        if random.random() < 0.9
        else random.randbytes(random.randrange(9)).replace(b"\0", b"")
    )


def _path(random: Random) -> tuple[bytes, ...]:
    return tuple(_text(random) or b"d" for _ in range(random.randrange(4)))


def _number(random: Random) -> int:
    return random.choice(_NUMBERS)


def _exec(random: Random) -> Iterator[bytes]:
    """Yields the records of one exec."""
    words = [_text(random) for _ in range(random.randrange(6))]
    argv = b"".join(word + b"\0" for word in words)
    is_failed = random.random() < 0.2
    head = Head(
        boot_ns=random.randrange(1, 2**45),
        tid=random.randrange(1, 2**22),
        pid=random.randrange(1, 2**22),
        total=len(argv) if random.random() < 0.9 else _number(random),
        argc=len(words),
        missing=random.choice((0, 0, 0, 5)),
        flags=random.choice((LAST, LAST, LAST, LAST | LIMIT, LAST | FAULT, 0)),
    )
    facts = Facts(
        parent=(random.choice((0, 1, 7)), random.choice((0, 7, 44))),
        replaces=random.randrange(2),
        account=_number(random),
        inode=random.choice((0, 1, 2**63, 2**64 - 1)),
        device=_number(random),
        nlink=random.randrange(3),
        gained=random.randrange(8),
        ppid=_number(random),
        uid=_number(random),
        gid=_number(random),
        euid=_number(random),
        egid=_number(random),
        auid=_number(random),
        session=_number(random),
        ret=-random.randrange(1, 134) if is_failed else 0,
        cut_from=len(argv),
        cut_to=len(argv),
        comm=_text(random)[:15],
        parent_comm=_text(random)[:15],
        filename=_text(random),
        interpreter=random.choice((None, b"/bin/sh")),
        tty=random.choice((None, b"pts0", _text(random))),
        cgroup=_path(random),
        cwd=_path(random),
        exe=_path(random),
        root=random.choice((None, None, _path(random))),
        mnt_ns=_number(random),
        traced=_number(random),
    )
    split = random.randrange(len(argv) + 1) if random.random() < 0.2 else len(argv)
    kinds = (FAILED, FAILED_MORE) if is_failed else (EXEC, EXEC_MORE)
    if split == len(argv):
        yield first(kinds[0], head, facts, argv)
    else:
        yield first(kinds[0], head._replace(flags=head.flags & ~LAST), facts, argv[:split])
        yield more(kinds[1], head._replace(offset=split, seq=1), argv[split:])
    if random.random() < 0.5:
        yield ended(
            Head(boot_ns=head.boot_ns + 5, pid=head.pid), (head.boot_ns, head.pid), _number(random) & 0xFFFF
        )


def _records(random: Random, count: int) -> list[bytes]:
    """Returns records as the probe sends them, and some that are changed, cut, or no records at all."""
    made: list[bytes] = []
    while len(made) < count:
        for record in _exec(random):
            made.append(record)
            if random.random() < 0.2:
                changed = bytearray(record)
                for _ in range(random.randrange(4)):
                    changed[random.randrange(len(changed))] = random.choice(
                        (0, 1, 2, 4, 8, 16, 32, 127, 128, 255)
                    )
                made.append(
                    bytes(changed[: random.randrange(len(changed) + 1)] if random.random() < 0.3 else changed)
                )
    return made


def _assembled(records: list[bytes]) -> tuple[list[ExecEvent | ExitEvent], object]:
    machine = Machine(
        HOST,
        BOOT_ID,
        lambda uid: None if uid % 2 else f"u{uid}",
        lambda pid, _: None if pid % 2 else ExecKey(1, 0, pid & 0xFFFF),
    )
    assembler = Assembler(machine)
    found = assembler.feed(records, now_ns=0, wall_offset_ns=_OFFSET_NS)
    return [*found, *assembler.drain()], assembler.take_unreadable()


def test_very_many_records_are_the_same() -> None:
    """As events, as lines of JSON, and as rows."""
    random, seen, batch = Random(_SEED), 0, 0
    while seen < _RECORDS:
        records = _records(random, _TOGETHER)
        seen, batch = seen + len(records), batch + 1
        compiled = _assembled(records)
        lines = JsonLines(100)
        execs = [each for each in compiled[0] if isinstance(each, ExecEvent)]
        made = [lines.line(each) for each in execs]
        # A clock may have any bits in a changed record; SQLite's integers end earlier.
        stored = [each for each in execs if each.boot_ns < 2**59 and each.time_ns < 2**62]
        ends = [each for each in compiled[0] if isinstance(each, ExitEvent) and each.boot_ns < 2**59]
        rows = dumped([(stored, ends)]) if batch % _STORED_EACH == 0 else None
        with in_python():
            assert _assembled(records) == compiled, _SEED
            lines = JsonLines(100)
            assert [lines.line(each) for each in execs] == made, _SEED
            assert rows is None or dumped([(stored, ends)]) == rows, _SEED
