"""How a table is shown on the terminal, or in what it is piped into."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from execaudit.cli import terminal
from execaudit.output import tree_layout
from execaudit.output.table import View

if TYPE_CHECKING:
    from execaudit.cli.context import Look


def table_view(look: Look) -> View:
    """Returns it, for standard output."""
    width = terminal.width()
    return View(
        # What is piped into `less` has the columns of the terminal, but nothing is cut: it may be searched.
        width=width or terminal.nearest_width(),
        is_cut=width is not None and not look.wide,
        is_wide=look.wide,
        colour=look.has_colour,
        cut_mark=tree_layout.glyphs_for(sys.stdout.encoding).cut,
    )
