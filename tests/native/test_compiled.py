"""The compiled functions, against those in Python that they stand for: the same results, for any input."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from execaudit import native
from execaudit.capture.assembler import Assembler, Machine
from execaudit.daemon.backlog import Finished
from execaudit.database.trigram_bitmap import Chunk
from execaudit.enums import Ended, Kind
from execaudit.event import End, ExecEvent, ExitEvent, Nanoseconds
from execaudit.exec_id import ExecKey
from execaudit.output.json_lines import JsonLines
from execaudit.query import tally
from execaudit.store import interning, sealing
from execaudit.store.writer import Run, Store
from tests.capture.test_ringbuf import Producer, Step, follow, steps
from tests.events import events, texts
from tests.examples import examples
from tests.histories import BOOT_ID, HOST
from tests.output.test_json_lines import ends, keys
from tests.output.test_record import EVENT
from tests.test_values import batches
from tests.wirebytes import EXEC_MORE, FAILED_MORE, Head, ended, more

if TYPE_CHECKING:
    from collections.abc import Iterator

assert native.fast is not None, "it is not built: is gcc there, and Python.h? see `make setup`"
_OFFSETS = (0, 5, -(2**61), 1_795_370_919 * 10**9, 2**62, 2**64)


@contextlib.contextmanager
def in_python() -> Iterator[None]:
    """What is made while the body runs does all in Python."""
    compiled, native.fast = native.fast, None
    try:
        yield
    finally:
        native.fast = compiled


# Of a record: bytes that are changed, and where it ends; offsets are those of the fixed part, mostly.
_changes = st.lists(
    st.tuples(st.integers(0, 239), st.sampled_from([0, 1, 2, 4, 5, 8, 16, 32, 127, 128, 255])), max_size=3
)
_cuts = st.none() | st.integers(0, 300)


@st.composite
def wire_records(draw: st.DrawFn) -> list[bytes]:
    """Draws records as the probe sends them, and some that are changed, cut, or no records at all."""
    sent, ends, _ = draw(batches())
    records = [each.record() for each in sent]
    records += [
        ended(Head(boot_ns=2**59, pid=3), (sent[at].head.boot_ns, sent[at].head.pid), s) for at, s in ends
    ]
    records.append(more(draw(st.sampled_from([EXEC_MORE, FAILED_MORE])), Head(boot_ns=7, seq=1), b"x"))
    hostile = []
    for record in records:
        hostile.append(record)
        changed = bytearray(record)
        for at, value in draw(_changes):
            if at < len(changed):
                changed[at] = value
        hostile.append(bytes(changed[: draw(_cuts)]))
    return [*draw(st.permutations(hostile)), draw(st.binary(max_size=60))]


@given(steps, st.integers(1, 4096))
def test_the_ring_is_read_in_python(what: list[Step], most_bytes: int) -> None:
    """Where nothing is compiled; tests/capture/test_ringbuf.py tests the compiled loop."""
    with in_python(), Producer() as producer:
        follow(producer, what, most_bytes)


def _root_of(pid: int, ppid: int | None) -> ExecKey | None:
    return None if pid % 2 else ExecKey(1, 0, (ppid or 0) & 0xFFFF)


def _assembled(records: list[bytes], offset_ns: int) -> list[object]:
    """Returns all that an assembler says, types included."""
    machine = Machine(HOST, BOOT_ID, lambda uid: None if uid % 2 else f"u{uid}", _root_of)
    assembler = Assembler(machine)
    found: list[ExecEvent | ExitEvent] = []
    for part in (records[::2], records[1::2]):
        found += assembler.feed(part, now_ns=0, wall_offset_ns=offset_ns)
        assembler.rename("another")
    found += assembler.drain()
    # Hashes too: what is made in C may have another one, and then no dict finds it.
    return [
        assembler.take_unreadable(),
        *((each, hash(each), [(type(value), hash(value)) for value in each]) for each in found),
    ]


@given(wire_records(), st.sampled_from(_OFFSETS))
def test_events_are_the_same(records: list[bytes], offset_ns: int) -> None:
    """Of whatever records, in whatever order; each record counts once."""
    compiled = _assembled(records, offset_ns)
    with in_python():
        assert _assembled(records, offset_ns) == compiled


# Most command lines have nothing but what can be typed.
_typed = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8).map(str.encode)


@given(
    st.lists(
        st.tuples(events(arguments=_typed | texts), st.none() | keys, st.none() | ends),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([0, 1, 4096]),
)
def test_lines_are_the_same(
    execs: list[tuple[ExecEvent, ExecKey | None, End | None]], remembered: int
) -> None:
    """Of whatever events, and however much is remembered."""
    compiled = JsonLines(remembered)
    with in_python():
        plain = JsonLines(remembered)
    children = [event._replace(parent=parent, end=end) for event, parent, end in execs * 2]
    lines = [plain.line(child) for child in children]
    assert lines == [compiled.line(child) for child in children]
    assert lines == _by_blocks(compiled, children)


def _by_blocks(lines: JsonLines, execs: list[ExecEvent]) -> list[str]:
    """Returns the lines of execs, as the JSON log makes them."""
    made: list[str] = []
    assert lines.block is not None
    while len(made) < len(execs):
        block, at = lines.block(execs, len(made), 2000)
        made += block.decode("ascii").splitlines()
        assert at == len(made)
        if not block:
            made.append(lines.line(execs[at]))
    return made


@pytest.mark.parametrize(
    "change",
    [
        {"time_ns": -1}, {"time_ns": 253_402_300_800 * 10**9 - 1}, {"boot_ns": 2**60}, {"pid": 2**22}, {"tid": 2**63},
        {"ppid": -1}, {"ppid": None}, {"argc": None}, {"argv_bytes": 2**64}, {"parent": (2**28, 1, 1)}, {"argv": b"x" * 16_384 + b"\0"},
        {"argv": b"x"}, {"errno": 0}, {"errno": 10**70}, {"errno": -1}, {"kind": Kind.FAILED, "tid": 2**22}, {"end": (1, 2)},
        {"end": ("exited", 1, None, 2, None)}, {"end": ([], 1, None, 2, None)}, {"end": End(Ended.EXITED, -1)}, {"end": End(Ended.EXITED, 0, None, 2**64)}, {"end": End(Ended.REPLACED, replaced_by=ExecKey(1, 2**60, 3))},
        {"argv": b"'" * 16_383 + b"\0"}, {"argv": b"=\0"}, {"argv": b"\0" * 16_384}, {"host": "h\u00fc"},
    ],
    ids=lambda change: repr(change)[:60],
)  # fmt: skip
def test_lines_of_extremes_are_the_same(change: dict[str, object]) -> None:
    """What has no line has none, for the same reason."""
    event = EVENT._replace(**change)  # type: ignore[arg-type]  # bad ones too
    outcomes = []
    for context in (contextlib.nullcontext, in_python):
        with context():
            lines = JsonLines()
        try:
            outcomes.append(lines.line(event))
        except Exception as exc:  # noqa: BLE001  # whichever it is
            outcomes.append(f"{type(exc)} {exc}")
    assert outcomes[0] == outcomes[1]


@given(
    st.lists(events(arguments=_typed | texts | st.just(b"'")), max_size=5),
    st.lists(st.none() | st.integers(0, 2), min_size=5, max_size=5),
)
def test_weights_are_the_same(execs: list[ExecEvent], accounts: list[int | None]) -> None:
    """Whoever the execs are charged to, and whatever they share."""
    charged = [event._replace(account=account) for event, account in zip(execs, accounts, strict=False)]
    charged += [event._replace(account=None) for event in charged]
    compiled = Finished(charged, [], [], Nanoseconds(1)).weights
    with in_python():
        assert Finished(charged, [], [], Nanoseconds(1)).weights == compiled


@given(
    st.lists(st.tuples(st.integers(0, 127), st.lists(st.binary(max_size=9), max_size=5)), max_size=5),
    st.none() | st.integers(0, 127),
)
def test_the_index_of_lines_is_the_same(blocks: list[tuple[int, list[bytes]]], anything: int | None) -> None:
    """Whatever bytes the lines have."""
    rows = []
    for context in (contextlib.nullcontext, in_python):
        chunk = Chunk()
        with context():
            for block, lines in blocks:
                chunk.add(block, lines)
        if anything is not None:
            chunk.add_anything(anything)
        rows.append(list(chunk.rows()))
    assert rows[0] == rows[1]


def dumped(batches_: list[tuple[list[ExecEvent], list[ExitEvent]]]) -> list[str]:
    """Returns the database of what was stored, as SQL. Its seals have no time and no chance in them."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(sealing, "os", SimpleNamespace(urandom=bytes))
        patched.setattr(sealing, "clock", SimpleNamespace(wall_ns=lambda: 0))
        path = Path(folder) / "x.db"
        with Store(path) as store:
            store.begin_run(Run(boot_id=BOOT_ID, host=HOST, version="0", started_ns=Nanoseconds(1)))
            for execs, ends in batches_:
                store.append(execs, (), ends)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            return [line for line in connection.iterdump() if "'stream_id'" not in line]


@settings(examples(4))
@given(st.data())
def test_rows_are_the_same(data: st.DataObject) -> None:
    """The databases are, row for row, whatever was stored before."""
    few = st.sampled_from([b"a", b"b", b"c" * 1025])
    drawn = events(
        arguments=few | texts, texts=few | texts, boot_clock=st.integers(1, 50), tasks=st.integers(1, 3)
    )
    stored: list[tuple[list[ExecEvent], list[ExitEvent]]] = []
    known: list[ExecKey] = []
    for _ in range(3):
        execs = []
        for event in data.draw(st.lists(drawn, max_size=8)):
            parent = data.draw(st.none() | st.sampled_from(known)) if known else None
            execs.append(event._replace(parent=parent, replaces=data.draw(st.booleans())))
            known.append(event.key)
        keys_ = st.sampled_from(known) if known else st.nothing()
        ends = (
            data.draw(
                st.lists(
                    st.builds(
                        ExitEvent,
                        keys_,
                        st.integers(0, 99),
                        st.integers(50, 99),
                        st.just(1),
                        st.none() | st.integers(0, 99),
                    ),
                    max_size=4,
                )
            )
            if known
            else []
        )
        stored.append((execs, ends))
    compiled = dumped(stored)
    with in_python():
        assert dumped(stored) == compiled


@given(
    st.lists(st.integers(0, 30) | st.integers(-1, 2**65), max_size=60).map(
        lambda found: ",".join(map(str, found))
    )
    | st.text("0123,- x\u00e9\u0663", max_size=8)
)
@example(",".join(map(str, [*range(5000), *range(0, 5000, 7)])))
@example(str(10**18 - 1))
@example(f"{10**18},{10**18}")
def test_counts_are_the_same(text: str) -> None:
    """Of whatever text; what is no number is none, for the same reason."""
    outcomes: list[object] = []
    for context in (contextlib.nullcontext, in_python):
        with context(), pytest.MonkeyPatch.context() as patched:
            patched.setattr(tally, "_SHORT", 0)
            try:
                outcomes.append(tally.counted(text))
            except ValueError as exc:
                outcomes.append(str(exc))
    assert outcomes[0] == outcomes[1]


class NumbersMachine(RuleBasedStateMachine):
    """The ids that a table remembers, in both ways at once."""

    def __init__(self) -> None:
        super().__init__()
        assert native.fast is not None
        self.plain = interning.Numbers(4)
        self.compiled = native.fast.Numbers(4)
        self.rows: dict[int, tuple[bytes]] = {}
        self.next = 1

    @rule(raw=st.binary(max_size=1))
    def ask(self, raw: bytes) -> None:
        """Finds what is there, and adds what is not."""
        read: list[int] = []

        def row_of(number: int) -> object:
            read.append(number)
            return self.rows.get(number)

        found = self.plain.find(raw, (raw,), row_of)
        already_read = [*read]
        assert found == self.compiled.find(raw, (raw,), row_of)
        assert already_read * 2 == read
        if found is None:
            self.rows[self.next] = (raw,)
            self.plain.add(raw, self.next)
            self.compiled.add(raw, self.next)
            self.next += 2**55
        else:
            assert self.rows[found] == (raw,)

    @rule(gone=st.sets(st.integers(0, 5)))
    def doubt(self, gone: set[int]) -> None:
        """Some rows are gone."""
        self.plain.doubt()
        self.compiled.doubt()
        for at, number in enumerate([*self.rows]):
            if at in gone:
                del self.rows[number]


TestNumbers = NumbersMachine.TestCase
