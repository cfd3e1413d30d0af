"""Make the page of a fleet: one HTML file in the style of the report, without scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.report.page import asset, policy, rendered

if TYPE_CHECKING:
    from collections.abc import Sequence


class Row(NamedTuple):
    """A host. All texts are safe to show, but may have characters that HTML escapes."""

    host: str
    seen: str
    behind: int
    missed: int
    version: str
    status: str
    is_wrong: bool


class FleetPage(NamedTuple):
    """What stands on the page; texts as of Row."""

    made: str
    """A time in UTC."""
    tiles: Sequence[tuple[str, int, bool]]
    """What is counted, how many there are, and whether that is bad."""
    troubles: Sequence[str]
    rows: Sequence[Row]


def render(page: FleetPage) -> bytes:
    """Returns the file."""
    style = asset("assets/report.css")
    return rendered("fleet.html", page._asdict(), policy([], [style]), {"style": style})
