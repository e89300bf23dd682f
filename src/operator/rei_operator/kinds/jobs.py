"""What a batch/v1 Job says about itself."""

from __future__ import annotations

import enum
from typing import Any

Json = dict[str, Any]


class JobState(enum.StrEnum):
    """Where a Job stands; the last two are ends."""

    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"


def state_of(job: Json) -> JobState:
    """Where it stands by its conditions."""
    for condition in job.get("status", {}).get("conditions", ()):
        if condition.get("status") == "True":
            if condition.get("type") == "Complete":
                return JobState.COMPLETE
            if condition.get("type") == "Failed":
                return JobState.FAILED
    return JobState.RUNNING


def why_failed(job: Json) -> tuple[str, str]:
    """(reason, message) of a Job that failed without having written down why."""
    reason = next(
        (
            str(condition.get("reason", ""))
            for condition in job.get("status", {}).get("conditions", ())
            if condition.get("type") == "Failed"
        ),
        "",
    )
    logs = f"see `kubectl logs job/{job['metadata']['name']}`"
    if reason == "DeadlineExceeded":
        return "TimedOut", f"not done after spec.timeoutSeconds; {logs}"
    return "JobFailed", f"the Job's pods failed before they could say why ({reason}); {logs}"


def belongs_to(job: Json, uid: str) -> bool:
    """Whether the Job was made for the object of this uid, and not for one of its name before."""
    owners = job.get("metadata", {}).get("ownerReferences", ())
    return any(owner.get("uid") == uid for owner in owners)
