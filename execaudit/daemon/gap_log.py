"""Join gaps that follow each other, so that a flood of losses floods neither the history nor the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from execaudit.daemon.losses import union
from execaudit.enums import GapReason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from execaudit.event import Gap, Nanoseconds

log = structlog.get_logger()

# After a gap, further gaps of the same reason and user are joined for so long. (The budget joins its own: it
# refuses execs behind this, for the database alone.)
_JOIN_SECONDS = 10.0
# So many kinds are remembered. The gaps of further users are joined, and name no user.
_MOST_KINDS = 64
_LINES, _LINES_SECONDS = 10, 60.0
_APART = {GapReason.RECORDER_STOPPED, GapReason.CLOCK}

_Kind = tuple[str, GapReason, "int | None"]


class GapLog:
    """Decides when gaps are stored, and says that execs were missed."""

    def __init__(self) -> None:
        self._last: dict[_Kind, float] = {}
        """When a gap of this kind was last let through, seconds."""
        self._held: dict[_Kind, Gap] = {}
        self._minute = float("-inf")
        self._said = self._unsaid = 0

    def __bool__(self) -> bool:
        """Says whether gaps are held back."""
        return bool(self._held)

    def since_ns(self) -> Nanoseconds | None:
        """Returns when the first gap that is held back begins. Everything before that is finished."""
        return min((gap.from_ns for gap in self._held.values()), default=None)

    def take(self, gaps: Iterable[Gap], *, now_s: float, ends: bool = False) -> list[Gap]:
        """Takes gaps. Returns the gaps to store now; with `ends` all that are held back too."""
        ready = []
        for gap in gaps:
            if gap.reason in _APART:
                ready.append(gap)
                continue
            if (kind := (gap.host, gap.reason, gap.uid)) not in self._last and len(self._last) >= _MOST_KINDS:
                kind = gap.host, gap.reason, None
            if kind not in self._last:
                self._last[kind] = now_s
                ready.append(gap)
            else:
                before = self._held.get(kind)
                self._held[kind] = gap if before is None else union(before, gap)
        for kind, at in list(self._last.items()):
            if ends or now_s - at >= _JOIN_SECONDS:
                held = self._held.pop(kind, None)
                if held is None:
                    del self._last[kind]
                else:
                    self._last[kind] = now_s
                    ready.append(held)
        self._say(ready, now_s, ends=ends)
        return ready

    def _say(self, gaps: Iterable[Gap], now_s: float, *, ends: bool) -> None:
        """Logs some lines a minute, and then how many were left out."""
        if self._unsaid and (ends or now_s - self._minute >= _LINES_SECONDS):
            log.warning("gap_lines_left_out", lines=self._unsaid)
            self._unsaid = 0
        if now_s - self._minute >= _LINES_SECONDS:
            self._minute, self._said = now_s, 0
        for gap in gaps:
            if self._said >= _LINES:
                self._unsaid += 1
                continue
            self._said += 1
            whose = {} if gap.uid is None else {"uid": gap.uid}
            log.warning("execs_missed", count=gap.count, exits=gap.exits, reason=gap.reason.value, **whose)
