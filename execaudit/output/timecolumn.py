"""The column of times in a table: the header shows the zone's offset, and so does a row where it changes."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from enum import Enum, auto
from functools import lru_cache
from typing import TYPE_CHECKING

from execaudit.times import zone_text

if TYPE_CHECKING:
    from datetime import tzinfo

_SECOND = 1_000_000_000
# Zones change their offset only at multiples of this in UTC (in the last fifty years, at least).
_STEP_SECONDS = 900
# The length of the parts of a time's text.
_YEAR, _DAY, _SECONDS, _WHOLE = (
    len("2026-"),
    len("2026-11-22 "),
    len("2026-11-22 14:05:07"),
    len("2026-11-22 14:05:07.123"),
)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Shown(Enum):
    """How much of a time is shown. What is left out stands in the header, and where it differs."""

    ALL = auto()
    """`2026-11-22 14:05:07.123`"""
    OF_YEAR = auto()
    """`11-22 14:05:07.123`"""
    OF_DAY = auto()
    """`14:05:07.123`"""


class TimeColumn:
    """Writes times of a zone, in the order of the rows; None is the system's zone."""

    def __init__(self, zone: tzinfo | None, *, now_ns: int) -> None:
        """The header has the present offset."""
        self._zone = zone
        self.zone_name = offset_text(now_ns, zone)
        self._shown = self.zone_name
        self._left_out, self._end = "", _WHOLE

    def shorten(self, from_ns: int, to_ns: int, *, most: Shown = Shown.OF_DAY, seconds: bool = False) -> None:
        """Leaves out what all times between these two have in common: the day, or the year.

        Of `most`, no more is left out. With `seconds`, what is below a second is left out too.
        """
        first, last = zone_text(from_ns, self._zone), zone_text(to_ns, self._zone)
        length = 0
        if most is Shown.OF_DAY and first[:_DAY] == last[:_DAY]:
            length = _DAY
        elif most is not Shown.ALL and first[:_YEAR] == last[:_YEAR]:
            length = _YEAR
        self._left_out = first[:length]
        self._end = _SECONDS if seconds else _WHOLE

    @property
    def title(self) -> str:
        """What stands above the times: `TIME UTC`, or what is left out of them: `2026-11-22 UTC`."""
        return f"{self._left_out[:-1] or 'TIME'} {self.zone_name}"

    @property
    def width(self) -> int:
        """How many columns a time takes."""
        return self._end - len(self._left_out)

    def text(self, time_ns: int) -> str:
        """Returns a time, to milliseconds, with its offset if the previous time had another one."""
        text = zone_text(time_ns, self._zone)
        start = len(self._left_out) if text.startswith(self._left_out) else 0
        return text[start : self._end] + self.suffix(time_ns)

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
