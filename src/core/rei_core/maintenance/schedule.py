"""When a recurring resource runs: a pure decision from its schedule, what is known, and the clock.

The moment a run is *due* is computed from the schedule alone, never from when somebody looked. It
is part of the run's unique key in PostgreSQL (kind, namespace, name, scheduled_for). So two
operators that are alive by mistake, or one that died and came back, arrive at the same key, and
the second finds that the run exists.

What is promised:

- Two runs are never due for one moment, and a moment is never due before the resource was made.
- After an outage, however long, one run makes up for all that were missed: the latest of them.
  With `startingDeadlineSeconds`, not even that one if it is too late for it.
- A run at a fixed time (minute and hour are numbers) happens once on days when clocks change: at
  the first moment after a gap, at the first of two equal times. One with a `*` in its minute or
  hour follows real time: every ten minutes stays every ten minutes.
- `periodSeconds` counts from 1970 in UTC, not from the last run: it does not drift, and a
  resource that was deleted and made again keeps its rhythm.
- `suspend` stops the clock, not the people: a run that somebody asks for still happens. When the
  clock goes on, what was missed is made up for like after an outage.
- A run that somebody asks for counts as a run of the schedule: what was due before it is not
  made up for any more.

`now` is the database's clock, the only one that all processes share. If it went back, moments
that have had their run are not due again. A time more than `CLOCK_ERROR_MAX` ahead was written by
a clock that was wrong, and is not believed: waiting for it would stop a backup for a year. The
unique key still keeps a moment from running twice.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from rei_core.errors import ReiError
from rei_core.maintenance.resources import Schedule

CLOCK_ERROR_MAX = timedelta(hours=1)
"""How far ahead of the clock a recorded time may lie and still be believed."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


class RequestError(ReiError):
    """The annotation that asks for a run is no time."""

    def __init__(self, text: str) -> None:
        self.text = text[:64]
        super().__init__(
            f"rei.bot/requested-at: {self.text!r} is no time with a zone; "
            "write it like 2026-11-24T15:04:05Z, as `date -u +%FT%TZ` does"
        )


class Cause(enum.StrEnum):
    """Why a run is due."""

    SCHEDULE = "schedule"
    REQUEST = "request"


@dataclass(frozen=True, slots=True)
class Due:
    """A run is due. `scheduled_for` is in UTC and goes into the run's unique key."""

    scheduled_for: datetime
    cause: Cause


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `next_at`; None: nothing will be due by itself.

    `missed` is a moment whose run is left out because it is too late for it.
    """

    next_at: datetime | None
    missed: datetime | None = None


def decide(
    schedule: Schedule,
    *,
    last_scheduled: datetime | None,
    suspended: bool,
    requested_at: datetime | None,
    last_request_handled: datetime | None,
    created_at: datetime,
    now: datetime,
) -> Due | Wait:
    """Whether a run is due at `now`.

    `last_scheduled` is what `last_scheduled_of` finds among the resource's runs, `requested_at`
    what its annotation asks for, `last_request_handled` the request that was answered last. Any
    other request than that one is a new one, whatever time it names: people's clocks differ.
    """
    if requested_at is not None and requested_at != last_request_handled:
        return Due(_moment_of_request(requested_at), Cause.REQUEST)
    if suspended:
        return Wait(next_at=None)
    since = max(_believed(created_at, now), _believed(last_scheduled, now))
    latest = latest_moment(schedule, now)
    missed = None
    if latest is not None and latest > since:
        if not _too_late(schedule, latest, now):
            return Due(latest, Cause.SCHEDULE)
        missed = latest
    return Wait(next_at=following_moment(schedule, max(now, since)), missed=missed)


def last_scheduled_of(moments: Iterable[datetime], *, now: datetime) -> datetime | None:
    """The latest `scheduled_for` of runs that says something about what is due at `now`.

    A request may name any time, next year too, and has been answered at once all the same: one
    that lies ahead is passed over, and so is what a wrong clock wrote. Otherwise nothing would be
    due until then, or the same moment again and again.
    """
    return max((moment for moment in moments if _counts(moment, now)), default=None)


def request_time(text: str) -> datetime:
    """The time in a `rei.bot/requested-at` annotation; raises `RequestError`."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise RequestError(text)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise RequestError(text) from None


def latest_moment(schedule: Schedule, now: datetime) -> datetime | None:
    """The last moment of the schedule that is not after `now`, in UTC; None if there is none."""
    if schedule.period_seconds is not None:
        period = timedelta(seconds=schedule.period_seconds)
        return _EPOCH + (now - _EPOCH) // period * period
    return _latest_of_cron(schedule, now)


def following_moment(schedule: Schedule, after: datetime) -> datetime | None:
    """The first moment of the schedule after `after`, in UTC; None if there is none."""
    if schedule.period_seconds is not None:
        period = timedelta(seconds=schedule.period_seconds)
        return _EPOCH + ((after - _EPOCH) // period + 1) * period
    return next((moment for moment in _cron(schedule, after) if moment > after), None)


def _latest_of_cron(schedule: Schedule, now: datetime) -> datetime | None:
    # Backwards from an hour that happens for the second time, cronsim passes over moments of the
    # first time. Forwards it misses none, so the last steps are made that way; they are few.
    latest = next(
        (moment for moment in _cron(schedule, now + _SECOND, back=True) if moment <= now), None
    )
    if latest is None:
        return None
    while (following := following_moment(schedule, latest)) is not None and following <= now:
        latest = following
    return latest


def _cron(schedule: Schedule, start: datetime, *, back: bool = False) -> Iterator[datetime]:
    """The moments of the cron expression from `start` on; near a change of the clocks cronsim may
    give some that are not beyond `start`, and one twice."""
    assert schedule.schedule is not None
    zone = ZoneInfo(schedule.time_zone or "UTC")
    for moment in CronSim(schedule.schedule, start.astimezone(zone), reverse=back):
        yield moment.astimezone(UTC)


def _counts(moment: datetime, now: datetime) -> bool:
    of_a_request = moment.microsecond != 0  # see _moment_of_request
    return moment <= (now if of_a_request else now + CLOCK_ERROR_MAX)


def _believed(moment: datetime | None, now: datetime) -> datetime:
    if moment is None or moment > now + CLOCK_ERROR_MAX:
        return _EPOCH
    return moment


def _too_late(schedule: Schedule, moment: datetime, now: datetime) -> bool:
    deadline = schedule.starting_deadline_seconds
    return deadline is not None and now - moment > timedelta(seconds=deadline)


def _moment_of_request(requested_at: datetime) -> datetime:
    # The schedule's moments are whole seconds: with a fraction of one, a request is never taken
    # for a moment that has had its run.
    return requested_at.astimezone(UTC).replace(microsecond=max(requested_at.microsecond, 1))
