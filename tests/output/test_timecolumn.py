"""A table says its zone once, and the offset again where it changes."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from execaudit.output.timecolumn import TimeColumn

_BERLIN = ZoneInfo("Europe/Berlin")
# The clocks there go from 03:00 back to 02:00 at this moment.
_BACK = datetime(2026, 10, 25, 1, tzinfo=timezone.utc)
_HOUR = timedelta(hours=1)


def ns(moment: datetime) -> int:
    """Returns nanoseconds since 1970."""
    return int(moment.timestamp()) * 1_000_000_000


def test_the_offset_stands_where_it_changes() -> None:
    """Times across the end of summer time; the head has the offset of winter."""
    column = TimeColumn(_BERLIN, now_ns=ns(_BACK + 24 * _HOUR))
    half = _HOUR / 2
    shown = [
        column.text(ns(moment))
        for moment in (_BACK - half - _HOUR, _BACK - half, _BACK + half, _BACK + 2 * _HOUR)
    ]

    assert column.zone_name == "+01:00"
    assert shown == [
        "2026-10-25 01:30:00.000 +02:00",
        "2026-10-25 02:30:00.000",
        "2026-10-25 02:30:00.000 +01:00",
        "2026-10-25 04:00:00.000",
    ]


def test_utc_has_its_name_and_nothing_beside_its_times() -> None:
    """As on most servers."""
    column = TimeColumn(timezone.utc, now_ns=ns(_BACK))

    assert (column.zone_name, column.text(ns(_BACK))) == ("UTC", "2026-10-25 01:00:00.000")
