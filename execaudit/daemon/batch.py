"""What the storing thread gathers for the sinks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from execaudit.event import ExecEvent, ExitEvent

if TYPE_CHECKING:
    from execaudit.event import Gap

Redacted = Callable[[list[ExecEvent]], list[ExecEvent]]
"""Returns execs as they may be written."""


class Batch:
    """The events and gaps that go to the sinks next."""

    def __init__(self, redacted: Redacted | None) -> None:
        self._redacted = redacted
        self.events: list[ExecEvent] = []
        self.exits: list[ExitEvent] = []
        self.gaps: list[Gap] = []
        self.size = 0
        """Bytes of the wire records that it was made from."""
        self.says_idle = False
        """Nothing happened, and the sinks are to note until when."""

    def __bool__(self) -> bool:
        """Says whether there is anything for the sinks."""
        return bool(self.events or self.exits or self.gaps or self.says_idle)

    def add(self, events: Iterable[ExecEvent | ExitEvent]) -> None:
        """Takes the events of the assembler."""
        both = [*events]
        execs = [event for event in both if type(event) is ExecEvent]  # isinstance would cost a tenth more
        self.events += execs if self._redacted is None else self._redacted(execs)
        if len(execs) < len(both):
            self.exits += [event for event in both if type(event) is ExitEvent]
