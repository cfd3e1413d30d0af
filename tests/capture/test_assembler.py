"""Records become events: each exec once, right or marked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from execaudit.capture.assembler import Assembler, Machine
from execaudit.capture.unfinished import Unfinished
from execaudit.enums import Gained, Kind, Truncated
from execaudit.event import ExecEvent, ExitEvent, Hole, Nanoseconds
from execaudit.exec_id import ExecKey, boot_prefix
from execaudit.shorten import keep_ends
from tests.examples import examples
from tests.wirebytes import (
    EXEC,
    EXEC_MORE,
    FAILED,
    FAILED_MORE,
    FAULT,
    LAST,
    LIMIT,
    UNKNOWN,
    Facts,
    Head,
    ended,
    first,
    more,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    """Whole, as it was."""
    records: tuple[bytes, ...]
    captured: bytes
    """What the records carry of it."""
    truncated: Truncated | None


def split(argv: bytes, sizes: list[int]) -> list[bytes]:
    """Cuts bytes into pieces of these sizes, and the rest."""
    pieces = []
    for size in sizes:
        pieces.append(argv[:size])
        argv = argv[size:]
    return [*pieces, argv]


def successful(boot_ns: int, tid: int, words: list[bytes], sizes: list[int], keep: int | None) -> Sent:
    """As bpf/exec.h sends it: totals in every record, a cut stated in the first."""
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
    """As bpf/failed.h sends it: totals in the last record; a word that is None cannot be read."""
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
    """The event says exactly what was sent."""
    return (
        event.truncated is sent.truncated
        and event.argv == sent.captured
        and (sent.truncated is Truncated.FAULT or event.argv_bytes == len(sent.argv))
        and event.argc == sent.argv.count(b"\0")
        and event.launch.uid == 1000
        and event.launch.exe == b"/bin/true"
    )


def is_honest(event: ExecEvent, sent: Sent) -> bool:
    """A marked event has only bytes of its own exec, in order, at the places that it states."""
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


@given(several(4), st.data())
def test_any_interleaving_gives_each_exec_once_and_right(execs: list[Sent], data: st.DataObject) -> None:
    """Records in any order, of any execs: each is one event, byte for byte."""
    records = data.draw(st.permutations([record for sent in execs for record in sent.records]))
    events = {(int(event.boot_ns), event.pid): event for event in assemble(records)}

    assert len(execs) == len(events)
    assert all(is_right(events[sent.boot_ns, sent.tid], sent) for sent in execs)


@examples(200)
@given(several(4), st.data())
def test_dropped_records_give_each_exec_once_right_or_marked(execs: list[Sent], data: st.DataObject) -> None:
    """Whatever was dropped, an exec of which anything came is one event: right, or honestly lost."""
    records = data.draw(st.permutations([record for sent in execs for record in sent.records]))
    kept = [record for record in records if data.draw(st.booleans())]
    events = assemble(kept)
    came = [sent for sent in execs if set(sent.records) & set(kept)]

    assert {(sent.boot_ns, sent.tid) for sent in came} == {(event.boot_ns, event.pid) for event in events}
    assert len(came) == len(events)
    for event in events:
        sent = next(sent for sent in execs if (sent.boot_ns, sent.tid) == (event.boot_ns, event.pid))
        assert sent.failed == (event.kind is Kind.FAILED)
        if set(sent.records) <= set(kept):
            assert is_right(event, sent)
        else:
            assert is_honest(event, sent)


@given(sent_execs())
def test_an_exec_is_emitted_as_soon_as_it_is_whole(sent: Sent) -> None:
    """Nothing waits for the patience or for a stop when all records are there."""
    assembler = Assembler(ORIGIN)
    events = list(assembler.feed(sent.records, now_ns=0, wall_offset_ns=OFFSET))

    assert [sent.boot_ns + OFFSET] == [event.time_ns for event in events]
    assert len(assembler) == 0


@dataclass
class InFlight:
    """An exec of which some records are still to come."""

    sent: Sent
    waiting: list[bytes]
    came: int = 0
    events: int = 0


class AssemblerMachine(RuleBasedStateMachine):
    """Execs come, records are dropped or late, time passes: nothing vanishes, nothing comes twice."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.assembler = Assembler(ORIGIN, patience_ns=PATIENCE)
        self.execs: dict[tuple[int, int], InFlight] = {}

    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """An exec happens."""
        key = (1 + len(self.execs) // 2, 1 + len(self.execs) % 2)
        sent = data.draw(sent_execs(key))
        self.execs[key] = InFlight(sent, list(sent.records))

    @precondition(lambda self: any(exec_.waiting for exec_ in self.execs.values()))
    @rule(data=st.data(), dropped=st.booleans())
    def next_record(self, data: st.DataObject, dropped: bool) -> None:  # noqa: FBT001  # hypothesis passes by name
        """One of its records is sent, or refused."""
        exec_ = data.draw(st.sampled_from([exec_ for exec_ in self.execs.values() if exec_.waiting]))
        record = exec_.waiting.pop(data.draw(st.integers(0, len(exec_.waiting) - 1)))
        if not dropped:
            exec_.came += 1
            self.take(self.assembler.feed([record], now_ns=self.now, wall_offset_ns=OFFSET))

    @rule(passed=st.integers(1, 150))
    def time_passes(self, passed: int) -> None:
        """Nothing is heard for a while."""
        self.now += passed
        self.take(self.assembler.expire(now_ns=self.now))

    def take(self, events: Iterable[ExecEvent | ExitEvent]) -> None:
        """Counts events."""
        for event in events:
            assert isinstance(event, ExecEvent)
            self.execs[event.boot_ns, event.pid].events += 1

    @invariant()
    def no_exec_vanishes_or_comes_twice(self) -> None:
        """What has begun is waiting or was emitted, once."""
        begun = [exec_ for exec_ in self.execs.values() if exec_.came]
        assert all(exec_.events <= 1 for exec_ in begun)
        assert len(begun) == sum(exec_.events for exec_ in begun) + len(self.assembler)

    def teardown(self) -> None:
        """A stop emits what still waits."""
        self.take(self.assembler.drain())
        assert all(exec_.events == (exec_.came > 0) for exec_ in self.execs.values())


TestAssemblerMachine = AssemblerMachine.TestCase
TestAssemblerMachine.settings = settings(examples(60), stateful_step_count=30)


def test_late_records_are_counted_and_make_no_second_event() -> None:
    """What comes after an exec was given up does not make another event."""
    sent = successful(1, 1, [b"a" * 10, b"b" * 10], [5, 5], None)
    assembler = Assembler(ORIGIN, patience_ns=PATIENCE)
    early = list(assembler.feed(sent.records[:2], now_ns=0, wall_offset_ns=0))
    given_up = list(assembler.expire(now_ns=PATIENCE))
    late = list(assembler.feed(sent.records[2:], now_ns=PATIENCE, wall_offset_ns=0))

    assert ([], [], 1) == (early, late, assembler.late)
    assert [(Truncated.LOST, (Hole(10, 12),))] == [(event.truncated, event.holes) for event in given_up]


def test_without_its_first_record_an_exec_is_an_event_with_unknown_facts() -> None:
    """The key and the totals are in every record; the rest is unknown, never another exec's."""
    sent = successful(9, 4, [b"abc", b"def"], [4], None)
    (event,) = assemble([sent.records[1]])

    assert (Kind.EXEC, 9, 4, 2, 8) == (event.kind, event.boot_ns, event.pid, event.argc, event.argv_bytes)
    assert (None, None, None, None) == (
        event.launch.uid,
        event.launch.exe,
        event.launch.comm,
        event.launch.user,
    )
    assert (b"def\0", (Hole(0, 4),)) == (event.argv, event.holes)


def test_every_fact_of_a_record_is_in_the_event() -> None:
    """Who, from where, started by what: each fact stands under its name."""
    facts = Facts(
        parent=(7, 8), replaces=1, inode=5, device=6, nlink=0, gained=5, interpreter=b"/bin/sh", session=9,
        auid=1001, tty=b"pts3", cgroup=(b"a", b"b"), parent_comm=b"make",
    )  # fmt: skip
    (event,) = assemble([first(EXEC, Head(flags=LAST), facts, b"")])

    assert event.parent == ExecKey(boot_prefix(BOOT_ID), 7, 8)
    assert (event.replaces, event.launch.parent_comm) == (True, b"make")
    assert (event.origin.auid, event.origin.login_user, event.origin.session) == (1001, "u1001", 9)
    assert (event.origin.tty, event.origin.cgroup, event.launch.interpreter) == (
        b"pts/3",
        b"/a/b",
        b"/bin/sh",
    )
    assert (event.launch.inode, event.launch.device, event.launch.nlink) == (5, 6, 0)
    assert event.launch.privileged == Gained.SETUID | Gained.CAPABILITIES


def test_what_is_unset_or_unknown_is_none() -> None:
    """No login, no terminal, no image: none of them is a number or an empty text."""
    no_paths = 8 | 8 << 8 | 8 << 16
    facts = Facts(auid=UNKNOWN, session=UNKNOWN, tty=None, path_flags=no_paths, cgroup=(), cwd=(), exe=())
    (event,) = assemble([first(FAILED, Head(flags=LAST), facts, b"")])

    assert (event.origin.auid, event.origin.login_user, event.origin.session, event.origin.tty) == (None,) * 4
    assert (
        event.origin.cgroup,
        event.launch.cwd,
        event.launch.exe,
        event.launch.inode,
        event.launch.device,
        event.launch.nlink,
    ) == (None,) * 6
    assert (event.parent, event.launch.interpreter, event.launch.privileged) == (None,) * 3


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ((7, 8), ExecKey(boot_prefix(BOOT_ID), 7, 8)),
        ((0, 44), ROOT),
        ((0, 45), None),
        ((0, 0), None),
    ],
)
def test_parents_are_execs_or_what_ran_before(image: tuple[int, int], expected: ExecKey | None) -> None:
    """A parent from before the probe is the running process's row, and one that has none is unknown."""
    (event,) = assemble([first(EXEC, Head(flags=LAST), Facts(parent=image), b"")])

    assert event.parent == expected


def test_an_end_names_the_exec_that_it_ends() -> None:
    """The end of a program has its exec's key, its own times, and the status as wait gives it."""
    assembler = Assembler(ORIGIN)
    records = [
        ended(Head(boot_ns=50, pid=8), (7, 8), 256),
        ended(Head(boot_ns=51, pid=44), (0, 44), 9),
        ended(Head(boot_ns=52, pid=45), (0, 45), 0),
    ]

    assert list(assembler.feed(records, now_ns=0, wall_offset_ns=OFFSET)) == [
        ExitEvent(ExecKey(boot_prefix(BOOT_ID), 7, 8), Nanoseconds(50 + OFFSET), Nanoseconds(50), 8, 256),
        ExitEvent(ROOT, Nanoseconds(51 + OFFSET), Nanoseconds(51), 44, 9),
    ]


@pytest.mark.parametrize(
    "later", [first(EXEC, Head(9, 2, 2, flags=LAST), Facts(parent=(1, 1)), b""), ended(Head(9), (1, 1), 0)]
)
def test_an_exec_that_another_record_names_comes_before_it(later: bytes) -> None:
    """A child, or the end, proves that nothing more of an exec will come: it is emitted, lost, first."""
    sent = successful(1, 1, [b"a" * 10], [5], None)
    assembler = Assembler(ORIGIN)
    events = list(assembler.feed([sent.records[0], later], now_ns=0, wall_offset_ns=OFFSET))

    assert [event.boot_ns for event in events] == [1, 9]
    assert isinstance(events[0], ExecEvent)
    assert events[0].truncated is Truncated.LOST
    assert len(assembler) == 0


def test_arguments_that_could_not_be_read_keep_their_place() -> None:
    """A failed exec's unreadable argument is a hole of unknown size; what follows it is there."""
    sent = refused(1, 1, [b"a", None, None, b"b"], [])
    (event,) = assemble(list(sent.records))

    assert (b"a\0b\0", (Hole(2, None),), Truncated.FAULT) == (event.argv, event.holes, event.truncated)
    assert (4, None) == (event.argc, event.argv_bytes)


def test_a_number_of_arguments_that_could_not_be_read_is_unknown() -> None:
    """Of a successful exec too, which is whole all the same."""
    head = Head(total=2, argc=UNKNOWN, flags=LAST)
    (event,) = assemble([first(EXEC, head, Facts(cut_from=2, cut_to=2), b"a\0")])

    assert (b"a\0", None, 2, None) == (event.argv, event.argc, event.argv_bytes, event.truncated)


def test_the_probes_own_limit_is_stated() -> None:
    """A failed exec with more arguments than the probe walks is cut at a limit, totals unknown."""
    head = Head(total=2, argc=UNKNOWN, flags=LIMIT | LAST)
    (event,) = assemble([first(FAILED, head, Facts(ret=-7), b"a\0")])

    assert (Truncated.LIMIT, (Hole(2, None),), None, None) == (
        event.truncated,
        event.holes,
        event.argc,
        event.argv_bytes,
    )


@given(words, st.integers(0, 30))
def test_failed_execs_are_cut_as_the_probe_cuts_successful_ones(argv: list[bytes], keep: int) -> None:
    """--max-argv leaves the same head, tail, totals and mark, whichever side made the cut."""
    (ran,) = assemble(list(successful(1, 1, argv, [], keep).records))
    (did_not,) = assemble(list(refused(1, 1, list(argv), []).records), max_argv=keep)

    def said(event: ExecEvent) -> tuple[object, ...]:
        return event.argv, event.holes, event.truncated, event.argc, event.argv_bytes

    assert said(ran) == said(did_not)


@given(st.binary(max_size=40), st.lists(st.integers(0, 40), unique=True), st.integers(0, 30), st.data())
def test_cutting_accounts_for_every_byte(argv: bytes, at: list[int], most: int, data: st.DataObject) -> None:
    """Captured and missing bytes add up to the same before and after; known stays known."""
    sizes = data.draw(st.lists(st.integers(1, 9), min_size=len(at), max_size=len(at)))
    holes = tuple(
        Hole(place, size) for place, size in zip(sorted(at), sizes, strict=True) if place <= len(argv)
    )
    kept, after = keep_ends(argv, holes, most)

    assert len(kept) == min(most, len(argv))
    assert len(argv) + sum(h.missing or 0 for h in holes) == len(kept) + sum(h.missing or 0 for h in after)
    assert sorted(h.at for h in after) == [h.at for h in after]


def _unfinished(boot_ns: int, account: int, size: int) -> tuple[bytes, bytes]:
    """Returns the records of an exec in two halves."""
    argv = b"x" * (size - 1) + b"\0"
    head, facts = Head(boot_ns, boot_ns, boot_ns, size, 1), Facts(account=account, cut_from=size, cut_to=size)
    return (
        first(EXEC, head, facts, argv[: size // 2]),
        more(EXEC_MORE, head._replace(offset=size // 2, seq=1, flags=LAST), argv[size // 2 :]),
    )


def test_unfinished_execs_of_one_user_do_not_push_out_those_of_another() -> None:
    """Beyond what an account may hold, its own oldest is given up, at once and marked."""
    assembler = Assembler(ORIGIN, unfinished=Unfinished(most_each=10_000, most_in_all=100_000))
    begun, ended = _unfinished(1, 7, 8000)
    early = list(assembler.feed([begun], now_ns=0, wall_offset_ns=0))
    noise = [_unfinished(number, 65534, 4000)[0] for number in range(2, 30)]
    given_up = list(assembler.feed(noise, now_ns=0, wall_offset_ns=0))
    (whole,) = assembler.feed([ended], now_ns=0, wall_offset_ns=0)

    assert early == []
    assert [*range(2, 26)] == [event.boot_ns for event in given_up if isinstance(event, ExecEvent)]
    assert isinstance(whole, ExecEvent)
    assert (whole.boot_ns, whole.truncated, len(whole.argv)) == (1, None, 8000)


def test_unfinished_execs_of_many_users_have_a_bound_too() -> None:
    """Who holds most gives up first."""
    assembler = Assembler(ORIGIN, unfinished=Unfinished(most_each=10_000, most_in_all=20_000))
    begun, ended = _unfinished(1, 7, 8000)
    noise = [_unfinished(2 + number, 100 + number % 4, 12_000)[0] for number in range(20)]
    events = list(assembler.feed([begun, *noise, ended], now_ns=0, wall_offset_ns=0))

    assert [(1, None)] == [
        (event.boot_ns, event.truncated)
        for event in events
        if isinstance(event, ExecEvent) and event.truncated is None
    ]
    assert len(assembler) <= 3
