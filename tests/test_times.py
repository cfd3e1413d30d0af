"""The time grammar: what people write, what records have, and what is refused."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from execaudit.errors import FilterError
from execaudit.times import parse_duration, parse_time, utc_text, zone_text

if TYPE_CHECKING:
    from collections.abc import Iterator

LATEST = 2**63 - 1
# 2026-11-22 14:05:07.123456 in Berlin.
NOW = datetime(2026, 11, 22, 13, 5, 7, 123456, tzinfo=timezone.utc)
SECOND = 1_000_000_000
UNITS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
# Half an hour of summer time, no full hours, midnight skipped, seconds of local mean time.
ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "America/Sao_Paulo",
    "Africa/Monrovia",
]


@contextmanager
def system_zone(name: str) -> Iterator[None]:
    """Makes a zone the system's for a while."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = name
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("now", "2026-11-22T13:05:07.123456000Z"),
        (" now\n", "2026-11-22T13:05:07.123456000Z"),
        ("today", "2026-11-21T23:00:00.000000000Z"),
        ("yesterday", "2026-11-20T23:00:00.000000000Z"),
        ("90s", "2026-11-22T13:03:37.123456000Z"),
        ("15min", "2026-11-22T12:50:07.123456000Z"),
        ("1h30min", "2026-11-22T11:35:07.123456000Z"),
        ("3w", "2026-11-01T13:05:07.123456000Z"),
        ("1 minute ago", "2026-11-22T13:04:07.123456000Z"),
        ("15min ago", "2026-11-22T12:50:07.123456000Z"),
        ("5 min", "2026-11-22T13:00:07.123456000Z"),
        ("1 hour 30 minutes", "2026-11-22T11:35:07.123456000Z"),
        ("1day2hrs ago", "2026-11-21T11:05:07.123456000Z"),
        ("2026-07-22", "2026-07-21T22:00:00.000000000Z"),
        ("14:05", "2026-11-22T13:05:00.000000000Z"),
        ("9:05:07", "2026-11-22T08:05:07.000000000Z"),
        ("2026-07-22 14:05", "2026-07-22T12:05:00.000000000Z"),
        ("2026-11-22T14:05:07", "2026-11-22T13:05:07.000000000Z"),
        ("2026-11-22 14:05:07.5", "2026-11-22T13:05:07.500000000Z"),
        ("2026-11-22T14:05:07.123456789Z", "2026-11-22T14:05:07.123456789Z"),
        ("2026-11-22T14:05:07+05:30", "2026-11-22T08:35:07.000000000Z"),
        ("2026-11-22 14:05:07 -0800", "2026-11-22T22:05:07.000000000Z"),
        ("23:30-12:00", "2026-11-23T11:30:00.000000000Z"),
        ("01:00+14:00", "2026-11-22T11:00:00.000000000Z"),
        ("2026-11-27 01:14:26 UTC", "2026-11-27T01:14:26.000000000Z"),
        ("14:05 UTC", "2026-11-22T14:05:00.000000000Z"),
        ("@1795370919", "2026-11-22T18:08:39.000000000Z"),
        ("@1795370919.000000001", "2026-11-22T18:08:39.000000001Z"),
    ],
)
def test_each_form_names_its_moment(text: str, utc: str) -> None:
    """Every form of the grammar names the moment that it says, in Berlin's winter."""
    with system_zone("Europe/Berlin"):
        found = parse_time(text, now=NOW)

    assert utc == utc_text(found)


def test_today_is_the_users_day() -> None:
    """Shortly before midnight UTC, today is already tomorrow's date in the east."""
    with system_zone("Asia/Tokyo"):
        found = parse_time("today", now=datetime(2026, 11, 22, 20, 0, tzinfo=timezone.utc))

    assert "2026-11-22T15:00:00.000000000Z" == utc_text(found)


@pytest.mark.parametrize(
    ("zone", "text", "utc"),
    [
        ("Europe/Berlin", "2026-10-25 02:30", "2026-10-25T00:30:00.000000000Z"),
        ("Europe/Berlin", "2026-10-25 02:30+01:00", "2026-10-25T01:30:00.000000000Z"),
        ("Europe/Berlin", "2026-03-29 02:30", "2026-03-29T01:30:00.000000000Z"),
        ("Europe/Berlin", "2026-03-29 03:30", "2026-03-29T01:30:00.000000000Z"),
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00.000000000Z"),
    ],
)
def test_changes_of_the_clock_are_resolved(zone: str, text: str, utc: str) -> None:
    """An hour that comes twice means the first, one that never comes is counted on."""
    with system_zone(zone):
        found = parse_time(text, now=NOW)

    assert utc == utc_text(found)


@given(st.integers(0, LATEST))
@example(0)
@example(LATEST)
def test_the_time_of_a_record_can_be_pasted(time_ns: int) -> None:
    """What a record says is the same nanosecond when it is given to --since."""
    assert time_ns == parse_time(utc_text(time_ns), now=NOW)


@given(st.integers(0, LATEST), st.integers(-23 * 60 - 59, 23 * 60 + 59), st.sampled_from(["", ":"]))
def test_a_zone_is_counted_exactly(time_ns: int, minutes: int, colon: str) -> None:
    """The same moment written in any zone is the same nanosecond."""
    east = timezone(timedelta(minutes=minutes))
    local = datetime.fromtimestamp(time_ns // SECOND, east)
    offset = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}{colon}{abs(minutes) % 60:02d}"

    assert time_ns == parse_time(f"{local:%Y-%m-%dT%H:%M:%S}.{time_ns % SECOND:09d}{offset}", now=NOW)


@given(st.integers(0, LATEST))
def test_seconds_since_1970_are_exact(time_ns: int) -> None:
    """@seconds.fraction never goes through a float."""
    assert time_ns == parse_time(f"@{time_ns // SECOND}.{time_ns % SECOND:09d}", now=NOW)


@given(st.integers(0, LATEST), st.sampled_from(ZONES))
@example(1792891800 * SECOND, "Europe/Berlin")
def test_a_local_time_that_was_shown_can_be_pasted(time_ns: int, zone: str) -> None:
    """What a table shows names a moment that the table shows the same, the earlier if there are two."""
    with system_zone(zone):
        shown = zone_text(time_ns, None)
        found = parse_time(shown, now=NOW)
        again = zone_text(found, None)

    assert shown == again
    assert found <= time_ns


@given(
    st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2262, 1, 1)),  # noqa: DTZ001 - local times
    st.sampled_from(ZONES),
)
def test_no_local_time_is_refused(local: datetime, zone: str) -> None:
    """Local times that come twice or never are moments too, at most a day from UTC's."""
    with system_zone(zone):
        found = parse_time(f"{local:%Y-%m-%d %H:%M:%S}", now=NOW)

    utc = int(local.replace(microsecond=0, tzinfo=timezone.utc).timestamp()) * SECOND
    assert abs(found - utc) < 86_400 * SECOND


@given(st.lists(st.tuples(st.integers(0, 99), st.sampled_from(sorted(UNITS))), min_size=1, max_size=20))
def test_durations_add_up(parts: list[tuple[int, str]]) -> None:
    """A compound duration is the sum of its parts."""
    expected = sum(count * UNITS[unit] for count, unit in parts) * SECOND

    for between in ("", " "):
        text = between.join(f"{count}{between}{unit}" for count, unit in parts)
        assert expected == parse_duration(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not understood"),
        ("tomorrow", "not understood"),
        ("90", "not understood"),
        ("-1h", "not understood"),
        ("1h foo", "not understood"),
        ("ago", "not understood"),
        ("now ago", "not understood"),
        ("5 minutesago", "not understood"),
        ("1 minutely", "not understood"),
        ("2026-11-27 01:14:26 CET", "not understood"),
        ("1.5h", "not understood"),
        ("٩s", "not understood"),
        ("99999-01-01", "not understood"),
        ("2026-11-22 14:05:07.1234567890", "not understood"),
        ("2026-11-22Z", "not understood"),
        ("2026-13-01", "does not exist (month"),
        ("2026-02-29", "does not exist (day"),
        ("0000-01-01", "does not exist (year"),
        ("24:00", "does not exist (hour"),
        ("14:05:60", "does not exist (second"),
        ("2026-11-22 14:05+24:00", "does not exist (hour"),
        ("2026-11-22 14:05+01:60", "does not exist (minute"),
        ("9000-12-31 23:59:59", "after 2262"),
        ("9999-12-31 23:59:59", "year 10000 is out of range"),
        ("9999-12-31 23:59:59-23:59", "after 2262"),
        ("0002-01-01", "before 1970"),
        ("0001-01-01", "year 0 is out of range"),
        ("0001-01-01 00:00+23:59", "before 1970"),
        ("1969-12-31T23:59:59.999999999Z", "before 1970"),
        ("9999999999d", "before 1970"),
        ("9" * 5000 + "w", "before 1970"),
        ("@-1", "before 1970"),
        ("@-0.000000001", "before 1970"),
        ("@9223372036.854775808", "after 2262"),
        ("@" + "9" * 5000, "after 2262"),
    ],
)
def test_what_is_no_time_is_explained(text: str, why: str) -> None:
    """A wrong time is refused in one line with the reason and right examples."""
    with pytest.raises(FilterError) as refused, system_zone("Europe/Berlin"):
        parse_time(text, now=NOW)

    message = str(refused.value)
    assert why in message
    assert "2026-11-22 14:05" in message
    assert message.isprintable()
    assert len(message) < 250


@pytest.mark.parametrize(
    "text", ["", "now", "90", "h", "1  h", "1h ago", "1h  2min", "1.5h", "1y", "15251w", "9" * 5000 + "s"]
)
def test_what_is_no_duration_is_explained(text: str) -> None:
    """A wrong duration is refused in one line with right examples."""
    with pytest.raises(FilterError, match=r'^the duration ".*" is .*: try 90s, 15min or 1h30min$'):
        parse_duration(text)


TOKENS = [*"159-:. TZ+@hw\x1b", "2026", "9999", "0000", "min", "now"]


@given(st.text() | st.lists(st.sampled_from(TOKENS)).map("".join))
@example("@1")
def test_any_text_is_a_time_or_refused(text: str) -> None:
    """Whatever is typed gives a signed 64-bit moment since 1970 or a one-line FilterError."""
    found, refused = 0, ""
    try:
        found = parse_time(text, now=NOW)
    except FilterError as exc:
        refused = str(exc)

    assert 0 <= found <= LATEST
    assert refused.isprintable()


def test_terminal_escapes_in_a_wrong_time_are_shown_not_obeyed() -> None:
    """An error message is as safe to show as the table."""
    with pytest.raises(FilterError, match=r'the time "\\x1b\[31m" is not understood'):
        parse_time("\x1b[31m", now=NOW)


@pytest.mark.parametrize(
    ("time_ns", "shown"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (1_795_356_307_000_000_001, "2026-11-22T14:05:07.000000001Z"),
        (253_402_300_799_999_999_999, "9999-12-31T23:59:59.999999999Z"),
    ],
)
def test_record_times_have_nine_digits(time_ns: int, shown: str) -> None:
    """The fraction of a record's time always has nine digits, to the end of the year 9999."""
    assert shown == utc_text(time_ns)


def test_shown_times_are_cut_not_rounded() -> None:
    """Milliseconds for people never name a moment that is still to come."""
    assert "2026-11-22 14:05:07.123" == zone_text(1_795_356_307_123_999_999, timezone.utc)


def test_a_local_time_that_comes_twice() -> None:
    """Is the first for what begins a range, and the second for what ends it: so nothing is left out."""
    with system_zone("Europe/Berlin"):
        first = parse_time("2026-10-25 02:30", now=NOW)
        second = parse_time("2026-10-25 02:30", now=NOW, last=True)

    assert utc_text(first) == "2026-10-25T00:30:00.000000000Z"
    assert second - first == 3600 * SECOND
