"""A job's words: queued → processing → completed | failed | cancelled."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime


class JobStatus(enum.StrEnum):
    """Where a job stands; the last three are ends."""

    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        return self not in {JobStatus.QUEUED, JobStatus.PROCESSING}


class Outcome(enum.StrEnum):
    """What came of an order."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    """The idempotency key was used before: here is that job, nothing was charged again."""
    BANNED = "banned"
    TOO_MANY_ACTIVE = "too_many_active"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    PROVIDER_PAUSED = "provider_paused"
    """A circuit is open: refused before charging."""
    USER_UNKNOWN = "user_unknown"


@dataclass(frozen=True, slots=True)
class InputRef:
    """A customer's picture, by Telegram's file id."""

    file_id: str
    mime_type: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Order:
    """What a customer asks for; `idempotency_key` names the click, so that a repeat is no second order."""

    user_id: int
    idempotency_key: str
    model: str
    prompt: str
    aspect_ratio: str
    image_size: str
    price_kopecks: int
    chat_id: int
    progress_message_id: int | None = None
    inputs: tuple[InputRef, ...] = ()


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The answer to an order; its place in the queue is `read_queries.place`."""

    outcome: Outcome
    balance_kopecks: int
    job_id: int | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job as its worker and its owner see it; amounts in kopecks."""

    id: int
    user_id: int
    status: JobStatus
    model: str
    prompt: str
    aspect_ratio: str
    image_size: str
    inputs: tuple[InputRef, ...]
    price_kopecks: int
    attempt: int
    attempts_max: int
    run_after: datetime
    lease_until: datetime | None
    error_code: str | None
    error_detail: str | None
    chat_id: int
    progress_message_id: int | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Output:
    """A result about to be stored."""

    mime_type: str
    width: int
    height: int
    data: bytes


@dataclass(frozen=True, slots=True)
class EndedJob:
    """A job that has just ended with its money back."""

    id: int
    user_id: int
    chat_id: int
    progress_message_id: int | None
    price_kopecks: int
    error_code: str | None


@dataclass(frozen=True, slots=True)
class QueueState:
    """The queue in numbers, from PostgreSQL. Ages and durations in seconds.

    `due` of the queued jobs could be worked on now: the others wait for their next attempt, or for a
    provider that is down; `retrying` of them have been tried before. The lease of `lapsed` jobs at
    work is over: their worker is dead, or frozen. `held_kopecks` is the price of all of them.
    """

    queued: int
    due: int
    retrying: int
    processing: int
    lapsed: int
    oldest_queued_seconds: float
    oldest_at_work_seconds: float
    mean_seconds: float | None
    held_kopecks: int
