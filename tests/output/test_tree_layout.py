"""The drawing of a forest: where each exec stands, and what leads to it."""

from __future__ import annotations

from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.output.tree_layout import ASCII, BOX, Forest, Glyphs, TreeRow, glyphs_for
from execaudit.query.lineage import Kin


def kin_of(*parents: int, replacing: tuple[int, ...] = ()) -> list[Kin]:
    """Returns a family of numbers from 1 on, given the parent of each; 0 is none."""
    return [Kin(number, parent or None, number in replacing) for number, parent in enumerate(parents, 1)]


def drawn(family: list[Kin], *, reverse: bool = False, most: int = 50, glyphs: Glyphs = BOX) -> str:
    """Returns the drawing, each exec as its number."""
    places = Forest(family, reverse=reverse).walk(glyphs, most=most)
    return "".join(f"{place.lead}{place.number}\n" for place in places)


def expected(text: str) -> str:
    """Returns a drawing as it stands in a test."""
    return dedent(text).lstrip("\n")


# 1 starts 2 and 8; 2 starts 3, becomes 4 and then 6, which start 5 and 7; 9 is a root.
PROCESSES = kin_of(0, 1, 2, 2, 4, 4, 6, 1, 0, replacing=(4, 6))


def test_a_forest() -> None:
    """Below each exec stand its children, in order; roots stand side by side."""
    assert expected(
        """
        1
        ├─ 2
        │  ├─ 4
        │  │  └─ 7
        │  └─ 5
        └─ 3
           └─ 6
        8
        """
    ) == drawn(kin_of(0, 1, 1, 2, 2, 3, 4, 0))


def test_a_process_that_executes_again() -> None:
    """What replaces its parent is in the same column, behind an arrow, after the parent's children."""
    assert expected(
        """
        1
        ├─ 2
        │  └─ 3
        │→ 4
        │  └─ 5
        │→ 6
        │  └─ 7
        └─ 8
        9
        """
    ) == drawn(PROCESSES)


def test_the_last_process_that_executes_again() -> None:
    """No line passes its next program, when no sibling comes; a root's stands at the edge."""
    assert expected(
        """
        1
        └─ 2
         → 3
           ├─ 4
           └─ 5
        → 6
        └─ 7
        """
    ) == drawn(kin_of(0, 1, 2, 3, 3, 1, 6, replacing=(3, 6)))


def test_a_child_that_executes_after_its_parent_went_on() -> None:
    """It was forked before: it stands with the program that forked it, above the next one."""
    assert expected(
        """
        1
        └─ 3
        → 2
        """
    ) == drawn(kin_of(0, 1, 1, replacing=(2,)))


def test_newest_first() -> None:
    """Roots and siblings are turned around; a process goes on downwards all the same."""
    assert expected(
        """
        9
        1
        ├─ 8
        └─ 2
           └─ 3
         → 4
           └─ 5
         → 6
           └─ 7
        """
    ) == drawn(PROCESSES, reverse=True)


def test_ascii() -> None:
    """Where there are no lines to draw with, the same is said in ASCII."""
    text = drawn(PROCESSES, glyphs=ASCII)

    assert text.isascii()
    assert (
        expected(
            """
        1
        |- 2
        |  `- 3
        |> 4
        |  `- 5
        |> 6
        |  `- 7
        `- 8
        9
        """
        )
        == text
    )


def test_a_deep_tree_is_carried_over() -> None:
    """Too far to the right, the leftmost columns give way to their number, in steps."""
    assert expected(
        """
        1
        └─ 2
           └─ 3
              └─ 4
                 └─ 5
        …2       └─ 6
        …2          └─ 7
        …4       └─ 8
        …4        → 9
        """
    ) == drawn(kin_of(0, 1, 2, 3, 4, 5, 6, 7, 8, replacing=(9,)), most=4)


def test_a_parent_that_is_not_drawn() -> None:
    """Without it an exec is a root, though it replaced that parent, as is one whose parent comes later."""
    family = [Kin(3, 2, replaces=True), Kin(5, 9, replaces=False), Kin(9, 3, replaces=False)]

    assert "3\n└─ 9\n5\n" == drawn(family)


def test_nothing() -> None:
    """An empty forest is drawn without a line."""
    assert "" == drawn([])
    assert 0 == len(Forest([]))


def grown(choices: list[tuple[int, int, bool]]) -> list[Kin]:
    """Returns a family in which each program goes on at most once, numbered with holes."""
    family: list[Kin] = []
    gone: set[int] = set()
    number = 0
    for step, choice, replaces in choices:
        number += step
        # Each fifth is a root; the others' parents are new ones oftener than old ones.
        parent = family[-1 - choice % min(choice, len(family))].number if choice % 5 and family else None
        onward = replaces and parent is not None and parent not in gone
        if onward and parent is not None:
            gone.add(parent)
        family.append(Kin(number, parent, onward))
    return family


families = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 40), st.booleans()), max_size=30).map(grown)


@given(families, st.booleans(), st.integers(1, 5))
def test_each_exec_stands_once_below_its_parent(family: list[Kin], reverse: bool, most: int) -> None:  # noqa: FBT001  # drawn
    """Each once, one deeper than its parent, siblings in order, and next programs after them."""
    places = list(Forest(family, reverse=reverse).walk(most=most))
    kin = {each.number: each for each in family}
    order = {place.number: line for line, place in enumerate(places)}
    depth = {place.number: place.depth for place in places}

    assert sorted(kin) == sorted(order)
    assert len(kin) == len(places)
    for each in family:
        assert depth[each.number] == (0 if each.parent is None else depth[each.parent] + 1)
        siblings = [
            other for other in family if other.parent == each.parent and other.replaces == each.replaces
        ]
        assert siblings == sorted(siblings, key=lambda other: order[other.number], reverse=reverse)
        if each.parent is not None:
            between = places[order[each.parent] + 1 : order[each.number]]
            assert all(place.depth > depth[each.parent] for place in between)
        if each.replaces:
            forked = [other for other in family if other.parent == each.parent and not other.replaces]
            assert all(order[other.number] < order[each.number] for other in forked)


@given(families)
def test_a_drawing_can_be_read_back(family: list[Kin]) -> None:
    """From the leads alone one knows each exec's parent, and whether it is the same process."""
    kin = {each.number: each for each in family}
    newest: dict[int, int] = {}
    for place in Forest(family).walk():
        onward = place.lead.endswith("→ ")
        column = (len(place.lead) + 2) // 3 - (onward and len(place.lead) == 2)
        parent = newest.get(column) if onward else newest.get(column - 1)
        newest[column] = place.number

        assert kin[place.number] == Kin(place.number, parent, onward)


@given(families)
def test_ascii_says_the_same(family: list[Kin]) -> None:
    """Sign by sign, ASCII stands where the lines stand."""
    table = str.maketrans("│├└─→", "||`->")

    assert drawn(family).translate(table) == drawn(family, glyphs=ASCII)


@given(families, st.integers(1, 4))
def test_leads_are_bounded(family: list[Kin], most: int) -> None:
    """However deep the tree, a lead is no wider than the columns that were allowed, and their number."""
    for place in Forest(family).walk(most=most):
        columns = place.lead.split(" ", 1)[1] if place.lead.startswith("…") else place.lead
        assert len(columns) <= 3 * most


def test_a_deep_line_of_descent_is_as_large_as_its_execs() -> None:
    """A hundred thousand generations are drawn without recursion, in bounded lines."""
    many = 100_000
    places = list(Forest(kin_of(*range(many))).walk(most=10))

    assert many == len(places)
    assert TreeRow(many, many - 1, places[-1].lead) == places[-1]
    assert max(len(place.lead) for place in places) < 40


@pytest.mark.parametrize(
    ("encoding", "glyphs"),
    [("utf-8", BOX), ("ascii", ASCII), ("latin-1", ASCII), ("cp437", ASCII), ("no-such", ASCII)],
)
def test_what_a_terminal_can_show(encoding: str, glyphs: Glyphs) -> None:
    """Lines are drawn where all of them can be written, and ASCII elsewhere."""
    assert glyphs == glyphs_for(encoding)
