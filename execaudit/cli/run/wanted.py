"""What the options of `execaudit record` ask for, apart from those of the probe."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from execaudit.event import Nanoseconds


class Wanted(NamedTuple):
    """The values of the options."""

    command: tuple[str, ...]
    """The command to run meanwhile, and its arguments; may be empty."""
    json_log: str | None
    duration: Nanoseconds | None
    quiet: bool
