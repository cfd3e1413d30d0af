"""Bytes of the probe, with every field at its extremes, through all that they pass: exactly as they were."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from dataclasses import dataclass
from datetime import timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from execaudit.capture import wire
from execaudit.capture.assembler import Assembler, Machine
from execaudit.enums import Kind
from execaudit.escaping import exact, is_visible
from execaudit.event import ExecEvent, ExitEvent
from execaudit.output import json_lines, table
from execaudit.output.csv_pages import CsvPages
from execaudit.output.json_lines import json_line
from execaudit.output.record import FIELDS, to_record
from execaudit.output.timecolumn import TimeColumn
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.store.writer import Run, Store
from tests.examples import examples
from tests.wirebytes import EXEC, FAILED, LAST, UNKNOWN, Facts, Head, ended, first

if TYPE_CHECKING:
    from collections.abc import Sequence

    from execaudit.exec_id import ExecKey

# Examples are large: to make a failing one smaller would take minutes.
_NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
BOOT = "ffffffff-2222-4333-8444-555555555555"
HOST = "host\\xff"
TABLE = table.Table(TimeColumn(timezone.utc, now_ns=0), table.View(is_wide=True))


def around(*powers: int, top: int) -> st.SearchStrategy[int]:
    """Draws numbers at the edges of types."""
    edges = {2**power + more for power in powers for more in (-1, 0, 1)} | {0, 1, 2**top - 1}
    return st.sampled_from(sorted(number for number in edges if number < 2**top))


u8 = around(3, top=8)
u32 = around(16, 22, 31, top=32)
u64 = around(31, 32, 53, 63, top=64)
tasks = around(15, 21, top=22)
times = around(53, 59, top=60)
# No NULs, so that each is one text; but the command line may have any.
words = st.sampled_from(
    [
        b"", b"a", b"\xff\xfe", b"=1+1", b"\x1b[2J\x07\r\n\t", "\u202e\u200b\u2028\U000e0041\ufe0f".encode(), b"'\"\\,", b"/",
        b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"x" * 4095,
    ]
)  # fmt: skip
names = words.map(lambda word: word[:15])
# Of cwd, exe, cgroup and root, a byte each.
marks = st.binary(min_size=4, max_size=4) | st.lists(
    st.sampled_from([0, *wire.PathFlag, 31, 255]), min_size=4, max_size=4
).map(bytes)
paths = st.lists(words.filter(lambda word: b"/" not in word), max_size=3).map(tuple)
lines = st.binary(max_size=6) | st.lists(words, max_size=3).map(
    lambda each: b"".join(w + b"\0" for w in each)
)


@dataclass
class Sent:
    """An exec, and what the probe sent of it."""

    kind: int
    head: Head
    facts: Facts
    argv: bytes

    def record(self) -> bytes:
        """Returns the bytes."""
        return first(self.kind, self.head, self.facts, self.argv)


facts = st.builds(
    Facts,
    parent=st.tuples(times, tasks),
    replaces=st.sampled_from([0, 1, 2**32 - 1]),
    inode=u64, device=u32, nlink=u32, gained=u8, caller_tid=tasks, ppid=u32, uid=u32, gid=u32, euid=u32, egid=u32, auid=u32,
    session=u32, ret=st.sampled_from([0, 1, -1, -4095, 2**31 - 1, -(2**31)]), dirfd=st.sampled_from([-100, 0, -(2**31), 2**31 - 1]),
    cut_from=st.just(0), cut_to=st.just(0), path_flags=marks.map(lambda four: int.from_bytes(four, "little")), account=u32, root=st.none() | paths, mnt_ns=u32, traced=u32,
    comm=names, parent_comm=names, filename=st.none() | words,
    interpreter=st.none() | words, tty=st.none() | names, cgroup=paths, cwd=paths, exe=paths,
)  # fmt: skip


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[Sent], list[tuple[int, int]], int]:
    """Draws execs, the ends (which exec, status) of some, and what the wall clock is ahead."""
    sent = []
    for boot_ns in sorted(draw(st.sets(times.filter(bool), min_size=1, max_size=6))):
        argv = draw(lines)
        argc = draw(st.just(argv.count(b"\0")) | u32.filter(lambda count: count != UNKNOWN))
        head = Head(boot_ns=boot_ns, tid=draw(tasks), pid=draw(tasks), total=len(argv), argc=argc, flags=LAST)
        sent.append(Sent(draw(st.sampled_from([EXEC, FAILED])), head, draw(facts), argv))
    started = [number for number, each in enumerate(sent) if each.kind == EXEC]
    ends = draw(st.lists(st.tuples(st.sampled_from(started), u32), max_size=4)) if started else []
    return sent, ends, draw(st.sampled_from([0, 1_795_370_919 * 10**9, 2**62]))


def assembled(records: Sequence[bytes], offset_ns: int) -> list[ExecEvent | ExitEvent]:
    """Returns the events of records, none of which is refused."""
    origin = Machine(HOST, BOOT, lambda uid: None if uid % 2 else f"u{uid}", lambda _pid, _ppid: None)
    assembler = Assembler(origin)
    events = list(assembler.feed(records, now_ns=0, wall_offset_ns=offset_ns))
    assert assembler.take_unreadable() is None
    assert 0 == len(assembler)
    return events


def root_text(fact: Facts) -> str | None:
    """Returns the path of a root directory, as /proc would show it."""
    flags = fact.path_flags >> 24
    if fact.root is None or flags & wire.PathFlag.NONE:
        return None
    path = "/" + exact(b"/".join(reversed(fact.root)))
    if flags & wire.PathFlag.PSEUDO:
        return path + " (deleted)"
    path = ("(cut)" if flags & wire.PathFlag.CUT else "") + path
    path = ("(unreachable)" if flags & wire.PathFlag.UNREACHABLE else "") + path
    return path + (" (deleted)" if flags & wire.PathFlag.DELETED else "")


def expected(each: Sent) -> dict[str, Any]:
    """Returns what a record has to say, by the names of the contract: told from what was sent alone."""
    head, fact = each.head, each.facts
    failed, has_exe = each.kind == FAILED, not fact.path_flags >> 8 & wire.PathFlag.NONE
    return {
        "kind": "failed" if failed else "exec",
        "pid": head.pid,
        "tid": fact.caller_tid,
        "ppid": fact.ppid,
        "uid": fact.uid,
        "euid": fact.euid,
        "egid": fact.egid,
        "gid": fact.gid,
        "auid": None if fact.auid == UNKNOWN else fact.auid,
        "session": None if fact.session == UNKNOWN else fact.session,
        "inode": str(fact.inode) if has_exe else None,
        "device": f"{fact.device >> 20}:{fact.device & 0xFFFFF}" if has_exe else None,
        "nlink": fact.nlink if has_exe else None,
        "root": root_text(fact),
        "mnt_ns": fact.mnt_ns or None,
        "traced": fact.traced or None,
        "comm": exact(fact.comm),
        "parent_comm": exact(fact.parent_comm),
        "interpreter": None if fact.interpreter is None else exact(fact.interpreter),
        "argc": head.argc,
        "argv_bytes": head.total,
        "truncated": None,
        "host": HOST,
        "boot_id": BOOT,
    }


@settings(examples(20), phases=_NO_SHRINKING)
@given(batches())
def test_every_value_comes_through_exactly(batch: tuple[list[Sent], list[tuple[int, int]], int]) -> None:
    """Into the JSON log, the database, and out of it as record, table, JSON and CSV."""
    sent, ends, offset_ns = batch
    exits = [
        ended(Head(boot_ns=2**60 - 1, pid=sent[number].head.pid), (sent[number].head.boot_ns, sent[number].head.pid), status)
        for number, status in ends
    ]  # fmt: skip
    events = assembled([*(each.record() for each in sent), *exits], offset_ns)
    execs = [event for event in events if isinstance(event, ExecEvent)]
    logged = [json.loads(json_line(event)) for event in execs]

    for each, record in zip(sent, logged, strict=True):
        assert expected(each) == {name: record[name] for name in expected(each)}
    assert [each.facts.account for each in sent] == [event.account for event in execs]

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "h.db"
        with Store(path) as store:
            store.begin_run(Run(boot_id=BOOT, host=HOST, version="0", started_ns=execs[0].time_ns))
            store.append(execs, (), [event for event in events if isinstance(event, ExitEvent)])
        with open_history(path) as connection:
            found = [each.event for each in find.find(connection, Filter())]
            pages = [CsvPages(raw=True).text(*page) for page in find.pages(connection, Filter(), keys=True)]

    stored = {event.key for event in execs if event.kind is not Kind.FAILED}
    replaced = {event.parent: event for event in execs if event.replaces and event.parent in stored}
    statuses: dict[ExecKey, int] = {}
    for number, status in ends:
        statuses.setdefault(execs[number].key, status)
    for was, is_now in zip(execs, found, strict=True):
        # No parent is later than its child.
        gone = was.parent is None or was.parent not in stored or was.parent.boot_ns >= was.boot_ns
        assert was._replace(
            account=None,
            parent=None if gone else was.parent,
            replaces=is_now.replaces if gone else was.replaces,
        ) == is_now._replace(end=None)
        if was.key in statuses and was.key not in replaced and was.kind is not Kind.FAILED:
            assert is_now.end is not None
            assert 2**60 - 1 - was.boot_ns == is_now.end.duration_ns
            signal = statuses[was.key] & 0x7F
            assert (signal or None, None if signal else statuses[was.key] >> 8) == is_now.end[2:0:-1]
    check_shown(found, "".join(pages))


def check_shown(found: list[ExecEvent], rows: str) -> None:
    """All that is shown of execs is the record, and safe where people read it."""
    assert [to_record(event) for event in found] == [json.loads(line) for line in json_lines.jsonl(found)]
    cells = list(csv.reader(io.StringIO(rows, newline=""), strict=True))
    for event, row in zip(found, cells, strict=True):
        record = to_record(event)
        for name, cell in zip(FIELDS, row, strict=True):
            value = record.get(name)
            as_text = json.dumps(value, separators=(",", ":")) if isinstance(value, list) else str(value)
            assert cell == ("" if value is None else as_text)
        assert is_visible(TABLE.row(event))
        assert is_visible(str(record["command"]))


records = st.binary(max_size=260) | batches().map(lambda batch: batch[0][0].record())


@settings(examples(30), phases=_NO_SHRINKING)
@given(st.lists(records, max_size=4), st.data())
def test_bytes_that_are_no_record_cost_nothing_else(noise: list[bytes], data: st.DataObject) -> None:
    """Whatever is between them, records are read; and what is made of noise can be said and stored."""
    good = Sent(EXEC, Head(boot_ns=77, total=2, argc=1, flags=LAST), Facts(), b"x\0").record()
    mangled = []
    for each in noise:
        raw = bytearray(each)
        for at in data.draw(st.lists(st.integers(0, max(0, len(raw) - 1)), max_size=4)) if raw else []:
            raw[at] = data.draw(st.integers(0, 255))
        mangled.append(bytes(raw))
    origin = Machine(HOST, BOOT, lambda _uid: None, lambda _pid, _ppid: None)
    assembler = Assembler(origin)
    events = [*assembler.feed([*mangled, good], now_ns=0, wall_offset_ns=5), *assembler.drain()]

    execs = [event for event in events if isinstance(event, ExecEvent)]
    assert any((event.boot_ns, event.argv) == (77, b"x\0") for event in execs)
    for event in execs:
        json.loads(json_line(event))
        assert is_visible(TABLE.row(event))
