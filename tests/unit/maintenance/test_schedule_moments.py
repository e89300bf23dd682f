"""The moments of a schedule, held against a clock on the wall that is read minute by minute."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from functools import cache
from zoneinfo import TZPATH, ZoneInfo, available_timezones, reset_tzpath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rei_core.maintenance.resources import Schedule
from rei_core.maintenance.schedule import following_moment, latest_moment

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
# Reading a wall clock minute by minute for days takes its time.
THOROUGH = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
ZONES = (
    "UTC",
    "Europe/Moscow",  # changed for good in 2011 and 2014
    "Europe/Berlin",
    "Europe/London",
    "America/New_York",
    "America/St_Johns",  # half an hour off
    "America/Havana",  # midnight happens twice
    "America/Sao_Paulo",  # midnight was left out until 2018
    "America/Santiago",
    "Africa/Cairo",  # midnight is left out
    "Africa/Casablanca",  # changes around Ramadan
    "Asia/Beirut",  # midnight is left out
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Asia/Gaza",
    "Antarctica/Troll",  # changes by two hours
    "Australia/Lord_Howe",  # changes by half an hour
    "Pacific/Chatham",
    "Pacific/Apia",  # left out a whole day in 2011
)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@cache
def changes(zone_name: str) -> tuple[datetime, ...]:
    """The hours from 2008 to 2030 in which a zone changes its clocks."""
    zone = ZoneInfo(zone_name)
    days = [utc("2008-01-01") + n * DAY for n in range(22 * 366)]
    return tuple(
        hour
        for day in days
        if _offset(zone, day) != _offset(zone, day + DAY)
        for hour in (day + n * HOUR for n in range(24))
        if _offset(zone, hour) != _offset(zone, hour + HOUR)
    )


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta | None:
    return moment.astimezone(zone).utcoffset()


@st.composite
def around_a_change(draw: st.DrawFn) -> tuple[str, datetime]:
    """A zone and a moment, most often within two days of a change of its clocks."""
    zone = draw(st.sampled_from(ZONES))
    offset = timedelta(minutes=draw(st.integers(-2880, 2880)))
    anywhere = draw(st.integers(0, 9)) == 0
    if changes(zone) and not anywhere:
        return zone, draw(st.sampled_from(changes(zone))) + offset
    return zone, utc("2008-01-01") + draw(st.integers(0, 22 * 365 * 24 * 60)) * MINUTE


def minutes(start: datetime, end: datetime) -> list[datetime]:
    return [start + n * MINUTE for n in range((end - start) // MINUTE)]


def at_fixed_times(
    zone: ZoneInfo, times: set[tuple[int, int]], start: datetime, end: datetime
) -> list[datetime]:
    """For each time of each day, the first minute at which the clock on the wall shows it or
    more: the first of two equal times, and after a gap the first moment."""
    walls = [
        (moment, moment.astimezone(zone).replace(tzinfo=None))
        for moment in minutes(start - 3 * DAY, end)
    ]
    found = set()
    day = walls[0][1].date() + DAY
    while day <= walls[-1][1].date():
        for hour, minute in times:
            target = datetime.combine(day, time(hour, minute))
            first = next((moment for moment, wall in walls if wall >= target), None)
            if first is not None and start < first:
                found.add(first)
        day += DAY
    return sorted(found)


@THOROUGH
@given(
    where=around_a_change(),
    hours=st.sets(st.integers(0, 23), min_size=1, max_size=3),
    minutes_=st.sets(st.integers(0, 59), min_size=1, max_size=3),
    looks=st.lists(st.integers(0, 2 * 24 * 3600 - 1), min_size=1, max_size=10),
)
def test_a_fixed_time_comes_once_a_day(
    where: tuple[str, datetime], hours: set[int], minutes_: set[int], looks: list[int]
) -> None:
    zone, start = where
    cron = f"{','.join(map(str, sorted(minutes_)))} {','.join(map(str, sorted(hours)))} * * *"
    schedule = Schedule(schedule=cron, time_zone=zone)
    end = start + 2 * DAY
    expected = at_fixed_times(
        ZoneInfo(zone), {(hour, minute) for hour in hours for minute in minutes_}, start, end
    )

    moments = []
    moment = following_moment(schedule, start)
    while moment is not None and moment < end:
        moments.append(moment)
        moment = following_moment(schedule, moment)
    assert moments == expected

    for now in [*expected, *(start + timedelta(seconds=look) for look in looks)]:
        past = [moment for moment in expected if moment <= now]
        latest = latest_moment(schedule, now)
        assert latest is not None
        assert latest == past[-1] if past else latest <= start


@THOROUGH
@given(
    where=around_a_change(),
    cron=st.sampled_from(
        ["* * * * *", "*/10 * * * *", "0 * * * *", "*/30 * * * *", "15,45 * * * *", "30 */2 * * *"]
    ),
)
def test_what_has_a_star_follows_real_time(where: tuple[str, datetime], cron: str) -> None:
    zone, start = where
    schedule = Schedule(schedule=cron, time_zone=zone)
    end = start + timedelta(hours=12)
    minute_field, hour_field, *_ = cron.split()
    expected = [
        moment
        for moment in minutes(start + MINUTE, end)
        if _matches(minute_field, (wall := moment.astimezone(ZoneInfo(zone))).minute)
        and _matches(hour_field, wall.hour)
    ]

    moments = []
    moment = following_moment(schedule, start)
    while moment is not None and moment < end:
        moments.append(moment)
        moment = following_moment(schedule, moment)
    assert moments == expected
    if expected:
        assert latest_moment(schedule, end - timedelta(seconds=1)) == expected[-1]


def _matches(field: str, value: int) -> bool:
    if field.startswith("*/"):
        return value % int(field[2:]) == 0
    return field == "*" or value in map(int, field.split(","))


@pytest.mark.parametrize(
    ("zone", "cron", "after", "moments"),
    [
        # 2026-03-29: Berlin's clocks go from 02:00 to 03:00.
        (
            "Europe/Berlin",
            "30 2 * * *",
            "2026-03-28T12:00",
            ["2026-03-29T01:00", "2026-03-30T00:30"],
        ),
        (
            "Europe/Berlin",
            "0,30 2 * * *",
            "2026-03-28T12:00",
            ["2026-03-29T01:00", "2026-03-30T00:00"],
        ),
        (
            "Europe/Berlin",
            "0 3 * * *",
            "2026-03-28T12:00",
            ["2026-03-29T01:00", "2026-03-30T01:00"],
        ),
        # 2026-10-25: they go from 03:00 to 02:00.
        (
            "Europe/Berlin",
            "30 2 * * *",
            "2026-10-24T12:00",
            ["2026-10-25T00:30", "2026-10-26T01:30"],
        ),
        ("Europe/Berlin", "30 2 * * *", "2026-10-25T01:15", ["2026-10-26T01:30"]),
        (
            "America/Havana",
            "30 0 * * *",
            "2026-10-31T12:00",
            ["2026-11-01T04:30", "2026-11-02T05:30"],
        ),
        ("Australia/Lord_Howe", "15 2 * * *", "2026-10-03T00:00", ["2026-10-03T15:30"]),
        (
            "Pacific/Apia",
            "0 12 * * *",
            "2011-12-29T23:00",
            ["2011-12-30T10:00", "2011-12-30T22:00"],
        ),
        (None, "0 0 29 2 *", "2026-01-01T00:00", ["2028-02-29T00:00", "2032-02-29T00:00"]),
        (None, "0 4 * * MON", "2026-11-24T00:00", ["2026-11-30T04:00", "2026-12-07T04:00"]),
        (None, "0 4 L * *", "2026-02-01T00:00", ["2026-02-28T04:00", "2026-03-31T04:00"]),
    ],
)
def test_days_on_which_clocks_change(
    zone: str | None, cron: str, after: str, moments: list[str]
) -> None:
    schedule = Schedule(schedule=cron, time_zone=zone)
    moment: datetime | None = utc(after)
    for expected in moments:
        assert moment is not None
        moment = following_moment(schedule, moment)
        assert moment == utc(expected)
        assert latest_moment(schedule, utc(expected)) == utc(expected)


def test_an_hour_that_comes_twice_has_its_run_behind_it_the_second_time() -> None:
    schedule = Schedule(schedule="30 2 * * *", time_zone="Europe/Berlin")
    for now in ("2026-10-25T00:30", "2026-10-25T00:59", "2026-10-25T01:15", "2026-10-25T01:45"):
        assert latest_moment(schedule, utc(now)) == utc("2026-10-25T00:30")


def test_zones_are_known_on_a_machine_that_has_none() -> None:
    before = TZPATH
    reset_tzpath(to=[])
    try:
        assert set(ZONES) <= available_timezones()
        noon = utc("2026-11-24T12:00").astimezone(ZoneInfo.no_cache("Europe/Moscow"))
        assert noon.utcoffset() == timedelta(hours=3)
    finally:
        reset_tzpath(to=before)


@given(
    period=st.integers(10, 2_678_400),
    seconds=st.integers(0, 4_000_000_000),
)
def test_periods_are_multiples_since_1970(period: int, seconds: int) -> None:
    schedule = Schedule(period_seconds=period)
    now = datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=7)
    latest, following = latest_moment(schedule, now), following_moment(schedule, now)
    assert latest is not None
    assert following is not None
    assert latest <= now < following
    assert following - latest == timedelta(seconds=period)
    assert int(latest.timestamp()) % period == 0
