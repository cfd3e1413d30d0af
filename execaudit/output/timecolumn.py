"""The column of times in a table: the header shows the zone's offset, and so does a row where it changes."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import TYPE_CHECKING

from execaudit.times import zone_text

if TYPE_CHECKING:
    from datetime import tzinfo

_SECOND = 1_000_000_000
# Zones change their offset only at multiples of this in UTC (in the last fifty years, at least).
_STEP_SECONDS = 900
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class TimeColumn:
    """Writes times of a zone, in the order of the rows; None is the system's zone."""

    def __init__(self, zone: tzinfo | None, *, now_ns: int) -> None:
        """The header has the present offset."""
        self._zone = zone
        self.zone_name = offset_text(now_ns, zone)
        self._shown = self.zone_name

    def text(self, time_ns: int) -> str:
        """Returns a time, to milliseconds, with its offset if the previous time had another one."""
        return zone_text(time_ns, self._zone) + self.suffix(time_ns)

    def suffix(self, time_ns: int) -> str:
        """Returns the offset to write after a time; nothing if the previous time had the same offset."""
        offset = offset_text(time_ns, self._zone)
        if offset == self._shown:
            return ""
        self._shown = offset
        return f" {offset}"


def offset_text(time_ns: int, zone: tzinfo | None) -> str:
    """Returns the offset of a zone from UTC at a moment: `+01:00`, or `UTC`."""
    return _offset(time_ns // _SECOND // _STEP_SECONDS, zone)


@lru_cache(maxsize=256)
def _offset(step: int, zone: tzinfo | None) -> str:
    moment = (_EPOCH + timedelta(seconds=step * _STEP_SECONDS)).astimezone(zone)
    if not moment.utcoffset():
        return "UTC"
    digits = f"{moment:%z}"
    return f"{digits[:3]}:{digits[3:]}"
