"""Which execs a report has, where there are too many: no kind pushes the others out."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from execaudit.enums import Ended, Gained, Kind
from execaudit.event import End
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.query.local_history import LocalHistory
from execaudit.report import gather
from execaudit.report.choose import Chooser, Sort
from execaudit.report.summary import thinned_text
from tests.histories import START, at, make_event, make_history, make_ran
from tests.reports import report

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from execaudit.event import ExecEvent


def chosen_of(
    events: list[ExecEvent], most: int, named: set[int]
) -> tuple[list[int], dict[Sort, tuple[int, int]]]:
    """Returns the chosen numbers, and how many of each sort."""
    chooser = Chooser()
    for number, event in enumerate(events):
        chooser.add(number, event)
    found = chooser.choose(most, named)
    return [*found.numbers], {each.sort: (each.kept, each.of) for each in found.kept}


def test_all_are_chosen_if_there_is_room() -> None:
    """And nothing is said then."""
    assert ([0, 1, 2], {}) == chosen_of([make_ran(b"x")] * 3, 3, {1})


def test_a_flood_does_not_push_the_others_out() -> None:
    """Of 10 000 failures half of the room is left for what is rare, unusual and named."""
    flood = make_ran(b"sh", kind=Kind.FAILED, errno=2)
    rare = [make_ran(b"rare-%d" % number) for number in range(20)]
    gained = make_ran(b"su", privileged=Gained.SETUID)
    killed = make_ran(b"crashed", end=End(Ended.SIGNALED, signal=11))
    usual = [make_ran(b"cat")] * 100
    events = [*usual, *[flood] * 5000, *rare, gained, *[flood] * 5000, killed, *usual]
    numbers, kept = chosen_of(events, 100, {0})

    assert 100 == len(numbers) == len({*numbers})
    assert sorted(numbers) == numbers
    assert {Sort.NAMED: (1, 1), Sort.UNUSUAL: (2, 2), Sort.RARE: (20, 20)}.items() <= kept.items()
    assert kept[Sort.FAILED][0] + kept[Sort.OTHER][0] == 77
    assert min(kept[Sort.FAILED][0], kept[Sort.OTHER][0]) > 30
    failed = [number for number in numbers if events[number] is flood]
    # Spread over the whole time of the flood.
    assert failed[0] < 1000
    assert failed[-1] > 9000


def test_room_that_some_do_not_need_is_for_the_others() -> None:
    """A report is as full as it can be."""
    events = [make_ran(b"sh", kind=Kind.FAILED, errno=2)] * 1000

    assert 400 == len(chosen_of(events, 400, set())[0])


def test_named_execs_are_all_chosen() -> None:
    """Though they are more than there is room for."""
    numbers, _ = chosen_of([make_ran(b"x")] * 100, 10, {*range(0, 100, 5)})

    assert [*range(0, 100, 5)] == numbers


def test_a_thinned_report_says_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The timeline counts all execs, and what is kept is said."""
    events = [
        make_ran(b"cat", seconds=number / 10, pid=number + 1, kind=Kind.FAILED if number % 9 == 0 else Kind.EXEC,
                 errno=2 if number % 9 == 0 else None)
        for number in range(300)
    ]  # fmt: skip
    path = make_history(tmp_path / "h.db", events)
    monkeypatch.setattr(gather, "MOST", 50)

    with open_history(path) as connection:
        wanted = Filter(since_ns=at(0), until_ns=at(30))
        found = gather.gather(
            LocalHistory(connection), wanted, gather.Asked([7], [], at(40)), lambda _execs: None
        )

    assert 50 == len(found.columns)
    assert found.density is not None
    assert (300, 34) == (sum(found.density.execs), sum(found.density.failed))
    assert START * 10**9 == found.density.from_ns
    said = thinned_text(found.chosen.kept, found.stats.execs) or ""
    assert said.startswith(
        "This report has 50 of the 300 execs, so that a browser can show it: 1 that are marked"
    )
    assert {Sort.NAMED: 1, Sort.FAILED: 24, Sort.OTHER: 25} == Counter(
        {each.sort: each.kept for each in found.chosen.kept}
    )


def test_a_report_without_an_end(tmp_path: Path) -> None:
    """It has what there is, also where two execs happened at the same time."""
    path = make_history(tmp_path / "h.db", [make_event(b"x"), make_event(b"y", pid=7)])
    page, _ = report(path, tmp_path / "x.html")

    assert (2, None, None) == (page.data["rows"], page.data["from"], page.data["to"])
