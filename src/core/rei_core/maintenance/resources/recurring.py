"""What recurs: when a run is due, and what the operator tells about the last one.

`rei_core.maintenance.schedule` decides by these fields. A time zone or a cron expression that
does not exist is refused here, once, so that nothing later has to expect one.
"""

from __future__ import annotations

import difflib
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, ClassVar
from zoneinfo import available_timezones

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, AwareDatetime, Field

from rei_core.maintenance.resources.base import (
    AGE,
    Column,
    Fields,
    Resource,
    Result,
    Rule,
    Status,
    condition_columns,
    message_column,
    only_one_of,
)


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones())


def _known_zone(name: str) -> str:
    # By the list of names and not by what ZoneInfo finds: that has "localtime", another zone on
    # every machine.
    if name not in _zone_names() or name == "localtime":
        near = difflib.get_close_matches(name, sorted(_zone_names()), n=1)
        hint = f"; did you mean {near[0]}?" if near else ", such as Europe/Moscow or UTC"
        raise ValueError(f"is no time zone of the IANA database{hint}")
    return name


def _possible_cron(expression: str) -> str:
    try:
        next(CronSim(expression, datetime(2024, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        raise ValueError(
            f"is no cron expression ({str(error)[:40].lower()}); write five fields: "
            "minute hour day-of-month month day-of-week, such as 0 3 * * *"
        ) from None
    except StopIteration:
        raise ValueError("is a day that never comes") from None
    return expression


Cron = Annotated[
    str,
    Field(
        min_length=9,
        max_length=100,
        pattern=r"^[0-9A-Za-z*,/#\-]+( +[0-9A-Za-z*,/#\-]+){4}$",
    ),
    AfterValidator(_possible_cron),
]
TimeZone = Annotated[
    str,
    Field(
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z][A-Za-z0-9_+\-]*(/[A-Za-z0-9_+\-]+)*$",
    ),
    AfterValidator(_known_zone),
]


class Schedule(Fields):
    """When a run is due."""

    schedule: Cron | None = None
    """When to run, as five cron fields: minute, hour, day of month, month, day of week
    (`0 3 * * *` is every night at three, `*/10 * * * *` every ten minutes, `0 4 * * MON` Mondays
    at four). A run at a fixed time happens exactly once on the days when the clocks change: at
    the first moment after a gap, and at the first of two equal times. Give this or
    `periodSeconds`."""
    time_zone: TimeZone | None = None
    """The time zone of `schedule`, by its IANA name such as Europe/Moscow. UTC if not set."""
    period_seconds: Annotated[int | None, Field(ge=10, le=2_678_400)] = None
    """Run every so many seconds, at the multiples of it counted from 1970 in UTC: 300 is every
    five minutes at :00, :05, :10, …; 86400 is at midnight UTC. Give this or `schedule`."""
    suspend: bool = False
    """True stops the clock: nothing runs by itself. A run asked for by the annotation
    `rei.bot/requested-at` still happens. What was missed is made up for by one run when this
    becomes false again, unless `startingDeadlineSeconds` forbids it."""
    starting_deadline_seconds: Annotated[int | None, Field(ge=10, le=2_678_400)] = None
    """A run that could not begin for longer than this (nothing was there to begin it, or it was
    suspended) is left out, and the next one is waited for. If not set, the latest missed run is
    made up for, however late; those missed before it never are."""

    rules: ClassVar[tuple[Rule, ...]] = (
        only_one_of("schedule", "period_seconds"),
        Rule(
            "!has(self.timeZone) || has(self.schedule)",
            "timeZone belongs to schedule: periodSeconds knows no time zone",
            lambda spec: spec.time_zone is None or spec.schedule is not None,
        ),
        # The API server cannot look a zone up, but fails to count in one that it does not know,
        # and refuses what a rule fails at. It knows all of them: a CronJob's zone needs them too.
        Rule(
            "!has(self.timeZone) || (self.timeZone != 'Local' "
            "&& timestamp('2026-01-01T00:00:00Z').getHours(self.timeZone) >= 0)",
            "timeZone must be a time zone of the IANA database, such as Europe/Moscow",
        ),
    )


class RecurringStatus(Status):
    """How the runs go."""

    last_run_time: AwareDatetime | None = None
    """When the last run began, whatever came of it."""
    last_run_seconds: Annotated[int | None, Field(ge=0)] = None
    """How long the last run took."""
    last_success_time: AwareDatetime | None = None
    """When the last run that succeeded ended."""
    last_scheduled_time: AwareDatetime | None = None
    """The moment for which the last run was due; runs late if `lastRunTime` is much later."""
    last_requested_time: AwareDatetime | None = None
    """The value of the annotation `rei.bot/requested-at` that was answered last."""
    next_run_time: AwareDatetime | None = None
    """When the next run is due; not set while suspended."""
    last_result: Result | None = None
    """What the last run did."""


class Recurring(Resource):
    """A resource whose work recurs."""

    spec: Schedule
    status: RecurringStatus = RecurringStatus()

    condition_type: ClassVar[str] = "Ready"


def recurring_columns(*own: Column) -> tuple[Column, ...]:
    """Is it all right, when did it run last, what did it do, when next."""
    return (
        *condition_columns("Ready"),
        Column("Last Run", ".status.lastRunTime", "date", "How long ago the last run began"),
        *own,
        # Not a "date": kubectl shows those as an age, and a time to come as <invalid>.
        Column("Next Run", ".status.nextRunTime", description="When the next run is due"),
        Column("Suspended", ".spec.suspend", "boolean", "Is the clock stopped?", 1),
        message_column("Ready"),
        AGE,
    )


EXAMINED = Column("Examined", ".status.lastResult.examined", "integer", "Looked at by the last run")
CHANGED = Column("Changed", ".status.lastResult.changed", "integer", "Changed by the last run")
FAILED = Column("Failed", ".status.lastResult.failed", "integer", "Not dealt with by the last run")
KOPECKS = Column(
    "Kopecks", ".status.lastResult.amountKopecks", "integer", "Moved by the last run, in kopecks"
)
