"""BackupSchedule: a run makes a Backup; when that has succeeded, old ones are deleted.

Never two Backups of one schedule at a time: while one has no answer, none is made, and what was
due meanwhile is made up for once. `Ready` is False while the last Backup failed, whatever the run
that made it says: a schedule that makes Backups which fail is not all right.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rei_core.maintenance.resources import Backup, BackupSchedule, ConditionStatus
from rei_core.maintenance.runs.model import Run, RunKey, RunStatus
from rei_operator import manifests
from rei_operator.actions import Action, Create, Delete, Event, Json, RunNow, SetStatus, Sleep
from rei_operator.conditions import is_over, put
from rei_operator.kinds import recurring
from rei_operator.kinds.jobs import JobState, state_of
from rei_operator.manifests import JobTemplate

POLL = timedelta(seconds=30)
PRUNE_KIND = "BackupRetention"
"""The kind of the runs that delete old backups, in `maintenance_runs`."""


@dataclass(frozen=True, slots=True)
class Facts:
    """`backups` are those that the schedule has made, the newest first; `pruned` is the run
    of the retention after the newest of them, or, while that has not ended, the last one that has;
    `prune_job` is the Job after the newest Backup."""

    common: recurring.Facts
    template: JobTemplate
    backups: tuple[Backup, ...] = ()
    pruned: Run | None = None
    prune_job: Json | None = None

    @property
    def now(self) -> datetime:
        return self.common.now


def has_moment(backup: Backup) -> bool:
    """Whether the name is one that a schedule gives: labels may be written by anybody."""
    try:
        moment_of(backup)
    except ValueError:
        return False
    return True


def moment_of(backup: Backup) -> datetime:
    """The moment that a Backup was made for, from its name."""
    stamp = backup.metadata.name.rpartition("-")[2]
    return datetime.strptime(stamp, "%Y%m%d%H%M%S").replace(tzinfo=UTC)


def prune_key(schedule: BackupSchedule, moment: datetime) -> RunKey:
    return RunKey(PRUNE_KIND, schedule.metadata.namespace, schedule.metadata.name, moment)


def decide(schedule: BackupSchedule, facts: Facts) -> tuple[Action, ...]:
    """Make the next Backup when it is due and the last has its answer; prune after it."""
    actions = recurring.decide(schedule, facts.common)
    newest = facts.backups[0] if facts.backups else None
    unfinished = newest is not None and not is_over(newest)
    runs = [action for action in actions if isinstance(action, RunNow)]
    if runs:
        waits = unfinished and _is_new(runs[0], facts)
        return (Sleep(facts.now + POLL),) if waits else (runs[0],)
    return (
        *_retention(schedule, facts, newest),
        *(_with_backups(schedule, facts, action) for action in actions),
        *((Sleep(facts.now + POLL),) if unfinished or _is_pruning(facts) else ()),
    )


def _is_new(run: RunNow, facts: Facts) -> bool:
    """Whether this run would make another Backup, and is not one that was begun and cut off."""
    return all(known.key != run.key for known in facts.common.runs)


def _retention(
    schedule: BackupSchedule, facts: Facts, newest: Backup | None
) -> tuple[Action, ...]:  # fmt: skip
    if newest is None or not _succeeded(newest):
        return ()
    moment = moment_of(newest)
    done = facts.pruned is not None and facts.pruned.key.scheduled_for == moment
    if not done and facts.prune_job is None:
        job = manifests.prune_job(schedule, facts.template, moment=moment)
        return Create(job), Sleep(facts.now + POLL)
    if not done and facts.prune_job and state_of(facts.prune_job) is JobState.FAILED:
        text = f"old backups were not deleted: see `kubectl logs job/{_name(facts.prune_job)}`"
        return (Event("RetentionFailed", text, "Warning", once=_name(facts.prune_job)),)
    return tuple(Delete("Backup", name) for name in _outlived(schedule, facts))


def _outlived(schedule: BackupSchedule, facts: Facts) -> list[str]:
    """The Backups that tell about what is not in the storage any more, or failed long ago."""
    pruned = facts.pruned
    if pruned is None or pruned.status is not RunStatus.SUCCEEDED:
        return []
    deleted = set(pruned.detail.get("deleted", ()))
    oldest = facts.now - timedelta(days=schedule.spec.retention.max_age_days)
    return [
        backup.metadata.name
        for backup in facts.backups[1:]
        if backup.status.backup_id in deleted
        or (is_over(backup) and not _succeeded(backup) and moment_of(backup) < oldest)
    ]


def _with_backups(schedule: BackupSchedule, facts: Facts, action: Action) -> Action:
    """The same action; a status also tells about the Backups."""
    if not isinstance(action, SetStatus):
        return action
    fields: dict[str, Any] = {}
    if facts.backups:
        fields["last_backup_name"] = facts.backups[0].metadata.name
    if facts.pruned is not None and facts.pruned.status is RunStatus.SUCCEEDED:
        detail = facts.pruned.detail
        verified_at = detail.get("last_verified_time")
        fields["verified_backups"] = detail.get("verified_backups", 0)
        fields["last_verified_time"] = datetime.fromisoformat(verified_at) if verified_at else None
    ended = next((backup for backup in facts.backups if is_over(backup)), None)
    if ended is not None and not _succeeded(ended):
        condition = ended.status.condition(ended.condition_type)
        assert condition is not None
        fields["conditions"] = put(
            action.status.conditions,
            schedule,
            now=facts.now,
            status=ConditionStatus.FALSE,
            reason="LastBackupFailed",
            message=f"{ended.metadata.name}: {condition.message}",
        )
    return SetStatus(action.status.model_copy(update=fields))


def _succeeded(backup: Backup) -> bool:
    condition = backup.status.condition(backup.condition_type)
    return condition is not None and condition.status is ConditionStatus.TRUE


def _is_pruning(facts: Facts) -> bool:
    return facts.prune_job is not None and state_of(facts.prune_job) is JobState.RUNNING


def _name(job: Json) -> str:
    return str(job["metadata"]["name"])
