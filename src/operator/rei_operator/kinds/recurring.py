"""What recurs: run it, take over a run whose process died, and tell how the last one went.

Shared by StuckJobPolicy, PaymentReconciliation, JobRetentionPolicy, LedgerAudit and
BackupSchedule. Everything told comes from the runs in PostgreSQL: a status that was lost, or
copied from another cluster, is told again as it should be. What a kind has to add to that is a
`Teller`: its own fields, conditions and Events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rei_core.maintenance import schedule
from rei_core.maintenance.resources import (
    REQUESTED_AT,
    Condition,
    ConditionStatus,
    Recurring,
    Result,
)
from rei_core.maintenance.resources.recurring import RecurringStatus
from rei_core.maintenance.runs.model import Run, RunKey, RunStatus
from rei_core.money import format_rubles
from rei_operator.actions import Action, Event, RunNow, SetStatus, Sleep
from rei_operator.conditions import put

RUNS_READ = 10
"""So many runs of a resource are read for a decision."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What PostgreSQL knows. `now` is its clock.

    `runs` are the latest, by the moment they were due for, the latest first; `asked_for` is the
    run that the annotation asks for, if it has begun.
    """

    now: datetime
    runs: tuple[Run, ...] = ()
    asked_for: Run | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What a kind adds to the status and the Events after a run."""

    fields: dict[str, Any]
    conditions: tuple[Condition, ...]
    events: tuple[Event, ...] = ()


Teller = Callable[[Recurring, Run, tuple[Condition, ...], datetime], Told]


def nothing_more(
    resource: Recurring, run: Run, conditions: tuple[Condition, ...], now: datetime
) -> Told:
    """For kinds whose run is told by its result alone."""
    del now
    if run.status is RunStatus.FAILED or not run.result.changed:
        return Told({}, conditions)
    event = Event(_CHANGED.get(resource.kind, "RunSucceeded"), told_result(run), once=_once(run))
    return Told({}, conditions, (event,))


_CHANGED = {
    "StuckJobPolicy": "StuckJobsEnded",
    "JobRetentionPolicy": "OldRowsRemoved",
    "PaymentReconciliation": "PaymentsSettled",
    "BackupSchedule": "BackupMade",
}


def request_of(resource: Recurring) -> datetime | None:
    """The time that the annotation asks for a run with; raises `RequestError`."""
    text = resource.metadata.annotations.get(REQUESTED_AT)
    return None if text is None else schedule.request_time(text)


def key_of_request(resource: Recurring) -> RunKey | None:
    """The key of the run that the annotation asks for, None if it asks for none, or for nonsense."""
    try:
        requested = request_of(resource)
    except schedule.RequestError:
        return None
    if requested is None:
        return None
    due = schedule.decide(
        resource.spec,
        last_scheduled=None,
        suspended=True,
        requested_at=requested,
        last_request_handled=None,
        created_at=requested,
        now=requested,
    )
    assert isinstance(due, schedule.Due)
    return key_of(resource, due.scheduled_for)


def key_of(resource: Recurring, scheduled_for: datetime) -> RunKey:
    return RunKey(*resource.key, scheduled_for)


def decide(resource: Recurring, facts: Facts, tell: Teller = nothing_more) -> tuple[Action, ...]:
    """Run, if one is open or due; else tell how it stands and sleep until the next is due."""
    known = facts.runs if facts.asked_for is None else (facts.asked_for, *facts.runs)
    open_run = next((run for run in known if run.status is RunStatus.RUNNING), None)
    if open_run is not None:
        return (RunNow(open_run.key),)
    requested, complaint = _requested(resource)
    due = _due(resource, facts, requested)
    if isinstance(due, schedule.Due):
        return (RunNow(key_of(resource, due.scheduled_for)),)
    status, events = _status(resource, facts, due, requested, tell)
    sleep = () if due.next_at is None else (Sleep(due.next_at),)
    return (*complaint, *_missed(due), *events, SetStatus(status), *sleep)


def _due(
    resource: Recurring, facts: Facts, requested: datetime | None
) -> schedule.Due | schedule.Wait:
    answered = facts.asked_for is not None and facts.asked_for.finished_at is not None
    return schedule.decide(
        resource.spec,
        last_scheduled=schedule.last_scheduled_of(
            (run.key.scheduled_for for run in facts.runs), now=facts.now
        ),
        suspended=resource.spec.suspend,
        requested_at=requested,
        last_request_handled=requested if answered else resource.status.last_requested_time,
        created_at=resource.metadata.creation_timestamp or facts.now,
        now=facts.now,
    )


def _requested(resource: Recurring) -> tuple[datetime | None, tuple[Event, ...]]:
    try:
        return request_of(resource), ()
    except schedule.RequestError as error:
        return None, (Event("BadRequest", str(error), "Warning"),)


def _missed(wait: schedule.Wait) -> tuple[Event, ...]:
    if wait.missed is None:
        return ()
    moment = wait.missed.isoformat()
    text = f"the run of {moment} was left out: startingDeadlineSeconds had passed"
    return (Event("RunMissed", text, "Warning", once=moment),)


def _status(
    resource: Recurring,
    facts: Facts,
    wait: schedule.Wait,
    requested: datetime | None,
    tell: Teller,
) -> tuple[RecurringStatus, tuple[Event, ...]]:
    last = last_ended(facts.runs)
    answered = facts.asked_for is not None and facts.asked_for.finished_at is not None
    fields: dict[str, Any] = {
        "observed_generation": resource.metadata.generation,
        "next_run_time": wait.next_at,
    }
    if answered:
        fields["last_requested_time"] = requested
    status, reason, message = _ready(resource, last, wait)
    conditions = put(
        resource.status.conditions,
        resource,
        now=facts.now,
        status=status,
        reason=reason,
        message=message,
    )
    told = Told({}, conditions)
    events: tuple[Event, ...] = ()
    if last is not None:
        told = tell(resource, last, conditions, facts.now)
        fields |= _fields_of_run(resource, last, facts.runs)
        events = (*_failure(last), *told.events) if _is_news(resource, last) else ()
    changed = resource.status.model_copy(
        update={**fields, **told.fields, "conditions": told.conditions}
    )
    return changed, events


def last_ended(runs: Sequence[Run]) -> Run | None:
    """The run that began last among those that have ended."""
    ended = [run for run in runs if run.finished_at is not None]
    return max(ended, key=lambda run: run.started_at, default=None)


def _is_news(resource: Recurring, run: Run) -> bool:
    """Whether the status tells of an earlier run yet. Only saves the API server a question: the
    Event's name already keeps a run from being told twice."""
    return resource.status.last_run_time != _second(run.started_at)


def _fields_of_run(resource: Recurring, last: Run, runs: Sequence[Run]) -> dict[str, Any]:
    assert last.finished_at is not None
    succeeded = [
        run.finished_at for run in runs if run.status is RunStatus.SUCCEEDED and run.finished_at
    ]
    known = [resource.status.last_success_time] if resource.status.last_success_time else []
    success = max((*succeeded, *known), default=None)
    return {
        "last_run_time": _second(last.started_at),
        "last_run_seconds": max(0, round((last.finished_at - last.started_at).total_seconds())),
        "last_success_time": None if success is None else _second(success),
        "last_scheduled_time": last.key.scheduled_for,
        "last_result": Result(
            examined=max(0, last.result.examined),
            changed=max(0, last.result.changed),
            failed=max(0, last.result.failed),
            amount_kopecks=last.result.amount_kopecks,
            notes=last.result.notes,
        ),
    }


def _ready(
    resource: Recurring, last: Run | None, wait: schedule.Wait
) -> tuple[ConditionStatus, str, str]:
    if last is not None and last.status is RunStatus.FAILED:
        return ConditionStatus.FALSE, "RunFailed", last.error or "the last run failed"
    if last is not None and last.result.failed:
        return ConditionStatus.FALSE, "RunPartlyFailed", told_result(last)
    if resource.spec.suspend:
        return (
            ConditionStatus.TRUE,
            "Suspended",
            "nothing runs by itself while spec.suspend is true",
        )
    if last is not None:
        return ConditionStatus.TRUE, "RunSucceeded", told_result(last)
    at = "none is due" if wait.next_at is None else f"the first is due at {_clock(wait.next_at)}"
    return ConditionStatus.UNKNOWN, "NoRunYet", f"nothing has run yet; {at}"


def _failure(run: Run) -> tuple[Event, ...]:
    if run.status is RunStatus.FAILED:
        return (Event("RunFailed", run.error or "", "Warning", once=_once(run)),)
    if run.result.failed:
        return (Event("RunPartlyFailed", told_result(run), "Warning", once=_once(run)),)
    return ()


def told_result(run: Run) -> str:
    """What a run did, in a sentence."""
    result = run.result
    parts = [f"examined {result.examined}", f"changed {result.changed}"]
    if result.failed:
        parts.append(f"failed {result.failed}")
    if result.amount_kopecks:
        parts.append(f"moved {format_rubles(result.amount_kopecks)}")
    return "; ".join((", ".join(parts), *result.notes))


def expected_interval_seconds(resource: Recurring, now: datetime) -> float | None:
    """How far apart the next two runs are; None if none is due by itself."""
    if resource.spec.suspend:
        return None
    first = schedule.following_moment(resource.spec, now)
    second = None if first is None else schedule.following_moment(resource.spec, first)
    if first is None or second is None:
        return None
    return (second - first) / timedelta(seconds=1)


def _once(run: Run) -> str:
    return run.key.scheduled_for.isoformat()


def _second(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def _clock(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
