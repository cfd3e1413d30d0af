"""The drawing of the screen: it fits, whatever an exec has, and a mistake is shown at its column."""

from __future__ import annotations

from datetime import timezone
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.escaping import is_visible
from execaudit.output.tree_layout import ASCII, BOX
from execaudit.output.widths import columns
from execaudit.screen.drawing import Paper, draw, error_line
from execaudit.screen.model import Mode, Model, Order
from execaudit.screen.pacing import Pacing
from execaudit.screen.seen import Ask, Detail, Pace, Row, Seen
from tests.events import events
from tests.examples import examples
from tests.histories import at, make_event

if TYPE_CHECKING:
    from execaudit.event import ExecEvent


def texts(model: Model, paper: Paper) -> list[str]:
    """Returns the lines."""
    return ["".join(piece.text for piece in line) for line in draw(model, paper)]


@examples(50)
@given(
    drawn=st.lists(events(), max_size=3),
    said=st.lists(st.text(), max_size=3),
    width=st.integers(1, 130),
    height=st.integers(1, 40),
    mode=st.sampled_from(Mode),
    order=st.sampled_from(Order),
    encoding=st.sampled_from(("utf-8", "iso-8859-1", "ascii")),
)
def test_it_fits(  # noqa: PLR0913, PLR0917  # each is drawn
    drawn: list[ExecEvent], said: list[str], width: int, height: int, mode: Mode, order: Order, encoding: str
) -> None:
    """Each line is visible, not wider than the screen, and what the terminal's encoding has."""
    rows = [
        Row(number, event, "└─ ".encode(encoding, "replace").decode()) for number, event in enumerate(drawn)
    ]
    pace = Pace(1, 2, 3, [5] * 60, [(event.launch.comm, 7) for event in drawn], [(text, 3) for text in said])
    detail = (
        Detail(0, drawn[0], b"\x1b", rows, more_ancestors=True, children=rows, more_children=None)
        if drawn
        else None
    )
    seen = Seen(Ask(), rows, rows, pace, detail, "\x1b[2J", [], "refused", is_ready=True)
    model = Model(options="--x", seen=seen, mode=mode, order=order, shown=0 if mode is Mode.SHOW else None)
    glyphs = BOX if encoding == "utf-8" else ASCII
    lines = texts(model, Paper(width, height, at(0), glyphs, encoding, timezone.utc))

    assert len(lines) <= height
    assert [] == [line for line in lines if columns(line) > width]
    assert [] == [line for line in lines if not is_visible(line)]
    assert [] == [line for line in lines if line.encode(encoding, "replace").decode(encoding) != line]


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ("column 1: what: fix", "  ^ what: fix"),
        ("column 7: what: fix", "        ^ what: fix"),
        ("column 16: what: fix", "       what: fix ^"),
        ("column 16: a longer what: fix", "column 16: a longe…"),
        ("column 99: what", "column 99: what"),
        ("it is \x1b long", "it is \\x1b long"),
    ],
)
def test_a_mistake_points_at_its_column(error: str, shown: str) -> None:
    """To the right of the column if there is room, else to its left."""
    assert shown == error_line(error, 2, 19)


def test_a_megabyte_is_drawn_in_part() -> None:
    """One value cannot fill the memory, or the screen for long."""
    event = make_event(b"x" * 100_000)
    model = Model(seen=Seen(Ask(), detail=Detail(1, event)), mode=Mode.SHOW, shown=1)
    model.move(1_000_000)
    texts(model, Paper(80, 24, at(0)))

    assert 400 < model.top < 1000


def test_names_have_a_bound() -> None:
    """Any user can start programs under any name: the most frequent are kept."""
    from collections import Counter  # noqa: PLC0415

    pacing = Pacing()
    names = Counter({str(number).encode(): 1 for number in range(5000)}) + Counter({b"sh": 9})
    for second in range(100, 110):
        pacing.add(second, {second: 5009}, Counter(names), Counter())
    pace = pacing.at(110)

    assert (b"sh", 90) == pace.commands[0]
    assert 1000 >= sum(len(each.commands) for each in pacing._read)
    assert 5009 == pace.now * 5 / 5
    assert 0 == pacing.at(500).five_minutes == len(pacing._counts)
