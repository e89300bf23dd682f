"""Backup: one Job that takes and verifies it, and leaves its outcome as a run in PostgreSQL.

The run's key is the resource's name and the moment it was made, so an object deleted and made
again is another backup, and one that the operator sees for the first time after a crash is not.
The Job may run its pods several times, and be made again if somebody deletes it: the run is taken
over, and the backup's id stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rei_core.maintenance.resources import Backup, ConditionStatus
from rei_core.maintenance.resources.storage import Verification
from rei_core.maintenance.runs.model import Run, RunKey, RunStatus
from rei_operator import manifests
from rei_operator.actions import Action, Create, Delete, Event, Json, SetStatus, Sleep
from rei_operator.conditions import is_over, put
from rei_operator.kinds.jobs import JobState, belongs_to, state_of, why_failed
from rei_operator.manifests import JobTemplate

POLL = timedelta(seconds=30)
"""How often a Job is looked at that does not speak up by itself."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The Job of this name, if there is one, and the run that it writes, if it has begun."""

    now: datetime
    template: JobTemplate
    job: Json | None = None
    run: Run | None = None


def key_of(backup: Backup) -> RunKey:
    """The key of the run; never another one for the same object."""
    created = backup.metadata.creation_timestamp or datetime(1970, 1, 1, tzinfo=UTC)
    return RunKey(*backup.key, created)


def decide(backup: Backup, facts: Facts) -> tuple[Action, ...]:
    """Make the Job, follow it, tell its end. The run's word comes before the Job's."""
    if is_over(backup):
        return ()
    job = facts.job
    if facts.run is not None and facts.run.status is not RunStatus.RUNNING:
        return _ended(backup, facts, facts.run)
    if job is None:
        return (Create(manifests.backup_job(backup, facts.template)),)
    if not belongs_to(job, backup.metadata.uid):
        return Delete("Job", job["metadata"]["name"]), Sleep(facts.now + timedelta(seconds=2))
    if state_of(job) is JobState.RUNNING:
        return (
            _told(backup, facts, ConditionStatus.UNKNOWN, "InProgress", _progress(facts)),
            Sleep(facts.now + POLL),
        )
    reason, message = why_failed(job)
    if state_of(job) is JobState.COMPLETE:  # it says it is done, and PostgreSQL knows nothing of it
        reason, message = "OutcomeUnknown", "the Job ended well, but its run is not in PostgreSQL"
    return (
        Event(reason, message, "Warning", once=reason),
        _told(backup, facts, ConditionStatus.FALSE, reason, message, ended=True),
    )


def _progress(facts: Facts) -> str:
    if facts.run is None:
        return "the Job has been made; its pod has not begun"
    return f"the Job is at work, attempt {facts.run.attempt}"


def _ended(backup: Backup, facts: Facts, run: Run) -> tuple[Action, ...]:
    if run.status is RunStatus.FAILED:
        message = run.error or "it failed"
        return (
            Event("BackupFailed", message, "Warning", once="BackupFailed"),
            _told(backup, facts, ConditionStatus.FALSE, "BackupFailed", message, ended=True),
        )
    message = f"{run.detail.get('size_bytes', 0)} bytes as {run.detail.get('backup_id')}"
    reason = "BackupTaken" if backup.spec.verification is Verification.NONE else "BackupVerified"
    return (
        Event(reason, message, once=reason),
        _told(
            backup, facts, ConditionStatus.TRUE, reason, message, ended=True, found=_found(run)
        ),
    )  # fmt: skip


def _found(run: Run) -> dict[str, Any]:
    """The status' fields from what the Job has written down."""
    detail = run.detail
    verified_at = detail.get("verified_time")
    return {
        "backup_id": detail.get("backup_id"),
        "size_bytes": detail.get("size_bytes"),
        "checksum": detail.get("checksum"),
        "schema_revision": detail.get("schema_revision"),
        "transfers": detail.get("transfers"),
        "verified": Verification(detail["verified"]) if detail.get("verified") else None,
        "verified_time": datetime.fromisoformat(verified_at) if verified_at else None,
    }


def _told(
    backup: Backup,
    facts: Facts,
    answer: ConditionStatus,
    reason: str,
    message: str,
    *,
    ended: bool = False,
    found: dict[str, Any] | None = None,
) -> SetStatus:
    now = facts.now.replace(microsecond=0)
    begun = facts.run.started_at.replace(microsecond=0) if facts.run else now
    fields: dict[str, Any] = {
        "observed_generation": backup.metadata.generation,
        "job_name": manifests.job_name(backup),
        "start_time": backup.status.start_time or begun,
        "conditions": put(
            backup.status.conditions,
            backup,
            now=facts.now,
            status=answer,
            reason=reason,
            message=message,
        ),
        **(found or {}),
    }
    if ended:
        fields["completion_time"] = now
    return SetStatus(backup.status.model_copy(update=fields))
