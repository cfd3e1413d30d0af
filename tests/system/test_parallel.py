"""Children that work side by side: everything comes, in order, and none is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from execaudit.errors import DamagedStoreError
from execaudit.system.parallel import Block, in_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LARGE = b"x" * 3_000_000
"""More than a pipe holds."""


def twice(parts: Sequence[int]) -> Iterator[list[Block]]:
    """Makes two blocks of each part; of 7, none."""
    for part in parts:
        yield [Block(1, b"%d" % part), Block(2, b"%d." % part)] if part != 7 else []


def children() -> set[str]:
    """Returns the pids of this process's children."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split())


@pytest.mark.parametrize("count", [1, 2, 3, 40])
def test_blocks_come_in_the_order_of_the_parts(count: int) -> None:
    """However many children share the work; a part may give nothing."""
    before = children()
    expected = [block for blocks in twice(range(20)) for block in blocks]

    assert expected == list(in_order(range(20), twice, children=count))
    assert before == children()


def test_nothing_is_made_of_no_parts() -> None:
    """Children that have nothing to do end."""
    assert [] == list(in_order([], twice, children=2))


def test_blocks_are_as_large_as_they_are() -> None:
    """What does not fit into a pipe, is empty, or is any bytes, comes whole."""

    def work(parts: Sequence[bytes]) -> Iterator[list[Block]]:
        for part in parts:
            yield [Block(0, part)]

    parts = [LARGE, b"", bytes(range(256)), LARGE, b"e"]

    assert parts == [block.text for block in in_order(parts, work, children=2)]


def test_who_stops_early_leaves_no_child() -> None:
    """Not even one that waits for room in its pipe."""
    before = children()

    def work(parts: Sequence[int]) -> Iterator[list[Block]]:
        for _ in parts:
            yield [Block(1, LARGE)]

    blocks = in_order(range(10), work, children=2)
    with contextlib.closing(blocks):
        assert next(blocks).text == LARGE
        assert len(children() - before) == 2  # as asked for

    assert before == children()


def test_an_error_is_raised_here_after_what_came_before_it() -> None:
    """With its class and its two parts."""
    before = children()

    def work(parts: Sequence[int]) -> Iterator[list[Block]]:
        for part in parts:
            if part == 3:  # in the second child
                raise DamagedStoreError("the history is damaged:\nsee \udcff", fix="keep a copy")
            yield [Block(1, b"%d" % part)]

    found: list[bytes] = []
    blocks = in_order(range(9), work, children=2)
    with pytest.raises(DamagedStoreError, match="see \udcff: keep a copy") as raised:
        found.extend(block.text for block in blocks)

    assert raised.value.fix == "keep a copy"
    assert [b"0", b"1", b"2"] == found
    assert before == children()


def test_a_bug_in_a_child_is_told_with_its_traceback() -> None:
    """It is no end of the data."""

    def work(parts: Sequence[int]) -> Iterator[list[Block]]:
        for part in parts:
            yield [Block(1, b"%d" % (1 // (part - 2)))]

    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        list(in_order(range(9), work, children=2))


def test_a_killed_child_is_no_end_of_the_data() -> None:
    """What it did not make is missing, so this fails."""

    def work(parts: Sequence[int]) -> Iterator[list[Block]]:
        for part in parts:
            if part == 4:  # after some others
                os.kill(os.getpid(), signal.SIGKILL)
            yield [Block(1, b"%d" % part)]

    with pytest.raises(RuntimeError, match="killed"):
        list(in_order(range(9), work, children=2))


def test_children_end_with_the_one_that_asked() -> None:
    """It is killed, and they hear of it by the end of their pipes' only reader."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)

        def work(parts: Sequence[int]) -> Iterator[list[Block]]:
            for _ in parts:
                yield [Block(1, LARGE)]

        next(iter(in_order(range(100), work, children=3)))
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(write)
    os.waitpid(pid, 0)

    # At its end when the last child has closed its side.
    assert os.read(read, 1) == b""
    os.close(read)
