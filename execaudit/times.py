"""Read and write times and durations as people and records do. Pure, except for the system's time zone."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta, timezone
from functools import lru_cache
from typing import TYPE_CHECKING

from execaudit.errors import FilterError
from execaudit.escaping import printable
from execaudit.event import Nanoseconds

if TYPE_CHECKING:
    from datetime import tzinfo

_SECOND, _DAY_SECONDS = 1_000_000_000, 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LATEST = 2**63 - 1  # the largest SQL INTEGER: in the year 2262
_UNITS = {
    name: seconds
    for seconds, names in (
        (1, "s sec secs second seconds"),
        (60, "m min mins minute minutes"),
        (3600, "h hr hrs hour hours"),
        (86_400, "d day days"),
        (604_800, "w week weeks"),
    )
    for name in names.split()
}

# Compiled when they are used: most commands are given no time, and compiling takes a millisecond.
_DURATION = rf"(?:[0-9]+ ?(?:{'|'.join(sorted(_UNITS, key=len, reverse=True))})(?: (?=[0-9])|(?![a-z])))+"
_DURATION_PART = r"([0-9]+) ?([a-z]+)"
_AT = r"@(-?)([0-9]+)(?:\.([0-9]{1,9}))?"
_DATE = r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
_CLOCK = (
    r"(?:([0-9]{4})-([0-9]{2})-([0-9]{2})[ T])?"
    r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?"
    r"(?: ?(Z|UTC|([+-])([0-9]{2}):?([0-9]{2})))?"
)
# A longer number is out of range, and int() raises an error of its own for more than 4300 digits.
_MOST_DIGITS = 18
_MOST_SHOWN = 40

_TIME_EXAMPLES = 'try 15min, yesterday, "2026-11-22 14:05" or @1795370919'
_FINER = re.compile(r"([0-9]{1,18})(ms|us|ns)")
_FINER_UNITS = {"ms": 1_000_000, "us": 1000, "ns": 1}
_DURATION_EXAMPLES = "try 90s, 15min or 1h30min"


def parse_time(text: str, *, now: datetime, last: bool = False) -> Nanoseconds:
    """Returns the moment that `text` names, in nanoseconds since 1970 UTC; it fits into 64 bits.

    `now` has a time zone. A time without a zone is in the system's. Where clocks were set back, a
    time that occurs twice means the first moment, or with `last` the second. Where they were set
    forward, a time that was skipped means as much later (02:30 is 03:30). Raises FilterError.
    """
    stripped = text.strip()
    try:
        found = _moment(stripped, now, fold=int(last))
    except (ValueError, OverflowError) as exc:  # of datetime: month 13, second 60, year 0
        raise _wrong("time", text, f"does not exist ({exc})", _TIME_EXAMPLES) from exc
    if found is None:
        raise _wrong("time", text, "is not understood", _TIME_EXAMPLES)
    if found < 0:
        raise _wrong("time", text, "is before 1970", _TIME_EXAMPLES)
    if found > _LATEST:
        raise _wrong("time", text, "is after 2262", _TIME_EXAMPLES)
    return Nanoseconds(found)


def parse_duration(text: str) -> Nanoseconds:
    """Returns the length of time that `text` names (`90s`, `1h30min`, `2 hours`); it fits into 64 bits.

    Units are seconds to weeks, also abbreviated; a day has 24 hours. Alone also `ms`, `us` and `ns`.
    Raises FilterError.
    """
    finer = _FINER.fullmatch(text.strip())
    length = int(finer[1]) * _FINER_UNITS[finer[2]] if finer else _duration(text.strip())
    if length is None:
        raise _wrong("duration", text, "is not understood", _DURATION_EXAMPLES)
    if length > _LATEST:
        raise _wrong("duration", text, "is longer than 292 years", _DURATION_EXAMPLES)
    return Nanoseconds(length)


def utc_text(time_ns: int) -> str:
    """Returns a moment as records show it: `2026-11-22T14:05:07.123456789Z`."""
    second, fraction = divmod(time_ns, _SECOND)
    return f"{utc_second(second)}{fraction:09d}Z"


def utc_ns(text: str) -> Nanoseconds:
    """Returns the moment of what utc_text() returned."""
    second = datetime.fromisoformat(f"{text[:-11]}+00:00")
    return Nanoseconds(_since_epoch(second) + int(text[-10:-1]))


def zone_text(time_ns: int, zone: tzinfo | None) -> str:
    """Returns a moment as people read it, cut to milliseconds: `2026-11-22 14:05:07.123`.

    In `zone`; None is the system's.
    """
    second, fraction = divmod(time_ns, _SECOND)
    shown = datetime.fromtimestamp(second, zone)
    return f"{shown:%Y-%m-%d %H:%M:%S}.{fraction // 1_000_000:03d}"


@lru_cache(maxsize=256)
def utc_second(second: int) -> str:
    """Returns the beginning of a moment's text, from seconds since 1970: `2026-11-22T14:05:07.`."""
    # The day is formatted once: a busy minute is in many seconds.
    day, rest = divmod(second, _DAY_SECONDS)
    return f"{utc_day(day)}T{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}."


@lru_cache(maxsize=16)
def utc_day(day: int) -> str:
    """Returns the date of a moment's text, from days since 1970: `2026-11-22`."""
    return f"{(_EPOCH + timedelta(days=day)):%Y-%m-%d}"


def _moment(text: str, now: datetime, *, fold: int) -> int | None:
    """Returns nanoseconds since 1970, in range or not; None if the text is not a time."""
    if text == "now":
        return _since_epoch(now)
    ago = _duration(text.removesuffix(" ago"))
    if ago is not None:
        return _since_epoch(now) - ago
    if at := re.fullmatch(_AT, text):
        sign, seconds, fraction = at.groups()
        since = _number(seconds) * _SECOND + _fraction(fraction)
        return -since if sign else since
    if day := _day(text, now):
        return _in_system_zone(datetime.combine(day, time()), fold)
    clock = re.fullmatch(_CLOCK, text)
    return _clock_moment(clock, now, fold) if clock else None


def _day(text: str, now: datetime) -> date | None:
    if text in ("today", "yesterday"):
        return now.astimezone().date() - timedelta(days=text == "yesterday")
    named = re.fullmatch(_DATE, text)
    return date(*map(int, named.groups())) if named else None


def _clock_moment(clock: re.Match[str], now: datetime, fold: int) -> int:
    year, month, day, hour, minute, second, fraction, utc, sign, zone_hours, zone_minutes = clock.groups()
    zone = None
    if utc:
        zone = timezone.utc if utc in ("Z", "UTC") else _offset(sign, int(zone_hours), int(zone_minutes))
    on = date(int(year), int(month), int(day)) if year else now.astimezone(zone).date()
    shown = datetime.combine(on, time(int(hour), int(minute), int(second or 0)), zone)
    return (_since_epoch(shown) if zone else _in_system_zone(shown, fold)) + _fraction(fraction)


def _offset(sign: str, hours: int, minutes: int) -> timezone:
    at = time(hours, minutes)  # refuses 24 hours and 60 minutes
    east = timedelta(hours=at.hour, minutes=at.minute)
    return timezone(-east if sign == "-" else east)


def _duration(text: str) -> int | None:
    if not re.fullmatch(_DURATION, text):
        return None
    return sum(_number(count) * _UNITS[unit] for count, unit in re.findall(_DURATION_PART, text)) * _SECOND


def _number(digits: str) -> int:
    """Returns an integer; for one with too many digits, another that is out of range as well."""
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS


def _fraction(digits: str | None) -> int:
    return int(digits.ljust(9, "0")) if digits else 0


def _since_epoch(moment: datetime) -> int:
    """Returns nanoseconds since 1970. A datetime has microseconds, and none is lost."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def _in_system_zone(local: datetime, fold: int) -> int:
    """Returns nanoseconds since 1970 of a time without zone and fraction. `fold` 1: the second of two."""
    # Not astimezone(): it makes 01:30 of a 02:30 that was skipped, and the day before of a midnight that
    # was. Whole seconds are exact in a float.
    first, second = int(local.timestamp()), int(local.replace(fold=1).timestamp())
    # For a skipped time, fold=1 gives the earlier moment.
    return (max(first, second) if fold else first) * _SECOND


def _wrong(what: str, text: str, why: str, examples: str) -> FilterError:
    shown = printable(text)
    if len(shown) > _MOST_SHOWN:
        shown = shown[:_MOST_SHOWN] + "..."
    return FilterError(f'the {what} "{shown}" {why}', fix=examples)
