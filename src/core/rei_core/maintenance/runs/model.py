"""A run's words: running → succeeded | failed."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from rei_core.errors import ReiError
from rei_core.maintenance.model import Json, RunResult


class RunStatus(enum.StrEnum):
    """Where a run stands; the last two are ends."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RunKey:
    """Which run this is. The same key never runs twice to its end."""

    kind: str
    namespace: str
    name: str
    scheduled_for: datetime

    @property
    def lock_name(self) -> str:
        """What only one process at a time may work on: the resource, whatever the moment."""
        return f"maintenance/{self.kind}/{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Run:
    """A row of `maintenance_runs`. `attempt` is the fencing token of all writes to it."""

    id: int
    key: RunKey
    status: RunStatus
    attempt: int
    owner: str
    result: RunResult
    detail: Json
    error: str | None
    started_at: datetime
    finished_at: datetime | None


class RunBusy(ReiError):
    """Another process is at a run of this resource: look again later."""

    def __init__(self, key: RunKey) -> None:
        self.key = key
        super().__init__(f"{key.kind} {key.namespace}/{key.name} is being run by another process")


class RunLost(ReiError):
    """Another process has taken the run over: what this one was about to do is not done."""

    def __init__(self, run: Run) -> None:
        self.run = run
        super().__init__(
            f"the run of {run.key.kind} {run.key.namespace}/{run.key.name} was taken over"
        )


class TryAgain(ReiError):
    """What a procedure raises when it could not go on now, and may later: the run stays open.

    `reason` is what went wrong. Whoever called for the run tries it again, or gives it up.
    """

    def __init__(self, reason: ReiError) -> None:
        self.reason = reason
        super().__init__(str(reason))
