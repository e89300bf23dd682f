"""When a run is due: outages, suspension, requests, deadlines, wrong clocks, two operators."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rei_core.maintenance.resources import Schedule
from rei_core.maintenance.schedule import (
    Cause,
    Due,
    RequestError,
    Wait,
    decide,
    last_scheduled_of,
    request_time,
)

MICROSECOND = timedelta(microseconds=1)
NIGHTLY = Schedule(schedule="0 3 * * *", time_zone="Europe/Moscow")  # midnight UTC
IMPATIENT = Schedule(schedule="0 0 * * *", starting_deadline_seconds=3600)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


CREATED = at("2026-11-01T12:00")


@dataclass(frozen=True)
class Case:
    """What is known, and what follows from it."""

    title: str
    now: str
    expected: Due | Wait
    schedule: Schedule = NIGHTLY
    last: str | None = None
    suspended: bool = False
    requested: str | None = None
    handled: str | None = None
    created: datetime = CREATED


def due(moment: str) -> Due:
    return Due(at(moment), Cause.SCHEDULE)


def requested(moment: str) -> Due:
    return Due(at(moment) + MICROSECOND, Cause.REQUEST)


def wait(moment: str | None, *, missed: str | None = None) -> Wait:
    return Wait(at(moment) if moment else None, at(missed) if missed else None)


CASES = [
    Case("a new one waits for its first moment", "2026-11-01T12:00:01", wait("2026-11-02T00:00")),
    Case("its first moment has come", "2026-11-02T00:00", due("2026-11-02T00:00")),
    Case("somebody looked late", "2026-11-02T05:59", due("2026-11-02T00:00")),
    Case(
        "it has run",
        "2026-11-02T05:59",
        wait("2026-11-03T00:00"),
        last="2026-11-02T00:00",
    ),
    Case(
        "30 days of outage are made up for by one run",
        "2026-12-02T10:00",
        due("2026-12-02T00:00"),
        last="2026-11-02T00:00",
    ),
    Case(
        "after which the next one is waited for",
        "2026-12-02T10:01",
        wait("2026-12-03T00:00"),
        last="2026-12-02T00:00",
    ),
    Case(
        "just in time",
        "2026-11-02T01:00",
        due("2026-11-02T00:00"),
        schedule=IMPATIENT,
    ),
    Case(
        "too late is left out",
        "2026-11-02T01:00:01",
        wait("2026-11-03T00:00", missed="2026-11-02T00:00"),
        schedule=IMPATIENT,
    ),
    Case(
        "what has run is not missed",
        "2026-11-02T01:00:01",
        wait("2026-11-03T00:00"),
        schedule=IMPATIENT,
        last="2026-11-02T00:00",
    ),
    Case("suspended", "2026-12-02T10:00", wait(None), suspended=True),
    Case(
        "a request is answered",
        "2026-11-02T05:59",
        requested("2026-11-02T05:58"),
        last="2026-11-02T00:00",
        requested="2026-11-02T05:58",
    ),
    Case(
        "a request is answered while suspended",
        "2026-11-02T05:59",
        requested("2026-11-02T05:58"),
        suspended=True,
        requested="2026-11-02T05:58",
    ),
    Case(
        "a request is answered once",
        "2026-11-02T05:59",
        wait("2026-11-03T00:00"),
        last="2026-11-02T05:58",
        requested="2026-11-02T05:58",
        handled="2026-11-02T05:58",
    ),
    Case(
        "a request by a clock behind is a new one",
        "2026-11-02T05:59",
        requested("2026-11-01T05:58"),
        requested="2026-11-01T05:58",
        handled="2026-11-02T05:58",
    ),
    Case(
        "a request by a clock ahead does not wait",
        "2026-11-02T05:59",
        requested("2027-11-01T05:58"),
        requested="2027-11-01T05:58",
    ),
    Case(
        "a request at a moment of the schedule is another run",
        "2026-11-02T05:59",
        requested("2026-11-02T00:00"),
        last="2026-11-02T00:00",
        requested="2026-11-02T00:00",
    ),
    Case(
        "a request counts as the run that was missed",
        "2026-11-02T06:00",
        wait("2026-11-03T00:00"),
        last="2026-11-02T05:58",
        requested="2026-11-02T05:58",
        handled="2026-11-02T05:58",
    ),
    Case(
        "the clock went back: what has run is not due again",
        "2026-11-02T23:30",
        wait("2026-11-04T00:00"),
        last="2026-11-03T00:00",
    ),
    Case(
        "the clock was wrong by a year: nobody waits for a year",
        "2026-11-02T05:00",
        due("2026-11-02T00:00"),
        last="2027-11-02T00:00",
    ),
    Case(
        "made just before the clock went back",
        "2026-11-01T23:59",
        wait("2026-11-03T00:00"),
        created=at("2026-11-02T00:01"),
    ),
    Case(
        "made by a clock that was wrong",
        "2026-11-02T05:00",
        due("2026-11-02T00:00"),
        created=at("2027-11-02T00:01"),
    ),
    Case(
        "a period is due at its multiples",
        "2026-11-01T12:07",
        due("2026-11-01T12:05"),
        schedule=Schedule(period_seconds=300),
        last="2026-11-01T12:00",
    ),
    Case(
        "a period waits for the next multiple",
        "2026-11-01T12:07",
        wait("2026-11-01T12:10"),
        schedule=Schedule(period_seconds=300),
        last="2026-11-01T12:05",
    ),
    Case(
        "a schedule that was made earlier counts from its own moments",
        "2026-11-02T12:00",
        wait("2026-11-02T23:00"),
        schedule=Schedule(schedule="0 23 * * *"),
        last="2026-11-02T00:00",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_decide(case: Case) -> None:
    decision = decide(
        case.schedule,
        last_scheduled=at(case.last) if case.last else None,
        suspended=case.suspended,
        requested_at=at(case.requested) if case.requested else None,
        last_request_handled=at(case.handled) if case.handled else None,
        created_at=case.created,
        now=at(case.now),
    )
    assert decision == case.expected


@dataclass
class Life:
    """A resource, its runs as PostgreSQL keeps them, and operators that look at them."""

    schedule: Schedule
    now: datetime
    created_at: datetime = field(init=False)
    runs: dict[datetime, datetime] = field(default_factory=dict)
    requested_at: datetime | None = None
    handled: datetime | None = None

    def __post_init__(self) -> None:
        self.created_at = self.now

    def look(self, *, suspended: bool = False) -> Due | Wait:
        """What one operator does: decide, and begin the run if its key is free."""
        decision = self.decision(suspended=suspended)
        if isinstance(decision, Due):
            self.runs.setdefault(decision.scheduled_for, self.now)
            if decision.cause is Cause.REQUEST:
                self.handled = self.requested_at
        return decision

    def decision(self, *, suspended: bool = False) -> Due | Wait:
        return decide(
            self.schedule,
            last_scheduled=last_scheduled_of(self.runs, now=self.now),
            suspended=suspended,
            requested_at=self.requested_at,
            last_request_handled=self.handled,
            created_at=self.created_at,
            now=self.now,
        )


SCHEDULES = st.sampled_from(
    [
        NIGHTLY,
        Schedule(schedule="30 2 * * *", time_zone="Europe/Berlin"),
        Schedule(schedule="*/10 * * * *", time_zone="Australia/Lord_Howe"),
        Schedule(schedule="0 4 * * MON", time_zone="America/New_York"),
        Schedule(period_seconds=10),
        Schedule(period_seconds=86_400),
    ]
)
STEPS = st.one_of(
    st.timedeltas(timedelta(seconds=1), timedelta(hours=2)),
    st.timedeltas(timedelta(days=1), timedelta(days=40)),
)


@given(
    schedule=SCHEDULES,
    start=st.integers(0, 40_000_000),
    steps=st.lists(st.tuples(STEPS, st.booleans()), max_size=30),
)
def test_whatever_happens_a_step_adds_one_run_at_most(
    schedule: Schedule, start: int, steps: list[tuple[timedelta, bool]]
) -> None:
    life = Life(schedule, at("2025-01-01") + timedelta(seconds=start))
    for step, suspended in steps:
        life.now += step
        before = set(life.runs)
        first = life.look(suspended=suspended)
        second = life.look(suspended=suspended)

        new = set(life.runs) - before
        if suspended:
            assert (first, new) == (Wait(None), set())
            continue
        assert len(new) <= 1
        assert all(life.created_at < run <= life.now for run in new)
        assert all(run > max(before, default=life.created_at) for run in new)
        # What is due is begun at once, and then there is something to wait for.
        assert isinstance(second, Wait)
        assert second.next_at is not None
        assert second.next_at > life.now


@given(
    schedule=SCHEDULES,
    start=st.integers(0, 40_000_000),
    late=st.timedeltas(timedelta(0), timedelta(seconds=9)),
)
def test_two_operators_arrive_at_one_key(schedule: Schedule, start: int, late: timedelta) -> None:
    life = Life(schedule, at("2025-01-01") + timedelta(seconds=start))
    waiting = life.look()
    assert isinstance(waiting, Wait)
    assert waiting.next_at is not None
    life.now = waiting.next_at

    first = life.decision()
    life.now += late
    assert first == life.decision() == Due(waiting.next_at, Cause.SCHEDULE)


@given(
    schedule=SCHEDULES,
    start=st.integers(0, 40_000_000),
    jumps=st.lists(st.timedeltas(-timedelta(days=3), timedelta(days=3)), max_size=30),
)
def test_a_clock_that_jumps_runs_no_moment_twice_and_never_stops(
    schedule: Schedule, start: int, jumps: list[timedelta]
) -> None:
    life = Life(schedule, at("2025-01-01") + timedelta(seconds=start))
    for jump in jumps:
        life.now += jump
        began = dict(life.runs)
        life.look()
        assert began.items() <= life.runs.items()
    # However wrong it was, a run comes in the end: within the longest interval and the error.
    before = len(life.runs)
    life.now = max([life.now, life.created_at, *life.runs]) + timedelta(days=8)
    life.look()
    assert len(life.runs) == before + 1


@given(
    schedule=SCHEDULES,
    start=st.integers(0, 40_000_000),
    ahead=st.timedeltas(timedelta(minutes=-5), timedelta(days=500)),
    step=STEPS,
)
def test_a_request_that_names_another_time_holds_nothing_up(
    schedule: Schedule, start: int, ahead: timedelta, step: timedelta
) -> None:
    life = Life(schedule, at("2025-01-01") + timedelta(seconds=start))
    life.requested_at = life.now + ahead
    asked = life.look()
    assert isinstance(asked, Due)
    assert asked.cause is Cause.REQUEST

    life.now += step
    waiting = life.look()
    if isinstance(waiting, Due):
        waiting = life.look()
    assert isinstance(waiting, Wait)
    assert waiting.next_at is not None
    assert waiting.next_at > life.now
    life.now = waiting.next_at
    assert life.look() == Due(waiting.next_at, Cause.SCHEDULE)


def test_what_lies_ahead_says_nothing_about_what_is_due() -> None:
    now = at("2026-11-02T12:00")
    moments = [at("2026-11-02T11:00"), at("2026-11-02T12:30"), at("2026-11-02T13:00:01")]
    assert last_scheduled_of(moments, now=now) == at("2026-11-02T12:30")
    requests = [moment + MICROSECOND for moment in moments]
    assert last_scheduled_of(requests, now=now) == requests[0]
    assert last_scheduled_of([], now=now) is None


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-24T15:04:05Z", at("2026-11-24T15:04:05")),
        ("2026-11-24T18:04:05+03:00", at("2026-11-24T15:04:05")),
        ("2026-11-24 15:04:05.25+00:00", at("2026-11-24T15:04:05.25")),
    ],
)
def test_a_request_names_a_time(text: str, moment: datetime) -> None:
    assert request_time(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-11-24T15:04:05",
        "1764000000",
        "2026-13-01T00:00:00Z",
        "0001-01-01T00:00+23:59",
    ],
)
def test_a_request_that_is_no_time_says_how_to_write_one(text: str) -> None:
    with pytest.raises(RequestError, match="write it like 2026-11-24T15:04:05Z"):
        request_time(text)
