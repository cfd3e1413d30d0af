"""What waits for a sink: kept in order up to a bound, and beyond it counted exactly."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from execaudit.backlog import Backlog, Finished, merged, weight
from execaudit.event import Gap, GapReason, Kind, Nanoseconds
from tests.histories import HOST, make_event, make_exit, make_gap

EVENT = make_event(b"a", pid=1)
SNAPSHOT = make_event(b"s", pid=2, kind=Kind.SNAPSHOT)
BATCHES = st.builds(
    lambda execs, snapshots, exits, gaps, seen: Finished(
        [EVENT] * execs + [SNAPSHOT] * snapshots,
        [make_gap(seen, seen + 1, count=3)] * gaps,
        [make_exit(EVENT.key, seen)] * exits,
        Nanoseconds(seen),
    ),
    *(st.integers(0, 3) for _ in range(4)),
    st.integers(1, 1000),
)


@given(
    st.lists(st.one_of(BATCHES, st.just("write"), st.just("recover")), max_size=40), st.integers(1, 20_000)
)
def test_each_exec_is_written_once_or_counted(acts: list[Finished | str], most_bytes: int) -> None:
    """Whatever comes and whenever the sink goes on: in order, nothing twice, nothing silently dropped."""
    backlog = Backlog(HOST, most_bytes)
    given_, out = [], []

    def write() -> bool:
        batch = backlog.first()
        if batch is not None:
            out.append(batch)
            backlog.written()
        return batch is not None

    for act in [*acts, "recover"]:
        if isinstance(act, Finished):
            given_.append(act)
            backlog.add(act)
            assert backlog.size <= most_bytes + max(map(weight, given_))
        elif act == "write":
            write()
        else:
            while write():
                pass

    assert not backlog
    assert 0 == backlog.size
    full = [batch for batch in given_ if batch.events or batch.gaps or batch.exits]
    kept = [batch for batch in full if any(batch is each for each in out)]
    dropped = [batch for batch in full if not any(batch is each for each in out)]
    told = [batch for batch in out if not any(batch is each for each in given_)]
    assert kept == [batch for batch in out if any(batch is each for each in full)]
    losses = [gap for batch in told for gap in batch.gaps if gap.reason is GapReason.STORE_FULL]
    assert sum(gap.count or 0 for gap in losses) == sum(batch.events.count(EVENT) for batch in dropped)
    assert sum(gap.exits for gap in losses) == sum(len(batch.exits) for batch in dropped)
    others = [gap for batch in told for gap in batch.gaps if gap.reason is not GapReason.STORE_FULL]
    assert sum(gap.count or 0 for gap in others) == 3 * sum(len(batch.gaps) for batch in dropped)


def test_the_loss_stands_where_it_happened() -> None:
    """Until the last batch that is kept nothing is missing, nor after the last one that is not."""
    one, *others = (Finished([EVENT], [], [], Nanoseconds(seen)) for seen in (10, 20, 30, 40))
    backlog = Backlog(HOST, weight(one))
    for batch in (one, *others[:2]):
        backlog.add(batch)
    backlog.written()
    backlog.add(others[2])

    gap = Gap(HOST, Nanoseconds(10), Nanoseconds(30), GapReason.STORE_FULL, 2)
    assert 3 == backlog.execs()
    assert Finished([], [gap], [], Nanoseconds(30)) == backlog.first()
    backlog.written()
    assert backlog.first() is others[2]


def test_what_is_being_written_does_not_grow() -> None:
    """A gap that first() has returned is written as it was; what is dropped meanwhile is in the next."""
    backlog = Backlog(HOST, 0)
    counts = []
    for seen in (10, 20, 30):
        backlog.add(Finished([EVENT], [], [], Nanoseconds(seen)))
    while (batch := backlog.first()) is not None:
        counts += [gap.count for gap in batch.gaps]
        backlog.written()

    assert [1, 2] == counts


def test_neighbours_are_one_gap() -> None:
    """Of the same reason, one beginning where the other ends; an unknown count makes the sum unknown."""
    one, two = make_gap(1, 2, count=1, exits=1), make_gap(2, 3, count=2, exits=2)

    assert [make_gap(1, 3, count=3, exits=3)] == merged([one, two])
    assert [make_gap(1, 3, count=None, exits=1)] == merged([one, make_gap(2, 3, count=None)])
    assert [one, make_gap(4, 5)] == merged([one, make_gap(4, 5)])
