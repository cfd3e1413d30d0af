"""What a pruning leaves of a user's flood: long lines of ancestors, programs whose end is not known."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest

from execaudit.database.trigram_bitmap import CHUNK_LINES
from execaudit.enums import Ended, Kind
from execaudit.event import End, ExecEvent, Nanoseconds
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.query.lineage import lineage
from execaudit.store import ancestors, prune, prune_plan
from execaudit.store.limits import Limits
from execaudit.store.prune_plan import Plan
from execaudit.store.sealing import Sealer
from execaudit.store.writer import Store
from tests.histories import BOOT_ID, at, begin_run, make_event, make_exit, make_gap, now_at
from tests.store.test_prune import dangling, opened, unused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

_MOST = Limits(max_age_ns=Nanoseconds(1), max_bytes=1_000_000)
INDEXES = ("argv_grams", "argv_used")
_HE, _SHE = 65_534, 1000


def stored(path: Path, events: list[ExecEvent], ended: Iterable[ExecEvent] = ()) -> None:
    """Adds execs, and the ends of some, in two batches."""
    with Store(path) as store:
        begin_run(store)
        half = len(events) // 2
        store.append(events[:half])
        store.append(events[half:], [], [make_exit(each.key, 5000) for each in ended])


def pruned(
    path: Path, limits: Limits, started_of: Callable[[int], int | None] | None = None, seconds: float = 9000
) -> None:
    """Prunes as a recorder does, as often as it takes."""
    now = now_at(seconds)._replace(started_of=started_of)
    with opened(path) as connection:
        while (plan := prune_plan.plan(connection, limits, now)) is not None:
            list(prune.prune(connection, plan, now, Sealer(path), max_bytes=limits.max_bytes))


def left(path: Path) -> list[int]:
    """Returns the numbers of the execs that are there; in these histories 1 is the first."""
    with opened(path) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM exec ORDER BY id")]


def line_of(count: int, *, replaces: bool) -> list[ExecEvent]:
    """Returns execs each of which led to the next: in one process, or each in a child of the one before."""
    events: list[ExecEvent] = []
    for n in range(count):
        events.append(
            make_event(
                b"%d" % n, b"%d," % n * 40, seconds=n, pid=77 if replaces else 100 + n, uid=_HE, cwd=b"/%d" % n,
                parent=events[-1].key if events else None, replaces=replaces and n > 0,
            )
        )  # fmt: skip
    return events


@pytest.mark.parametrize("replaces", [True, False])
def test_of_a_long_line_only_its_ends_stay(path: Path, *, replaces: bool) -> None:
    """Of 4000 ancestors of a program that runs; the rest leads to the root still, and nothing dangles."""
    line = line_of(4000, replaces=replaces)
    stored(path, line, () if replaces else line[:-1])
    pruned(path, _MOST)

    assert [*range(1, 17), *range(4000 - 24, 4001)] == left(path)
    with open_history(path) as connection:
        kin = list(lineage(connection, [4000]))
    assert [*range(1, 17), *range(4000 - 24, 4001)] == [each.number for each in kin]
    assert [None, *(each.number for each in kin[:-1])] == [each.parent for each in kin]
    assert [] == dangling(path)
    assert {0} == set(unused(path).values())


def test_a_line_of_usual_length_stays_whole(path: Path) -> None:
    """A login session has far fewer ancestors."""
    stored(path, line_of(40, replaces=True))
    pruned(path, Limits(max_age_ns=Nanoseconds(1)))

    assert list(range(1, 41)) == left(path)


def test_young_execs_keep_their_ancestors_in_a_branching_line(path: Path) -> None:
    """Each fiftieth exec of the line has a child that runs: the nearest 24 ancestors of each stay."""
    line = line_of(1000, replaces=True)
    children = [
        make_event(b"child", seconds=1000 + n, pid=5000 + n, uid=_SHE, parent=line[n].key)
        for n in range(0, 1000, 50)
    ]
    stored(path, line + children)
    pruned(path, Limits(max_age_ns=Nanoseconds(1)))

    nearest = {m + 1 for n in range(0, 1000, 50) for m in range(max(n - 23, 0), n + 1)}
    own = set(range(1000 - 24, 1001))
    assert sorted({*range(1, 17), *nearest, *own, *range(1001, 1021)}) == left(path)
    assert [] == dangling(path)


@pytest.mark.parametrize(
    ("started_s", "stays"),
    [(None, False), (50.5, False), (50, True), (10, True)],
    ids=["gone", "another one", "just started", "it runs"],
)
def test_a_program_without_a_known_end_must_have_its_process(
    path: Path, started_s: float | None, *, stays: bool
) -> None:
    """Its end was lost: nothing more is heard of it, and it must not stay until the next boot."""
    stored(path, [make_event(seconds=50, pid=7), make_event(seconds=60, pid=8)])
    boot_ns = None if started_s is None else now_at(started_s).boot_ns
    pruned(path, Limits(max_age_ns=Nanoseconds(1)), {7: boot_ns, 8: 0}.get)

    assert ([1] if stays else []) + [2] == left(path)


def test_of_one_process_only_the_newest_program_runs(path: Path) -> None:
    """The ends of those before were lost with the execs that replaced them."""
    stored(path, [make_event(seconds=n, pid=7) for n in range(2000)])
    pruned(path, Limits(max_age_ns=Nanoseconds(1)), {7: 0}.get)

    assert [2000] == left(path)


def test_a_process_that_is_refused_again_and_again_holds_no_pruning(path: Path) -> None:
    """What it has run since is looked for among its newest execs; else one step would read all of them."""
    first = make_event(b"first", pid=7, uid=_HE)
    refused = [
        make_event(seconds=1 + n / 1000, pid=7, uid=_HE, kind=Kind.FAILED, errno=2) for n in range(20_000)
    ]
    stored(path, [first, *refused])
    assert steps_to_choose(path) < 50


def test_a_parent_of_many_holds_no_pruning(path: Path) -> None:
    """Whether one of its children stays is all that is asked for."""
    parent = make_event(b"parent", pid=7)
    stored(path, [parent, *(make_event(seconds=n, pid=10 + n, parent=parent.key) for n in range(1, 20_000))])

    assert steps_to_choose(path) < 50


def steps_to_choose(path: Path) -> int:
    """Returns how many thousand instructions it takes to find that the first exec stays."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    with opened(path) as connection:
        now = now_at(9000)._replace(started_of={7: 0}.get)
        choice = ancestors.Choice(connection, Plan(1, Nanoseconds(0), "size"), now, None)
        connection.set_progress_handler(count, 1000)
        assert [1] == choice.choose(1, 1).stays
    return steps


def test_a_pruning_does_not_forget_that_ends_were_missed(path: Path) -> None:
    """The end of an ancestor was lost. The gap stays that says so, or the program would count as running."""
    parent = make_event(b"a", pid=1, seconds=5)
    child = make_event(b"b", pid=2, seconds=8999, parent=parent.key)
    with Store(path) as store:
        begin_run(store)
        store.append([parent, child], [make_gap(n, n + 1, count=0, exits=n % 2) for n in (7, 9, 3, 10)])
        ends = [End(Ended.UNKNOWN), End(Ended.RUNNING)]
        assert ends == ends_in(path)
        pruned(path, Limits(max_age_ns=Nanoseconds(10**12)))
        assert ends == ends_in(path)
    with opened(path) as connection:
        assert [(at(10),)] == connection.execute("SELECT ts_to FROM gap").fetchall()


def ends_in(path: Path) -> list[End | None]:
    """Returns how the execs of a history ended."""
    with open_history(path) as connection:
        return [each.event.end for each in find.find(connection, Filter())]


def test_a_user_has_a_share_of_what_stays(path: Path) -> None:
    """He has 3000 programs that run, each in a folder of its own; hers and root's, which are older, stay."""
    others = [make_event(b"hers", seconds=1, pid=50, uid=_SHE), make_event(b"root's", seconds=2, pid=51)]
    his = [
        make_event(b"%d" % n, seconds=10 + n / 10, pid=100 + n, uid=_HE, cwd=b"/%d" % n * 100)
        for n in range(3000)
    ]
    stored(path, others + his)
    pruned(path, _MOST, lambda _pid: 0)

    numbers = left(path)
    assert numbers[:2] == [1, 2]
    assert numbers[-50:] == list(range(2953, 3003))
    assert len(numbers) < 200
    assert {0} == set(unused(path).values())


def test_all_users_together_have_a_share(path: Path) -> None:
    """Whoever has many user ids (subuid) does not have as many shares."""
    stored(path, [make_event(b"%d" % n, seconds=n / 10, pid=100 + n, uid=_HE + n) for n in range(5000)])
    pruned(path, _MOST, lambda _pid: 0)

    assert 500 < len(left(path)) < 1100


@pytest.mark.parametrize("login", [1001, _SHE, None])
def test_uids_without_a_name_have_one_share_for_each_login(path: Path, login: int | None) -> None:
    """He has a thousand, in a user namespace. Her older program stays, also if he has taken her login uid."""
    others = [
        make_event(b"hers", seconds=1, pid=50, uid=_SHE, auid=_SHE),
        make_event(b"service", seconds=2, pid=51, uid=33),
    ]
    his = [
        make_event(b"%d" % n, seconds=10 + n / 10, pid=100 + n, uid=100_000 + n % 1000, user=None, auid=login)
        for n in range(3000)
    ]
    stored(path, others + his)
    pruned(path, _MOST, lambda _pid: 0)

    numbers = left(path)
    assert numbers[:2] == [1, 2]
    assert 200 < len(numbers) < 420


def test_a_pruning_costs_what_is_there_not_what_ever_was(path: Path) -> None:
    """Between a program that runs and the rest there were ten million lines and launches."""
    since, ever = 2, 10**7
    with Store(path) as store:
        begin_run(store)
        runs = make_event(b"runs", pid=1, cwd=b"/runs", comm=b"runs")
        store.append([runs])
        store.append(
            [make_event(b"%d" % n, seconds=1, pid=n + 2, cwd=b"/%d" % n, parent=runs.key) for n in range(50)],
            [],
            [make_exit(make_event(seconds=1, pid=n + 2).key, 2) for n in range(50)],
        )
    with opened(path) as connection:
        for table in ("argv", "launch"):
            connection.execute(f"UPDATE {table} SET id = id + {ever} WHERE id >= {since}")
            connection.execute(
                f"UPDATE exec SET {table}_id = {table}_id + {ever} WHERE {table}_id >= {since}"
            )
        now = now_at(9000)._replace(started_of={1: 0}.get)
        plan = prune_plan.plan(connection, Limits(max_age_ns=Nanoseconds(1)), now)
        assert plan is not None
        tracemalloc.start()
        try:
            steps = len(list(prune.prune(connection, plan, now, Sealer(path))))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert [1] == left(path)
    assert {0} == set(unused(path).values())
    assert steps < 50
    assert peak < 10**7


def test_a_few_lines_that_stay_do_not_keep_the_index_of_all(path: Path) -> None:
    """A user's programs that run, each among thousands of lines; they are found without the index."""
    count, every = 3 * CHUNK_LINES, 3000
    events = [make_event(b"<%d>" % n, seconds=n / 1000, pid=n + 10) for n in range(count)]
    runs = events[::every]
    stored(path, events, [event for event in events if event not in runs])
    with Store(path) as store:
        while store.index():
            pass
    pruned(path, Limits(max_age_ns=Nanoseconds(1)))

    with open_history(path) as connection:
        assert [runs[2].key] == [
            each.event.key for each in find.find(connection, Filter(args=(runs[2].argv.rstrip(b"\0"),)))
        ]
        indexes = [connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in INDEXES]
    assert [0, 0] == indexes
    assert len(runs) == len(left(path))


def test_a_boot_that_is_over_runs_nothing(path: Path) -> None:
    """Whatever runs now with the same pid."""
    stored(path, [make_event(pid=7)])
    now = now_at(9000, BOOT_ID.replace("1", "9"))._replace(started_of={7: 0}.get)
    with opened(path) as connection:
        plan = prune_plan.plan(connection, Limits(max_age_ns=Nanoseconds(1)), now)
        assert plan is not None
        list(prune.prune(connection, plan, now, Sealer(path)))

    assert [] == left(path)
