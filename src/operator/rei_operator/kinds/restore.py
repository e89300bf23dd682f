"""Restore: a Job does it; in place, bot and workers are stopped around it and payments reconciled.

In place, each step leaves behind what shows that it is done, so that it can be gone on with after
any crash:

1. the numbers of replicas are written into the status           `stoppedDeployments`
2. the Deployments are scaled to 0, and their pods are waited for   the Deployments themselves
3. the Job backs up, restores, audits and swaps; it carries
   top-ups over that the backup does not know                    the mark on the database (`Mark`)
4. payments that the backup does not know are reconciled         a run in the restored database
5. the Deployments get back what they had                        the Deployments themselves
6. the status tells the end                                      `Succeeded`

The numbers come first: once the Deployments are at 0, nothing else remembers them. Whatever comes
of 3, 5 follows: a bot that stays away because a restore failed would be the larger harm, and the
database that it comes back to is the old one, untouched.

From the swap on there is no way back. A Job that dies for good between that and its end leaves the
mark as it was at the swap: then the run of 4 carries the top-ups over, first of all.

A restore is known by namespace and name, not by uid: a manifest that is applied again, months
later on another cluster, finds the mark and restores nothing. To restore once more, make another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from rei_core.maintenance.resources import Backup, ConditionStatus, Restore
from rei_core.maintenance.runs.model import Run, RunKey, RunStatus
from rei_operator import manifests
from rei_operator.actions import (
    Action,
    Create,
    Delete,
    Event,
    Json,
    RunNow,
    Scale,
    SetStatus,
    Sleep,
)
from rei_operator.conditions import is_over, put
from rei_operator.kinds.jobs import JobState, belongs_to, state_of, why_failed
from rei_operator.kinds.recurring import told_result
from rei_operator.manifests import JobTemplate

POLL = timedelta(seconds=30)
SOON = timedelta(seconds=3)
MADE_AGAIN = "jobs done and BalanceAdjustments made since the backup are made once more"
RECONCILE_KIND = "RestoreReconciliation"
"""The kind of the run that reconciles payments after a restore, in `maintenance_runs`."""
OPERATION_CHARACTERS_MAX = 100
DIGEST_CHARACTERS = 16


@dataclass(frozen=True, slots=True)
class Replicas:
    """A Deployment: how many pods it should have, and how many it has."""

    wanted: int
    there: int


@dataclass(frozen=True, slots=True)
class Done:
    """The mark that the restore left on the database that it made. Not `complete`: it lacks the
    top-ups that only the database of before knows."""

    database: str
    kept_as: str | None = None
    safety_backup_id: str | None = None
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Facts:
    """What is there.

    `backup` is what `backupRef` names; `done` the restore's own mark; `failure` the run in which
    the Job wrote down why it failed; `reconciled` the run of step 4; `deployments` those to stop.
    """

    now: datetime
    template: JobTemplate
    live_database: str
    backup: Backup | None = None
    job: Json | None = None
    done: Done | None = None
    failure: Run | None = None
    reconciled: Run | None = None
    deployments: Mapping[str, Replicas] = field(default_factory=dict)


def operation_of(restore: Restore) -> str:
    """The name of this restore in the database's mark; two restores never share one."""
    text = f"{restore.metadata.namespace}.{restore.metadata.name}"
    if len(text) <= OPERATION_CHARACTERS_MAX:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:DIGEST_CHARACTERS]
    return f"{text[: OPERATION_CHARACTERS_MAX - DIGEST_CHARACTERS - 1]}.{digest}"


def key_of(restore: Restore) -> RunKey:
    """The key under which the Job writes down why it failed."""
    created = restore.metadata.creation_timestamp or datetime(1970, 1, 1, tzinfo=UTC)
    return RunKey(*restore.key, created)


def reconcile_key(restore: Restore) -> RunKey:
    """The key of the reconciliation after it."""
    return RunKey(RECONCILE_KIND, *restore.key[1:], key_of(restore).scheduled_for)


def decide(restore: Restore, facts: Facts) -> tuple[Action, ...]:
    """The next step; see the module's table."""
    if is_over(restore):
        return ()
    failed = _failed(restore, facts)
    if facts.done is None and failed is None:
        return _towards(restore, facts)
    if restore.spec.in_place is not None and facts.done is not None and failed is None:
        settled = facts.reconciled is not None and facts.reconciled.finished_at is not None
        if not settled and not facts.done.complete and _at_work(restore, facts.job):
            return _followed(restore, facts)
        if not settled:
            return (RunNow(reconcile_key(restore)),)
    scales = tuple(
        Scale(name, before)
        for name, before in restore.status.stopped_deployments.items()
        if name in facts.deployments and facts.deployments[name].wanted == 0 != before
    )
    return (*scales, *_end(restore, facts, failed))


def _towards(restore: Restore, facts: Facts) -> tuple[Action, ...]:
    """What is left to do before the Job has ended."""
    stored, waiting = _stored(restore, facts)
    if stored is None:
        return (
            _told(restore, facts, ConditionStatus.UNKNOWN, *waiting),
            Sleep(facts.now + POLL),
        )
    if facts.job is None and restore.spec.in_place is not None:
        stopping = _stopping(restore, facts)
        if stopping:
            return stopping
    if facts.job is None:
        job = manifests.restore_job(manifests.resolved(restore, stored), facts.template)
        return (Create(job),)
    if not belongs_to(facts.job, restore.metadata.uid):
        name = facts.job["metadata"]["name"]
        return Delete("Job", name), Sleep(facts.now + SOON)
    return _followed(restore, facts)


def _followed(restore: Restore, facts: Facts) -> tuple[Action, ...]:
    """The Job is at work, and will be looked at again."""
    return (
        _told(restore, facts, ConditionStatus.UNKNOWN, "InProgress", "the Job is at work"),
        Sleep(facts.now + POLL),
    )


def _stored(restore: Restore, facts: Facts) -> tuple[Json | None, tuple[str, str]]:
    """The backup by storage and id; else why it is not known yet."""
    if restore.spec.stored is not None:
        return restore.spec.stored.document(), ("", "")
    reference = restore.spec.backup_ref
    assert reference is not None
    if facts.backup is None:
        return None, ("BackupNotFound", f"there is no Backup {reference.name} in this namespace")
    condition = facts.backup.status.condition("Succeeded")
    backup_id = facts.backup.status.backup_id
    if condition is None or condition.status is not ConditionStatus.TRUE or backup_id is None:
        return None, ("BackupNotReady", f"the Backup {reference.name} has not succeeded")
    return {"storage": facts.backup.spec.storage.document(), "id": backup_id}, ("", "")


def _stopping(restore: Restore, facts: Facts) -> tuple[Action, ...]:
    """Steps 1 and 2; nothing if all pods are gone."""
    known = restore.status.stopped_deployments
    if facts.deployments and not known:
        numbers = {name: one.wanted for name, one in facts.deployments.items()}
        return (
            Event("StoppingDeployments", f"to restore in place: {_listed(numbers)}", once="stop"),
            _told(
                restore,
                facts,
                ConditionStatus.UNKNOWN,
                "StoppingDeployments",
                f"stopping {_listed(numbers)}",
                stopped_deployments=numbers,
            ),
            Sleep(facts.now),
        )
    there = {name: facts.deployments[name] for name in known if name in facts.deployments}
    scales = tuple(Scale(name, 0) for name, one in there.items() if one.wanted != 0)
    if scales:
        return (*scales, Sleep(facts.now + SOON))
    if any(one.there for one in there.values()):
        return (Sleep(facts.now + SOON),)
    return ()


def _failed(restore: Restore, facts: Facts) -> tuple[str, str] | None:
    """(reason, message) if the restore has failed for good."""
    in_place = restore.spec.in_place
    if in_place is not None and in_place.confirm_database != facts.live_database:
        name = in_place.confirm_database
        return "NotConfirmed", f"inPlace.confirmDatabase is {name!r}, not the bot's database"
    if facts.done is not None:
        return None
    if facts.failure is not None and facts.failure.status is RunStatus.FAILED:
        return "RestoreFailed", facts.failure.error or "it failed"
    return _failed_silently(restore, facts.job)


def _at_work(restore: Restore, job: Json | None) -> bool:
    if job is None or not belongs_to(job, restore.metadata.uid):
        return False
    return state_of(job) is JobState.RUNNING


def _failed_silently(restore: Restore, job: Json | None) -> tuple[str, str] | None:
    """What a Job that has ended without a word says by that."""
    if job is None or not belongs_to(job, restore.metadata.uid):
        return None
    if state_of(job) is JobState.FAILED:
        return why_failed(job)
    if state_of(job) is JobState.COMPLETE:
        return "OutcomeUnknown", "the Job ended well, but no database says that it was restored"
    return None


def _end(
    restore: Restore, facts: Facts, failed: tuple[str, str] | None
) -> tuple[Action, ...]:  # fmt: skip
    ended: dict[str, Any] = {"completion_time": facts.now.replace(microsecond=0)}
    if failed is not None:
        reason, message = failed
        return (
            Event(reason, message, "Warning", once=reason),
            _told(restore, facts, ConditionStatus.FALSE, reason, message, **ended),
        )
    assert facts.done is not None
    ended |= {
        "backup_id": _backup_id(restore, facts),
        "database": facts.done.database,
        "previous_database": facts.done.kept_as,
        "safety_backup_id": facts.done.safety_backup_id,
        "consistent": True,  # the mark is only set on a database that has passed its audit
    }
    message = f"restored into the database {facts.done.database}"
    if facts.done.kept_as:
        message += f"; the one before is kept as {facts.done.kept_as}; {MADE_AGAIN}"
    run = facts.reconciled
    if not facts.done.complete:
        return _left_behind(restore, facts, message, ended)
    if run is not None and run.status is RunStatus.SUCCEEDED:
        ended["payments_settled"] = run.result.changed
        message += f"; payments and refunds since the backup: {told_result(run)}"
    elif run is not None and run.status is RunStatus.FAILED:
        message += f"; payments could not be reconciled ({run.error}), which recurs by itself"
    return (
        Event("Restored", message, once="Restored"),
        _told(restore, facts, ConditionStatus.TRUE, "Restored", message, **ended),
    )


def _left_behind(
    restore: Restore, facts: Facts, message: str, ended: dict[str, Any]
) -> tuple[Action, ...]:
    """It is restored, but what was paid since the backup is not known."""
    assert facts.reconciled is not None
    why = facts.reconciled.error or "; ".join(facts.reconciled.result.notes)
    text = f"{message}; but {why}; delete this Restore and apply it again to try just that"
    reason = "TopUpsNotCarriedOver"
    return (
        Event(reason, text, "Warning", once=reason),
        _told(restore, facts, ConditionStatus.FALSE, reason, text, **ended),
    )


def _backup_id(restore: Restore, facts: Facts) -> str | None:
    if restore.spec.stored is not None:
        return restore.spec.stored.id
    return facts.backup.status.backup_id if facts.backup else restore.status.backup_id


def _told(
    restore: Restore,
    facts: Facts,
    answer: ConditionStatus,
    reason: str,
    message: str,
    **fields: Any,
) -> SetStatus:
    return SetStatus(
        restore.status.model_copy(
            update={
                "observed_generation": restore.metadata.generation,
                "start_time": restore.status.start_time or facts.now.replace(microsecond=0),
                "job_name": manifests.job_name(restore),
                "conditions": put(
                    restore.status.conditions,
                    restore,
                    now=facts.now,
                    status=answer,
                    reason=reason,
                    message=message,
                ),
                **fields,
            }
        )
    )


def _listed(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in sorted(numbers.items()))
