"""Records become events: each exec once, right or marked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from execaudit.capture.assembler import Assembler
from execaudit.capture.unfinished import Unfinished
from execaudit.enums import Kind, Truncated
from execaudit.event import ExecEvent, ExitEvent, Hole
from tests.capture.sent import (
    OFFSET,
    ORIGIN,
    PATIENCE,
    Sent,
    assemble,
    is_honest,
    is_right,
    sent_execs,
    several,
    successful,
)
from tests.examples import examples
from tests.wirebytes import EXEC, EXEC_MORE, LAST, Facts, Head, first, more

if TYPE_CHECKING:
    from collections.abc import Iterable


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
