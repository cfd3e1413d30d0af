"""What the kernel could not hand over is a gap with exact counts."""

from __future__ import annotations

from execaudit.capture.probe import Losses
from execaudit.daemon.losses import neighbours_joined
from execaudit.daemon.recorder import Totals
from execaudit.enums import GapReason
from execaudit.event import Gap, Nanoseconds
from tests.daemon.recording import KeepingSink, record
from tests.fakes import FakeRing, FakeSource, exec_record


def test_what_the_kernel_did_not_follow_is_a_gap_of_its_own() -> None:
    """Another reason than a full ring: a larger one would not help."""
    sink = KeepingSink()
    totals = record(FakeSource([[exec_record(1)]], losses=[2], lost_returns=3, skipped=(4, 5)), sink)

    assert totals == Totals(execs=1, missed=9)
    assert {(GapReason.RING_FULL, 2, 0), (GapReason.RECURSION, 7, 5)} == {
        (gap.reason, gap.count, gap.exits) for gap in sink.gaps
    }


class ForgetfulSource(FakeSource):
    """A kernel that does not tell one of its counters for a moment."""

    def losses(self) -> Losses:
        """Returns 5, then nothing, then 7 from there on."""
        return Losses(0, 0, 0, 0, skipped={1: 5, 2: 0}.get(self.looks, 7))


def test_a_counter_that_is_not_there_for_a_moment_makes_no_losses() -> None:
    """What was counted before it is not counted again after it; nothing is negative."""
    sink = KeepingSink()
    record(ForgetfulSource([[exec_record(1)], [exec_record(2)], [exec_record(3)]]), sink)

    assert [5, 2] == [gap.count for gap in sink.gaps]


def test_losses_from_the_first_moment_are_in_a_gap() -> None:
    """What the ring refused before the recorder looked for the first time is missed too."""
    sink = KeepingSink()
    source = FakeRing(0)
    source.emit(exec_record(1))
    record(source, sink, should_stop=lambda: True)

    assert [(gap.count, gap.exits) for gap in sink.gaps] == [(1, 0)]


def test_lost_ends_are_in_a_gap() -> None:
    """A refused end of a program is no missed exec, but it is not silent."""
    sink = KeepingSink()
    record(FakeSource([[]], lost_exits=[3]), sink)

    assert [(gap.count, gap.exits) for gap in sink.gaps] == [(0, 3)]


def test_losses_become_gaps_with_exact_counts() -> None:
    """What the ring refused is counted once, in gaps that lie in the time of recording."""
    source = FakeSource([[exec_record(1)], [], [exec_record(2)], []], losses=[0, 5, 0, 7])
    sink = KeepingSink()

    assert Totals(execs=2, missed=12) == record(source, sink)
    assert sum(gap.count or 0 for gap in sink.gaps) == 12
    assert {GapReason.RING_FULL} == {gap.reason for gap in sink.gaps}
    assert all(gap.from_ns <= gap.to_ns for gap in sink.gaps)


def test_neighbouring_gaps_of_a_flush_are_one() -> None:
    """One storm is one gap, its counts added up; others stay apart."""

    def gap(start: int, end: int, count: int | None) -> Gap:
        return Gap("host", Nanoseconds(start), Nanoseconds(end), GapReason.RING_FULL, count)

    assert [gap(1, 3, 7), gap(4, 5, 1)] == neighbours_joined([gap(1, 2, 3), gap(2, 3, 4), gap(4, 5, 1)])
    assert [gap(1, 3, None)] == neighbours_joined([gap(1, 2, 3), gap(2, 3, None)])
