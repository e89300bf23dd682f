"""What admins are told, as values; amounts in kopecks, ages in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from rei_core.images.circuits import OpenCircuit
from rei_core.jobs.model import Job, JobStatus, QueueState
from rei_core.ledger.model import Transfer
from rei_core.payments.model import PaymentStatus
from rei_core.trail.model import Done
from rei_core.users.model import User


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many there are that wait for their end, and for how long the oldest does."""

    count: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last finished run of a kind of maintenance, by the operator or by hand.

    `ok`: it succeeded, and an audit found no violation. `verified`: of a backup, that it was proved.
    """

    kind: str
    finished_at: datetime
    age_seconds: float
    ok: bool
    verified: bool
    error: str | None


@dataclass(frozen=True, slots=True)
class Day:
    """The last 24 hours."""

    payments: int
    paid_kopecks: int
    jobs_completed: int
    jobs_failed: int
    sold_kopecks: int


@dataclass(frozen=True, slots=True)
class Glance:
    """The whole shop in a screenful."""

    queue: QueueState
    overdue: int
    """Jobs that wait past their deadline: the sweep fails and refunds them within seconds."""
    paused: tuple[OpenCircuit, ...]
    payments: Waiting
    refunds: Waiting
    deliveries: Waiting
    customers: int
    banned: int
    day: Day
    runs: tuple[LastRun, ...]


@dataclass(frozen=True, slots=True)
class Ban:
    """A reason why somebody is banned, by who gave it."""

    source: str
    reason: str
    expires_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class PaymentLine:
    """A payment in a list; `refunded_kopecks` counts the refunds that are on their way, too."""

    id: UUID
    user_id: int
    amount_kopecks: int
    refunded_kopecks: int
    status: PaymentStatus
    provider_payment_id: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class UserReport:
    """Everything about one customer; the lists begin with the newest."""

    user: User
    created_at: datetime
    seen_at: datetime
    paid_kopecks: int
    spent_kopecks: int
    bans: tuple[Ban, ...]
    transfers: tuple[Transfer, ...]
    jobs: tuple[Job, ...]
    payments: tuple[PaymentLine, ...]
    actions: tuple[Done, ...]


@dataclass(frozen=True, slots=True)
class PaymentSum:
    """The payments of one status."""

    status: PaymentStatus
    count: int
    total_kopecks: int
    mean_kopecks: int


@dataclass(frozen=True, slots=True)
class PaymentsReport:
    """The payments of the last days in sums, and the newest of them."""

    days: int
    sums: tuple[PaymentSum, ...]
    refunds: int
    refunded_kopecks: int
    latest: tuple[PaymentLine, ...]


@dataclass(frozen=True, slots=True)
class JobSum:
    """The jobs of one model that stand at one status."""

    model: str
    status: JobStatus
    count: int
    price_kopecks: int
    mean_seconds: float | None


@dataclass(frozen=True, slots=True)
class JobsReport:
    """The jobs of the last days in sums, and the newest of them."""

    days: int
    sums: tuple[JobSum, ...]
    latest: tuple[Job, ...]


@dataclass(frozen=True, slots=True)
class TopUser:
    """Somebody who has spent much."""

    user_id: int
    username: str | None
    jobs: int
    spent_kopecks: int
    balance_kopecks: int
