"""Trees of rows of which some are gone."""

from __future__ import annotations

import pytest

from execaudit.seal import tree
from execaudit.seal.tree import Place

_ROW = bytes(32)


@pytest.mark.parametrize(
    "gone",
    [{Place(3, 0): _ROW}, {Place(1, 0): _ROW, Place(3, 0): _ROW}, {Place(0, 7): _ROW}],
    ids=["too high", "too many", "beyond the end"],
)
def test_what_is_gone_of_another_tree_is_told(gone: dict[Place, bytes]) -> None:
    """Where two segments were swapped, say. A million rows would else be looked for, or for ever."""
    with pytest.raises(tree.CountError):
        tree.root_of_left(20, [_ROW] * 3, gone)
