"""What waits for a sink: kept in order up to a bound, and beyond it counted exactly."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from execaudit.daemon.backlog import Backlog, Finished
from execaudit.daemon.losses import joined, neighbours_joined
from execaudit.enums import Ended, GapReason, Kind, Truncated
from execaudit.event import End, Gap, Hole, Nanoseconds
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.store.writer import Store
from tests.histories import HOST, at, begin_run, changed, make_event, make_exit, make_gap

if TYPE_CHECKING:
    from pathlib import Path

    from execaudit.event import ExecEvent

EVENT = make_event(b"a", pid=1, time_ns=Nanoseconds(0))
ACCOUNTS = (0, 1000, 1001)


def execs_of(account: int | None, count: int, kind: Kind = Kind.EXEC) -> list[ExecEvent]:
    """Returns execs that are charged to an account."""
    return [changed(EVENT, kind=kind, account=account, uid=None)] * count


BATCHES = st.builds(
    lambda execs, snapshots, exits, gaps, seen: Finished(
        [event for account, count in zip(ACCOUNTS, execs, strict=True) for event in execs_of(account, count)]
        + execs_of(0, snapshots, Kind.SNAPSHOT),
        [make_gap(seen, seen + 1, count=3)] * gaps,
        [make_exit(EVENT.key, seen)] * exits,
        Nanoseconds(seen),
    ),
    st.tuples(*(st.integers(0, 3) for _ in ACCOUNTS)),
    *(st.integers(0, 3) for _ in range(3)),
    st.integers(1, 1000),
)


def weight(batch: Finished) -> int:
    """Returns what a batch weighs."""
    return sum(batch.shares.values())


@given(
    st.lists(st.one_of(BATCHES, st.just("write"), st.just("recover")), max_size=40),
    st.integers(1, 20_000),
    st.sampled_from((0, 5000, 1_000_000)),
)
def test_each_exec_is_written_once_or_counted(
    acts: list[Finished | str], most_bytes: int, most_objects: int
) -> None:
    """Whatever comes and whenever the sink goes on: nothing twice, nothing silently dropped, all charged.

    Whether batches wait as objects or as bytes.
    """
    backlog = Backlog(HOST, most_bytes, most_objects=most_objects)
    given_, out = [], []

    def write() -> bool:
        batch = backlog.first()
        if batch is not None:
            assert batch is backlog.first()
            out.append(batch)
            backlog.written()
        return batch is not None

    for act in [*acts, "recover"]:
        if isinstance(act, Finished):
            given_.append(act)
            backlog.add(act)
            # The first one is taken however large it is, and gaps always.
            gaps = sum(1000 * len(batch.gaps) for batch in given_)
            assert backlog.size <= most_bytes + max(map(weight, given_)) + gaps
        elif act == "write":
            write()
        else:
            while write():
                pass

    assert not backlog
    assert 0 == backlog.size
    assert not backlog._held
    losses = [gap for batch in out for gap in batch.gaps if gap.reason is GapReason.STORE_FULL]
    for account in ACCOUNTS:
        execs = [
            sum(
                event.account == account and event.kind is Kind.EXEC
                for batch in each
                for event in batch.events
            )
            for each in (given_, out)
        ]
        assert execs[0] == execs[1] + sum(gap.count or 0 for gap in losses if gap.uid == account)
    ends = [sum(len(batch.exits) for batch in each) for each in (given_, out)]
    assert ends[0] == ends[1] + sum(gap.exits for gap in losses)
    others = [gap for batch in out for gap in batch.gaps if gap.reason is not GapReason.STORE_FULL]
    assert sum(gap.count or 0 for gap in others) == 3 * sum(len(batch.gaps) for batch in given_)
    whole = [batch for batch in out if any(batch is each for each in given_)]
    assert whole == [batch for batch in given_ if any(batch is each for each in whole)]


def test_the_end_of_what_a_dropped_exec_replaced_is_missing_too(tmp_path: Path) -> None:
    """The history has no end of that program. It does not count as running, because the gap says so."""
    line = [make_event(seconds=n, pid=9, account=7) for n in range(3)]
    line[1:] = [event._replace(parent=before.key, replaces=True) for before, event in pairwise(line)]
    backlog = Backlog(HOST, 10)
    for event in line:
        backlog.add(Finished([event], [], [], event.time_ns))
    with Store(tmp_path / "h.db") as store:
        begin_run(store)
        gaps: list[Gap] = []
        while (batch := backlog.first()) is not None:
            store.append(batch.events, batch.gaps, batch.exits)
            gaps += batch.gaps
            backlog.written()
        with open_history(tmp_path / "h.db") as connection:
            ends = [each.event.end for each in find.find(connection, Filter())]

    assert [(7, 2, 2)] == [(gap.uid, gap.count, gap.exits) for gap in gaps]
    assert [End(Ended.UNKNOWN)] == ends


def test_long_paths_are_weighed() -> None:
    """A user who asks for programs by paths of 4 KB holds no more than others. Equal ones count once."""
    one = Finished([make_event(filename=b"/x" * 2000)], [], [], Nanoseconds(1))
    same = Finished([*one.events] * 10, [], [], Nanoseconds(1))
    other = Finished([make_event(filename=b"/%d" % n * 1000) for n in range(10)], [], [], Nanoseconds(1))

    assert 4000 < weight(one) < 6000
    assert weight(same) < 10 * 1000 + 5000
    assert 30_000 < weight(other)


def test_holes_are_weighed() -> None:
    """A user can have an exec refused of which each second argument is nowhere: each hole takes memory."""
    holes = tuple(Hole(2 * n, None) for n in range(5000))
    event = make_event()._replace(argv=b"a\0" * 5000, holes=holes, truncated=Truncated.FAULT)

    assert 500_000 < weight(Finished([event], [], [], Nanoseconds(1))) < 800_000


def test_a_gap_covers_what_was_dropped() -> None:
    """Also when the batch is said to be finished until an earlier moment: gaps of others are held back."""
    backlog = Backlog(HOST, 10)
    backlog.add(Finished([make_event()], [], [], at(10)))
    late = [make_event(seconds=each, account=7) for each in (21, 12, 25)]
    backlog.add(Finished(late, [], [], at(11)))
    backlog.first()
    backlog.written()
    batch = backlog.first()

    assert batch is not None
    assert [(at(10), at(25), 3)] == [(gap.from_ns, gap.to_ns, gap.count) for gap in batch.gaps]


def test_one_users_lines_do_not_cost_others_theirs() -> None:
    """A flood fills the backlog, beside it two users and root start little; then three users flood."""
    backlog = Backlog(HOST, 100_000)
    flooders: tuple[int, ...] = (2000,)
    seen = 0
    for step in range(400):
        if step == 200:
            flooders = (2000, 2001, 2002)
        for flooder in flooders:
            seen += 1
            backlog.add(Finished(execs_of(flooder, 20), [], [], Nanoseconds(seen)))
        if step % 40 == 0:
            honest = [event for account in ACCOUNTS for event in execs_of(account, 1)]
            seen += 1
            backlog.add(Finished([*execs_of(2000, 5), *honest], [], [], Nanoseconds(seen)))
    out = []
    assert backlog.size <= 100_000
    while (batch := backlog.first()) is not None:
        out.append(batch)
        backlog.written()

    kept = [event.account for batch in out for event in batch.events]
    assert {10} == {kept.count(account) for account in ACCOUNTS}
    lost = [gap for batch in out for gap in batch.gaps]
    assert {2000, 2001, 2002} == {gap.uid for gap in lost}
    assert 200 * 20 + 200 * 60 + 10 * 5 == sum(map(kept.count, (2000, 2001, 2002))) + sum(
        gap.count or 0 for gap in lost
    )
    # A flood is few gaps.
    assert len(lost) < 60


def test_a_batch_is_weighed_only_if_it_has_to_wait() -> None:
    """What is written at once, as nearly all is, costs nothing here."""
    backlog = Backlog(HOST, 10_000)
    batch = Finished(execs_of(0, 3), [], [], Nanoseconds(1))
    backlog.add(batch)
    assert backlog.first() is batch
    backlog.written()

    assert "shares" not in vars(batch)


def test_the_loss_stands_where_it_happened() -> None:
    """Until the last batch that is kept nothing is missing, nor after the last one that is not."""
    batches = [Finished([EVENT], [], [], Nanoseconds(seen)) for seen in (10, 20, 30, 40, 50, 60)]
    backlog = Backlog(HOST, 4 * weight(batches[0]))
    for batch in batches[:5]:
        backlog.add(batch)
    for batch in batches[:2]:
        assert backlog.first() is batch
        backlog.written()
    backlog.add(batches[5])
    assert backlog.first() is batches[2]
    backlog.written()

    gap = Gap(HOST, Nanoseconds(30), Nanoseconds(50), GapReason.STORE_FULL, 2, uid=EVENT.launch.uid)
    assert 3 == backlog.execs()
    assert Finished([], [gap], [], Nanoseconds(50)) == backlog.first()
    backlog.written()
    assert backlog.first() is batches[5]


def test_what_is_being_written_does_not_grow() -> None:
    """A gap that first() has returned is written as it was; what is dropped meanwhile is in the next."""
    backlog = Backlog(HOST, 0)
    for seen in (10, 20):
        backlog.add(Finished([EVENT], [], [], Nanoseconds(seen)))
    backlog.written()
    told = backlog.first()
    backlog.add(Finished([EVENT], [], [], Nanoseconds(30)))
    assert told is backlog.first()
    backlog.written()
    other = backlog.first()

    assert told is not None
    assert other is not None
    assert [1, 1] == [gap.count for batch in (told, other) for gap in batch.gaps]


def test_neighbours_are_one_gap() -> None:
    """Of the same reason, one beginning where the other ends; an unknown count makes the sum unknown."""
    one, two = make_gap(1, 2, count=1, exits=1), make_gap(2, 3, count=2, exits=2)

    assert [make_gap(1, 3, count=3, exits=3)] == neighbours_joined([one, two])
    assert [make_gap(1, 3, count=None, exits=1)] == neighbours_joined([one, make_gap(2, 3, count=None)])
    assert [one, make_gap(4, 5)] == neighbours_joined([one, make_gap(4, 5)])


def test_many_gaps_are_one_for_each_reason_and_user() -> None:
    """While nothing can be written, gaps take little room."""
    backlog = Backlog(HOST, 1000)
    for seen in range(1, 1000):
        gap = replace(make_gap(2 * seen, 2 * seen + 1, count=1), uid=seen % 2)
        backlog.add(Finished([EVENT], [gap], [], Nanoseconds(seen)))
    assert len(backlog._waiting) < 5
    backlog.written()
    batch = backlog.first()

    assert batch is not None
    assert len(batch.gaps) < 150
    assert 998 == sum(gap.count or 0 for gap in batch.gaps if gap.reason is not GapReason.STORE_FULL)
    assert 2 == len(joined([replace(make_gap(1, 2), uid=1), make_gap(1, 2), replace(make_gap(7, 9), uid=1)]))


def test_many_batches_wait_in_few_blocks_of_memory() -> None:
    """A sink that is slow for a while leaves no thousands of small objects, between which memory is lost."""
    batches, execs = 40, 500  # as the recorder makes them
    backlog = Backlog(HOST, 2**40)
    before = sys.getallocatedblocks()
    for number in range(batches):
        events = [
            changed(EVENT, argv=b"%d %d" % (number, place), boot_ns=number * execs + place)
            for place in range(execs)
        ]
        backlog.add(Finished(events, [], [], Nanoseconds(number)))
        del events
    waiting = sys.getallocatedblocks() - before
    assert waiting < batches * execs, f"{waiting} blocks for {batches * execs} execs"
    assert backlog.execs() == batches * execs
    written = []
    while (batch := backlog.first()) is not None:
        written += [event.argv for event in batch.events]
        backlog.written()
    assert written == [b"%d %d" % divmod(number, execs) for number in range(batches * execs)]


def test_a_batch_that_cannot_be_packed_waits_as_it_is() -> None:
    """What is wrong with an event is found and said by the sink, not here."""
    bad = changed(EVENT, errno=lambda: 2)
    backlog = Backlog(HOST, 2**40, most_objects=0)
    for number in range(3):
        backlog.add(Finished([bad], [], [], Nanoseconds(number)))
    for _ in range(3):
        batch = backlog.first()
        assert batch is not None
        assert batch.events == [bad]
        backlog.written()
